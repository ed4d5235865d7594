"""Whether the congestion window still says something about the network: idleness and little use (RFC 5681 4.1, RFC 7661).

A window that is used up is valid. One of which less than half is used keeps its size for five minutes and then halves,
again and again, down to the initial window. After idleness a connection begins with the initial window (unless the limit
`idle_restart` is 0), but remembers in ssthresh how far slow start may bring it. Controls that sample the delivery rate
know the network by other means.
"""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.control cimport congestion_initial_window
from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp

cdef enum:
    SENT_TICK_SHIFT = 20            # Tcb.sent_tick: 1.05 ms

# validation_unused, of a window larger than the initial one.
cdef void validation_of_larger(Tcp *tcp, uint32_t conn) noexcept nogil
# Payload is about to leave after a pause of a retransmission timeout or more.
cdef void validation_restart(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline bint validation_was_idle(const Tcp *tcp, const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """Whether nothing was sent for a retransmission timeout (RFC 5681 4.1), and nothing is outstanding."""
    cdef uint32_t pause = <uint32_t>(tcp.now_ns >> SENT_TICK_SHIFT) - tcb.sent_tick
    return tcb.snd_una == tcb.snd_nxt and pause > cold.rto_us >> 10


cdef inline void validation_unused(Tcp *tcp, uint32_t conn) noexcept nogil:
    """An ACK came while the window was not used up."""
    if tcp.tcbs[conn].cwnd > congestion_initial_window(tcp.tcbs[conn].mss):
        validation_of_larger(tcp, conn)
