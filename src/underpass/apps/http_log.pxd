"""Lines of the access log: the Common Log Format, and behind it the microseconds that the request took.

    10.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a HTTP/1.1" 200 5 12
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.apps.access_log cimport LogRing
from underpass.tcp.tcb cimport Tcp

# The line as far as it is known when the request is: into LOG_ROOM octets. Returns its octets.
cdef uint32_t log_request(const Tcp *tcp, uint32_t conn, const uint8_t *log_date, const uint8_t *request,
                          uint32_t count, int status, uint8_t *into) noexcept nogil
# The rest, when the response has been handed over; `line` has room for it.
cdef void log_finish(LogRing *ring, uint8_t *line, uint32_t count, uint64_t body,
                     uint64_t took_us) noexcept nogil
