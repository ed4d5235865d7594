"""Writing lines of the access log."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport strlen

from underpass.apps.access_log cimport LogRing, log_append
from underpass.apps.http_blocks cimport LOG_ROOM
from underpass.apps.http_date cimport LOG_DATE_OCTETS
from underpass.apps.http_text cimport Text, text_begin, text_number, text_put
from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport address_is_v4, address_octets

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET
    enum: AF_INET6
    enum: INET6_ADDRSTRLEN
    const char *inet_ntop(int family, const void *address, char *into, uint32_t room)

cdef enum:
    TAIL_ROOM = 64              # kept for the quote, the status and two numbers


cdef void put_escaped(Text *text, const uint8_t *octets, uint32_t count) noexcept nogil:
    """A request line, such that no octet of it can end the field or the line. Cut where the room ends."""
    cdef const char *hex = b"0123456789abcdef"
    cdef uint8_t[4] escaped
    cdef uint32_t i
    escaped[0] = c"\\"
    escaped[1] = c"x"
    for i in range(count):
        if text.room - text.count < TAIL_ROOM + 4:
            return
        if 0x20 <= octets[i] < 0x7F and octets[i] != c'"' and octets[i] != c"\\":
            text_put(text, &octets[i], 1)
        else:
            escaped[2] = hex[octets[i] >> 4]
            escaped[3] = hex[octets[i] & 15]
            text_put(text, escaped, 4)


cdef uint32_t log_request(const Tcp *tcp, uint32_t conn, const uint8_t *log_date, const uint8_t *request,
                          uint32_t count, int status, uint8_t *into) noexcept nogil:
    """See http_log.pxd."""
    cdef Text text
    cdef char[INET6_ADDRSTRLEN] host
    cdef int family = AF_INET if address_is_v4(&tcp.tcbs[conn].remote) else AF_INET6
    inet_ntop(family, address_octets(&tcp.tcbs[conn].remote), host, INET6_ADDRSTRLEN)
    text_begin(&text, into, LOG_ROOM)
    text_put(&text, host, <uint32_t>strlen(host))
    text_put(&text, b" - - [", 6)
    text_put(&text, log_date, LOG_DATE_OCTETS)
    text_put(&text, b'] "', 3)
    put_escaped(&text, request, count)
    text_put(&text, b'" ', 2)
    text_number(&text, status)
    return text.count


cdef void log_finish(LogRing *ring, uint8_t *line, uint32_t count, uint64_t body,
                     uint64_t took_us) noexcept nogil:
    """See http_log.pxd."""
    cdef Text text
    text_begin(&text, line, LOG_ROOM)
    text.count = count
    text_put(&text, b" ", 1)
    text_number(&text, body)
    text_put(&text, b" ", 1)
    text_number(&text, took_us)
    text_put(&text, b"\n", 1)
    log_append(ring, line, text.count)
