"""The receive window: what is advertised, and when a larger one is worth a segment (RFC 9293 3.8.6, RFC 7323 2.3)."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp

# Octets that may be advertised now: bounded by the connection's limit and by its share of the free frames, never taking
# back what was advertised.
cdef uint32_t window_offer(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# Whether the window grew enough since it was last advertised to say so (RFC 9293 3.8.6.2.2).
cdef bint window_worth_telling(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# The window of a SYN, which is never scaled (RFC 7323 2.2).
cdef uint32_t window_of_syn(const Tcb *tcb) noexcept nogil
# The smallest shift that lets a window of `octets` be advertised.
cdef uint8_t window_scale_for(uint32_t octets) noexcept nogil
