"""What a congestion control is to the rest of TCP. Windows are octets; each has 12 words of its own in TcbCold."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold

cdef enum:
    CONGESTION_NEWRENO = 0
    CONGESTION_CUBIC = 1
    CONGESTION_CONTROLS = 2

cdef struct Congestion:
    const char *name
    # A connection begins: cwnd is already the initial window (RFC 6928), ssthresh is unlimited.
    void (*start)(Tcb *tcb, TcbCold *cold, uint64_t now_ns) noexcept nogil
    # `acked` octets were newly acknowledged outside recovery, and the window had been used up.
    void (*acked)(Tcb *tcb, TcbCold *cold, uint32_t acked, uint64_t now_ns) noexcept nogil
    # Loss detected by duplicate ACKs or SACK: set ssthresh and cwnd. `flight`: octets outstanding.
    void (*lost)(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil
    # The retransmission timer fired for the first time: set ssthresh, and cwnd to one segment (RFC 5681 3.1).
    void (*timed_out)(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil

# Out of range gives NewReno.
cdef const Congestion *congestion_control(uint32_t which) noexcept nogil
# RFC 6928: min(10 * MSS, max(2 * MSS, 14600)).
cdef uint32_t congestion_initial_window(uint32_t mss) noexcept nogil
