"""The receive window: what is advertised, and when a larger one is worth a segment (RFC 9293 3.8.6, RFC 7323 2.3)."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp

cdef enum:
    TELL_BELOW = 32768              # while the peer has this much left, the next acknowledgment tells it soon enough

# Octets that may be advertised now: bounded by the connection's limit and by its share of the free frames, never taking
# back what was advertised.
cdef uint32_t window_offer(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# Whether the window grew by two segments or half the buffer since it was last advertised.
cdef bint window_grew(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# The window of a SYN, which is never scaled (RFC 7323 2.2).
cdef uint32_t window_of_syn(const Tcb *tcb) noexcept nogil
# The smallest shift that lets a window of `octets` be advertised.
cdef uint8_t window_scale_for(uint32_t octets) noexcept nogil


cdef inline bint window_worth_telling(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    """Whether the window grew so much that it is worth a segment of its own (RFC 9293 3.8.6.2.2)."""
    return tcb.rcv_adv - tcb.rcv_nxt < min(tcb.rcv_limit >> 1, <uint32_t>TELL_BELOW) and window_grew(tcp, tcb)
