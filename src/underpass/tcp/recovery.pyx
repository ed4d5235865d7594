"""Loss recovery."""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.congestion.control cimport congestion_control
from underpass.tcp.scoreboard cimport (
    DUP_THRESH, scoreboard_mark_all_lost, scoreboard_mark_head_lost, scoreboard_mark_lost,
)
from underpass.tcp.tcb cimport (
    CONN_CWND_LIMITED, CONN_FAST_RECOVERY, CONN_FIN_LOST, CONN_FIN_SENT, CONN_RTO_RECOVERY, CONN_SACK, Tcb, TcbCold, Tcp,
)
from underpass.wire.seq cimport seq_after


cdef inline bint recover_allows(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """RFC 6582 3.2 step 1: what a timeout already sent again must not start a fast recovery."""
    return cold.timeouts == 0 or seq_after(tcb.snd_una, cold.recover) or tcb.flags & CONN_SACK


cdef inline uint32_t flight(const Tcb *tcb) noexcept nogil:
    return tcb.snd_nxt - tcb.snd_una


cdef void enter_fast_recovery(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cold.recover = tcb.snd_nxt
    congestion_control(tcb.congestion).lost(tcp, conn, flight(tcb))
    scoreboard_mark_head_lost(tcp, tcb)
    tcb.flags |= CONN_FAST_RECOVERY
    tcp.state.counters.fast_retransmits += 1


cdef void recovery_duplicate(Tcp *tcp, uint32_t conn, uint32_t newly_sacked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t lost = 0
    if cold.dupacks < 255:
        cold.dupacks += 1
    if tcb.flags & CONN_SACK:
        lost = scoreboard_mark_lost(tcp, tcb)
    if tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) or tcb.snd_head == NO_FRAME:
        return
    if (cold.dupacks >= DUP_THRESH or lost != 0) and recover_allows(tcb, cold):
        enter_fast_recovery(tcp, conn)


cdef void leave_recovery(Tcb *tcb, TcbCold *cold) noexcept nogil:
    """RFC 6582 3.2 step 3: the window is what the congestion control set when the loss was seen."""
    if tcb.flags & CONN_FAST_RECOVERY and tcb.cwnd > tcb.ssthresh:
        tcb.cwnd = tcb.ssthresh
    tcb.flags &= ~<uint32_t>(CONN_FAST_RECOVERY | CONN_RTO_RECOVERY)
    cold.dupacks = 0


cdef void recovery_advance(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY):
        if not seq_after(cold.recover, tcb.snd_una):
            leave_recovery(tcb, cold)
        elif tcb.flags & CONN_FAST_RECOVERY:
            partial_acknowledgment(tcp, conn, acked)
            return
    else:
        cold.dupacks = 0
    # RFC 5681 3.1, RFC 7661: a window that is not used up says nothing about the network.
    if tcb.flags & CONN_CWND_LIMITED or tcb.flags & CONN_RTO_RECOVERY:
        congestion_control(tcb.congestion).acked(tcp, conn, acked)
        if tcb.snd_unsent == NO_FRAME:
            tcb.flags &= ~<uint32_t>CONN_CWND_LIMITED


cdef void partial_acknowledgment(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    """RFC 6675 5 (C), RFC 6582 3.2: the hole after the one just filled is lost too."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t segments
    if tcb.flags & CONN_SACK:
        scoreboard_mark_lost(tcp, tcb)
        if tcb.lost_bytes == 0:
            scoreboard_mark_head_lost(tcp, tcb)
        return
    # Each duplicate ACK stood for one segment; those that this ACK covers no longer do.
    segments = (acked + tcb.mss - 1) // tcb.mss - 1
    cold.dupacks -= <unsigned char>(segments if segments < cold.dupacks else cold.dupacks)
    scoreboard_mark_head_lost(tcp, tcb)


cdef void recovery_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef bint first = cold.backoff == 0
    # RFC 2018 8: SACK information may have been taken back when the first timer fires for what was sacked.
    scoreboard_mark_all_lost(tcp, tcb, True)
    if first:
        congestion_control(tcb.congestion).timed_out(tcp, conn, flight(tcb))
    else:
        tcb.cwnd = tcb.mss
    cold.recover = tcb.snd_nxt
    cold.dupacks = 0
    cold.timeouts += 1
    tcb.flags &= ~<uint32_t>CONN_FAST_RECOVERY
    tcb.flags |= CONN_RTO_RECOVERY
    if tcb.flags & CONN_FIN_SENT:
        tcb.flags |= CONN_FIN_LOST
    tcp.state.counters.timeouts += 1
