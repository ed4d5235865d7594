"""What a request is answered with: the status, the head, and which octets of a file."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.apps.http_request cimport Request
from underpass.apps.http_state cimport Http, HttpConn, Output
from underpass.tcp.tcb cimport Tcp

# Decide on the response to a request whose first octet is at `at`: its head into `out`, its part of a file
# into the connection. `out` is good until the next request is answered.
cdef void http_answer(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const Request *req,
                      const uint8_t *at,
                      Output *out) noexcept nogil
# The same for octets that are no request: `status` says why. The connection ends with the response.
cdef void http_refuse(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const uint8_t *at, uint32_t count,
                      int status, Output *out) noexcept nogil
