"""Undoing spurious recovery."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport NO_FRAME, Frame
from underpass.tcp.congestion.control cimport congestion_control, congestion_initial_window
from underpass.tcp.delivery cimport Delivery
from underpass.tcp.isn cimport timestamp_clock
from underpass.tcp.rare cimport Undo, rare_of
from underpass.tcp.reordering cimport reordering_mistaken
from underpass.tcp.rtt cimport rtt_sample
from underpass.tcp.scoreboard cimport scoreboard_lose_nothing, scoreboard_pipe
from underpass.tcp.tcb cimport (
    CONN_CWND_LIMITED, CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, CONN_SACK, CONN_TIMESTAMPS, Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport TRAIT_CWR, TRAIT_CWR_DUE, TRAIT_FRTO, TRAIT_UNDO
from underpass.wire.segment cimport OPTION_TIMESTAMPS, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_t


# ---------------------------------------------------------------------------------------------- what there was

cdef void undo_keep(Tcp *tcp, uint32_t conn, bint timeout) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Undo *undo = &rare_of(tcp, conn).undo
    undo.cwnd = tcb.cwnd
    undo.ssthresh = tcb.ssthresh
    undo.octets = 0
    undo.una = tcb.snd_una
    undo.stamped = undo.hold = 0
    undo.timeout = timeout
    undo.answered = tcb.traits & TRAIT_CWR != 0
    # Its echo is older than what this recovery sends again, though the loss is real.
    undo.resent = undo.resent and seq_after(undo.again, tcb.snd_una)
    undo.mixed = undo.resent and not timeout
    tcb.traits |= TRAIT_UNDO
    tcb.traits &= ~<uint32_t>TRAIT_FRTO
    # RFC 5682 2.1 step 1: a timeout within the recovery from another one proves nothing.
    if timeout and not tcb.flags & CONN_RTO_RECOVERY:
        tcb.traits |= TRAIT_FRTO


cdef void undo_note_sent(Tcp *tcp, uint32_t conn, const Frame *it) noexcept nogil:
    cdef Undo *undo = &rare_of(tcp, conn).undo
    cdef seq_t end = it.seq + it.length
    if not undo.resent or seq_after(end, undo.again):
        undo.again = end
        undo.resent = 1
    if not seq_before(it.seq, tcp.colds[conn].recover):
        return                              # a loss probe, later on
    undo.octets += it.length
    if not undo.stamped:
        undo.stamped = 1
        undo.stamp = timestamp_clock(tcp) + tcp.colds[conn].ts_offset


cdef void undo_note_duplicate(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil:
    cdef Undo *undo = &rare_of(tcp, conn).undo
    if seq_before(start, undo.una) or seq_after(end, tcp.colds[conn].recover):
        return
    undo.octets -= min(end - start, undo.octets)


cdef bint undo_holds_lost(Tcp *tcp, uint32_t conn) noexcept nogil:
    return tcp.tcbs[conn].traits & TRAIT_FRTO and rare_of(tcp, conn).undo.hold != 0


# ---------------------------------------------------------------------------------------------- proofs

cdef inline bint proved_by_duplicates(const Undo *undo, const Delivery *news) noexcept nogil:
    """RFC 3708: every octet that was sent again is reported as duplicate."""
    return news.reported and undo.stamped and undo.octets == 0


cdef inline bint proved_by_timestamp(const Tcb *tcb, const Undo *undo, const Segment *seg,
                                     const Delivery *news) noexcept nogil:
    """RFC 3522 3.2 step 4: the first acknowledgment answers what was sent before the retransmission."""
    return news.acked != 0 and undo.stamped and not undo.mixed and \
        tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) and tcb.flags & CONN_TIMESTAMPS and \
        seg.options & OPTION_TIMESTAMPS and seq_before(seg.ts_ecr, undo.stamp)


cdef inline bint new_data_may_follow(const Tcb *tcb) noexcept nogil:
    return tcb.snd_unsent != NO_FRAME and seq_after(tcb.snd_una + tcb.snd_wnd, tcb.snd_nxt)


cdef bint proved_by_progress(Tcp *tcp, uint32_t conn, Undo *undo, const Delivery *news) noexcept nogil:
    """RFC 5682 2.1 and, with SACK, 3.1: steps 2 and 3."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    undo.hold = 0
    # An ACK that covers a retransmission too may owe its reach to it: it filled the gap before what had arrived.
    if news.original and not news.again:
        return True
    if seq_after(tcb.snd_nxt, tcp.colds[conn].recover):
        if news.acked == 0 and (news.delivered != 0 or news.duplicate):
            tcb.traits &= ~<uint32_t>TRAIT_FRTO         # step 3 a: something is missing indeed
    elif news.acked != 0 and new_data_may_follow(tcb):
        undo.hold = 1                                   # step 2 b
    elif news.acked != 0 or (news.duplicate and not tcb.flags & CONN_SACK):
        tcb.traits &= ~<uint32_t>TRAIT_FRTO             # step 2 a
    return False


cdef void undo_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Undo *undo = &rare_of(tcp, conn).undo
    cdef bint by_timestamp = proved_by_timestamp(tcb, undo, seg, news)
    if by_timestamp and undo.timeout:
        restore_timeout(tcp, conn, seg)
    if by_timestamp or proved_by_duplicates(undo, news) or \
            (tcb.traits & TRAIT_FRTO and proved_by_progress(tcp, conn, undo, news)):
        set_back(tcp, conn, undo, news)


# ---------------------------------------------------------------------------------------------- the answer

cdef inline void restore_timeout(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """RFC 4015 3.2, steps RTO: the round trip that was too long for the timer is a sample like any other."""
    cdef uint32_t ticks = timestamp_clock(tcp) - (seg.ts_ecr - tcp.colds[conn].ts_offset)
    rtt_sample(&tcp.tcbs[conn], &tcp.colds[conn], <uint32_t>min((<uint64_t>ticks << 20) // 1000, <uint64_t>0xFFFFFFFF),
               tcp.state.limits.rto_min_us)


cdef void set_back(Tcp *tcp, uint32_t conn, const Undo *undo, const Delivery *news) noexcept nogil:
    """RFC 4015 3.2 step 8: the old threshold, and a window that leaves no room for a burst on the way back to it."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    scoreboard_lose_nothing(tcp, tcb)
    cdef uint32_t room = scoreboard_pipe(tcb, cold) + congestion_initial_window(tcb.mss)
    # Not less than the end of a recovery that was none would leave; and a segment, which may have grown since.
    tcb.cwnd = max(min(undo.cwnd, max(room, tcb.ssthresh)), <uint32_t>tcb.mss)
    tcb.ssthresh = max(undo.ssthresh, undo.cwnd) if tcb.cwnd < undo.cwnd else undo.ssthresh
    if congestion_control(tcb.congestion).undo != NULL:
        congestion_control(tcb.congestion).undo(tcp, conn)
    if undo.timeout:
        tcp.state.counters.spurious_timeouts += 1
    else:
        tcp.state.counters.spurious_recoveries += 1
    # What this acknowledgment covers besides opens nothing: not the window held it, but the mistake.
    tcb.flags &= ~<uint32_t>(CONN_FAST_RECOVERY | CONN_RTO_RECOVERY | CONN_CWND_LIMITED)
    tcb.traits &= ~<uint32_t>(TRAIT_UNDO | TRAIT_FRTO)
    if not undo.answered:
        tcb.traits &= ~<uint32_t>(TRAIT_CWR | TRAIT_CWR_DUE)   # the next loss is the first of its window (RFC 3168 6.1.2)
    cold.dupacks = 0
    cold.backoff = 0
    if not undo.timeout and not news.reported:
        reordering_mistaken(tcp, conn)
