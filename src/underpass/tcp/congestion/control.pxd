"""What a congestion control is to the rest of TCP. Windows are octets; each has TcbRare.congestion_state for its own, or
Rate.model where it samples the delivery rate.

The loss recovery calls it at a few moments and does the rest itself: what may be in flight is `cwnd` less
scoreboard_pipe, so no control inflates its window by duplicate ACKs. `cwnd` never falls under one MSS and
never rises over CWND_MAX.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.rare cimport rare_of
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.tcb cimport CONN_CWND_LIMITED, CONN_RTO_RECOVERY, Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PACED

cdef enum:
    CONGESTION_NEWRENO = 0
    CONGESTION_CUBIC = 1
    CONGESTION_DCTCP = 2
    CONGESTION_BBR = 3
    CONGESTION_CONTROLS = 4
    CWND_MAX = 0x40000000               # 1 GiB, the largest window that RFC 7323 2.2 lets a peer offer
    SSTHRESH_UNLIMITED = 0xFFFFFFFF     # RFC 5681 3.1: arbitrarily high at the start
    # L (RFC 9406 4.3 has 8): as many as a receiver with GRO acknowledges at once, which are two packets of 64 KiB. With less
    # the window would grow by a fifth a round trip towards such a receiver, instead of being doubled.
    SLOW_START_SEGMENTS = 96

cdef struct Congestion:
    const char *name
    uint32_t traits                 # what its connections have: TRAIT_EXACT_ECN, TRAIT_RATE, TRAIT_PACED
    # A connection begins, or changes to this control, whose state is zero: NULL where that is enough. cwnd is
    # already the initial window (RFC 6928), ssthresh is unlimited.
    void (*start)(Tcp *tcp, uint32_t conn) noexcept nogil
    # `acked` octets were newly acknowledged outside fast recovery, and the window had been used up. Called in
    # the recovery from a timeout too, which is a slow start.
    void (*acked)(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
    # Loss detected by duplicate ACKs or SACK: set ssthresh and cwnd. `flight`: octets outstanding.
    void (*lost)(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
    # The retransmission timer fired for the first time: set ssthresh, and cwnd to one segment (RFC 5681 3.1).
    void (*timed_out)(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
    # The last `lost` or `timed_out` was a mistake, and cwnd and ssthresh are set back: forget it in the state
    # too. NULL where there is nothing to forget.
    void (*undo)(Tcp *tcp, uint32_t conn) noexcept nogil
    # The peer tells of congestion marks, for the first time in a window of data (RFC 3168 6.1.2): set ssthresh
    # and cwnd. NULL: as `lost`.
    void (*marked)(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
    # With TRAIT_EXACT_ECN, each ACK: `octets` newly acknowledged or sacked, and whether they came marked.
    void (*echoed)(Tcp *tcp, uint32_t conn, uint32_t octets, bint marked) noexcept nogil
    # With TRAIT_RATE the control alone moves cwnd, in recovery and after idleness too, by what these tell it: an
    # ACK that delivered something or told of losses, once all else is done with it; a frame that is lost, and how
    # it left; the first frame to leave where nothing is in flight.
    void (*sampled)(Tcp *tcp, uint32_t conn, const RateSample *sample) noexcept nogil
    void (*frame_lost)(Tcp *tcp, uint32_t conn, const RateStamp *stamp, uint32_t octets) noexcept nogil
    void (*restarted)(Tcp *tcp, uint32_t conn) noexcept nogil

# Out of range gives NewReno.
cdef const Congestion *congestion_control(uint32_t which) noexcept nogil
# The control of that name ("reno" is called "newreno" as well), or CONGESTION_CONTROLS.
cdef uint32_t congestion_named(const char *name) noexcept nogil
# The connection's control begins: TcbRare.congestion_state is zero, and stays untouched where the control leaves it so.
cdef void congestion_begin(Tcp *tcp, uint32_t conn, uint32_t which) noexcept nogil
# Loss, a timeout, or congestion marks: let the control reduce the window, once for a window of data.
cdef void congestion_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void congestion_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void congestion_marked(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil


cdef inline uint32_t congestion_initial_window(uint32_t mss) noexcept nogil:
    """RFC 6928 2"""
    return min(10 * mss, max(2 * mss, <uint32_t>14600))


cdef inline uint32_t congestion_window_used(const Tcb *tcb, uint32_t acked) noexcept nogil:
    """What congestion reduces when an acknowledgment, which covers `acked` octets, tells of it.

    FlightSize (RFC 5681 3.1), but no more than cwnd: what SACK reports behind a hole has left the network. Where a sender has
    more than the windows let out, the windows (RFC 9438 4.6: cwnd, if it grows only where it is used): acknowledgments
    are taken in by the batch, and what the ones before have left of the flight, until the step's end refills it, is no measure.
    """
    if tcb.flags & CONN_CWND_LIMITED and tcb.snd_unsent != NO_FRAME:
        return min(tcb.cwnd, tcb.snd_wnd)
    return min(tcb.snd_nxt - tcb.snd_una + acked, tcb.cwnd)


cdef inline void *congestion_state(Tcp *tcp, uint32_t conn) noexcept nogil:
    return rare_of(tcp, conn).congestion_state


cdef inline void congestion_widen(Tcb *tcb, uint32_t octets) noexcept nogil:
    """Open the window, up to CWND_MAX."""
    cdef uint64_t cwnd = <uint64_t>tcb.cwnd + octets
    tcb.cwnd = <uint32_t>min(cwnd, <uint64_t>CWND_MAX)


cdef inline uint32_t congestion_slow_start_step(const Tcb *tcb, uint32_t acked) noexcept nogil:
    """What was acknowledged, L segments an ACK at most; a sender that paces has no limit (RFC 9406 4.2).

    After a timeout one ACK may cover what had arrived long before, and L is 1 (RFC 3465 2.3).
    """
    if tcb.traits & TRAIT_PACED and not tcb.flags & CONN_RTO_RECOVERY:
        return acked
    return min(acked, (1 if tcb.flags & CONN_RTO_RECOVERY else SLOW_START_SEGMENTS) * <uint32_t>tcb.mss)


cdef inline void congestion_slow_start(Tcb *tcb, uint32_t acked) noexcept nogil:
    congestion_widen(tcb, congestion_slow_start_step(tcb, acked))


cdef inline uint32_t congestion_floor(const Tcb *tcb, uint32_t window) noexcept nogil:
    """A slow-start threshold is never under two segments (RFC 5681 3.1, equation 4)."""
    return max(window, 2 * <uint32_t>tcb.mss)
