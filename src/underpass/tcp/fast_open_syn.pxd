"""What a SYN or SYN-ACK has of Fast Open (RFC 7413): the cookie, and on a client the data. See tcp/fast_open.pxd."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_FAST_OPEN, TRAIT_FAST_OPEN_GRANT
from underpass.wire.address cimport Address

cdef enum:
    COOKIE_BYTES = 8                # of the cookies that we give; RFC 7413 4.1.1 allows 4 to 16
    COOKIE_PERIOD_S = 86400

# The cookie of a client in a period of COOKIE_PERIOD_S, and the number of the present one.
cdef uint64_t fast_open_cookie(const Tcp *tcp, const Address *client, uint64_t period) noexcept nogil
# The option of a SYN or SYN-ACK; returns its octets.
cdef uint32_t fast_open_write_option(Tcp *tcp, uint32_t conn, uint8_t *at) noexcept nogil
# What a SYN of ours carries: its payload, copied behind the header of `header_bytes`.
cdef uint32_t fast_open_payload(Tcp *tcp, uint32_t conn, uint8_t *header, uint32_t header_bytes) noexcept nogil
# Octets of data that our SYN carried, with TRAIT_FAST_OPEN.
cdef uint32_t fast_open_octets(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline uint64_t fast_open_period(const Tcp *tcp) noexcept nogil:
    return tcp.now_ns // (<uint64_t>COOKIE_PERIOD_S * 1000000000)


cdef inline bint fast_open_has_option(const Tcb *tcb) noexcept nogil:
    return tcb.traits & (TRAIT_FAST_OPEN | TRAIT_FAST_OPEN_GRANT) != 0
