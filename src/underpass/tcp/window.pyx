"""The receive window."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp

cdef enum:
    SHARE_SHIFT = 2                 # one connection may claim a quarter of what is free (Choudhury and Hahne, 1998)
    FRAME_YIELD = 1024              # octets of payload that a frame is reckoned to hold


cdef inline uint32_t free_octets_share(const Tcp *tcp) noexcept nogil:
    cdef int32_t spare = <int32_t>(tcp.pool.state.free - tcp.pool.state.reserve)
    if spare <= 0:
        return 0
    return (<uint32_t>spare >> SHARE_SHIFT) * FRAME_YIELD


cdef uint32_t window_of_syn(const Tcb *tcb) noexcept nogil:
    return min(tcb.rcv_limit, <uint32_t>65535)


cdef inline uint32_t window_space(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    cdef uint32_t held = tcb.rcv_bytes
    cdef uint32_t space = tcb.rcv_limit - held if tcb.rcv_limit > held else 0
    cdef uint32_t share = free_octets_share(tcp)
    if share < space:
        space = share
    # What the header can carry: 16 bits, scaled; round down so that the right edge is one that we keep.
    cdef uint32_t most = <uint32_t>65535 << tcb.rcv_scale
    if space > most:
        space = most
    return space >> tcb.rcv_scale << tcb.rcv_scale


cdef uint32_t window_offer(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    cdef uint32_t promised = tcb.rcv_adv - tcb.rcv_nxt
    cdef uint32_t space = window_space(tcp, tcb)
    cdef uint32_t step = tcb.mss if tcb.mss < tcb.rcv_limit >> 1 else tcb.rcv_limit >> 1
    # RFC 9293 3.8.6.2.2: the right edge stays until it can move by a segment or half the buffer.
    if space < promised + step:
        return promised
    return space


cdef bint window_grew(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    cdef uint32_t promised = tcb.rcv_adv - tcb.rcv_nxt
    cdef uint32_t half = tcb.rcv_limit >> 1
    return window_space(tcp, tcb) >= promised + (half if half < 2 * <uint32_t>tcb.mss else 2 * <uint32_t>tcb.mss)


cdef uint8_t window_scale_for(uint32_t octets) noexcept nogil:
    cdef uint8_t shift = 0
    while shift < 14 and (<uint32_t>65535 << shift) < octets:
        shift += 1
    return shift
