"""Loss recovery."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FRAME_SACKED, NO_FRAME
from underpass.tcp.congestion.control cimport (
    SSTHRESH_UNLIMITED, congestion_control, congestion_lost, congestion_timed_out, congestion_window_used,
)
from underpass.tcp.path_probe cimport path_probe_lost, path_probe_outstanding
from underpass.tcp.prr cimport prr_begin, prr_update
from underpass.tcp.rack cimport rack_detect_loss
from underpass.tcp.rare cimport rare_of
from underpass.tcp.reordering cimport reordering_recovered, reordering_window_ns
from underpass.tcp.scoreboard cimport (
    DUP_THRESH, scoreboard_disbelieve, scoreboard_lose_all, scoreboard_lose_head,
)
from underpass.tcp.tcb cimport (
    CONN_CWND_LIMITED, CONN_FAST_RECOVERY, CONN_FIN_LOST, CONN_FIN_SENT, CONN_RTO_RECOVERY, CONN_SACK, Tcb, TcbCold, Tcp,
)
from underpass.tcp.tlp cimport tlp_acknowledged
from underpass.tcp.traits cimport TRAIT_CWR, TRAIT_FRTO, TRAIT_PROBE_SENT, TRAIT_RATE, TRAIT_SACKED, TRAIT_UNDO
from underpass.tcp.undo cimport undo_acknowledged, undo_keep
from underpass.tcp.validation cimport validation_unused
from underpass.wire.seq cimport seq_after, seq_t

cdef enum:
    DUPACKS_MOST = 255
    RENEGED_LEAST_NS = 10000000     # how long a SACK block at SND.UNA may stand before it counts as taken back


cdef inline bint recovering(const Tcb *tcb) noexcept nogil:
    return (tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY)) != 0


cdef inline bint in_proportion(const Tcb *tcb) noexcept nogil:
    """Whether RFC 6937 sets the window: not for a control that does so by what is delivered, in recovery too."""
    return tcb.flags & CONN_FAST_RECOVERY and not tcb.traits & TRAIT_RATE


cdef inline uint32_t still_to_send(const Tcb *tcb) noexcept nogil:
    """Octets that are lost and have not been sent again."""
    return tcb.lost_bytes - tcb.retransmitted_bytes


cdef inline bint only_probe_lost(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 4821 7.4: what the path was too small for was no loss of congestion's."""
    return path_probe_outstanding(&tcp.tcbs[conn]) and path_probe_lost(tcp, conn)


# ---------------------------------------------------------------------------------------------- in and out

cdef void enter_fast_recovery(Tcp *tcp, uint32_t conn, uint32_t delivered) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t used = congestion_window_used(tcb, 0)
    tcp.colds[conn].recover = tcb.snd_nxt
    undo_keep(tcp, conn, False)
    congestion_lost(tcp, conn, used)
    if tcb.flags & CONN_SACK:
        prr_begin(tcp, conn, used, delivered)
    tcb.flags |= CONN_FAST_RECOVERY
    tcp.state.counters.fast_retransmits += 1


cdef void leave_recovery(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 6582 3.2 step 3, RFC 6937 3.1: the window is what the congestion control set when the loss was seen."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_FAST_RECOVERY and not tcb.traits & TRAIT_RATE and \
            (tcb.flags & CONN_SACK or tcb.cwnd > tcb.ssthresh) and tcb.ssthresh != <uint32_t>SSTHRESH_UNLIMITED:
        tcb.cwnd = tcb.ssthresh             # which a recovery that began under BBR has not set
    tcb.flags &= ~<uint32_t>(CONN_FAST_RECOVERY | CONN_RTO_RECOVERY)
    tcb.traits &= ~<uint32_t>TRAIT_FRTO
    tcp.colds[conn].dupacks = 0
    if tcb.flags & CONN_SACK:
        reordering_recovered(tcp, conn)


cdef void recovery_grow(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    # RFC 5681 3.1, RFC 7661: a window that is not used up says nothing about the network.
    if tcb.flags & (CONN_CWND_LIMITED | CONN_RTO_RECOVERY):
        if not tcb.traits & TRAIT_CWR:      # RFC 3168 6.1.2: nor does it grow where marks are answered
            congestion_control(tcb.congestion).acked(tcp, conn, acked)
        if tcb.snd_unsent == NO_FRAME:
            tcb.flags &= ~<uint32_t>CONN_CWND_LIMITED
    else:
        validation_unused(tcp, conn)


# ---------------------------------------------------------------------------------------------- acknowledgments

cdef uint64_t recovery_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.traits & TRAIT_PROBE_SENT:
        tlp_acknowledged(tcp, conn, seg, news)
    if tcb.traits & TRAIT_UNDO:
        undo_acknowledged(tcp, conn, seg, news)
    if recovering(tcb) and not seq_after(tcp.colds[conn].recover, tcb.snd_una):
        leave_recovery(tcp, conn)
    if tcb.flags & CONN_SACK:
        return with_sack(tcp, conn, news)
    without_sack(tcp, conn, news)
    return 0


cdef inline bint reneged(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    """RFC 2018 8: what is reported at SND.UNA should have been acknowledged."""
    return tcb.sacked_bytes != 0 and (tcp.pool.frames[tcb.snd_head].flags & FRAME_SACKED) != 0


cdef uint64_t with_sack(Tcp *tcp, uint32_t conn, const Delivery *news) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t before = still_to_send(tcb)
    cdef uint64_t look_again_ns = 0
    if tcb.traits & TRAIT_SACKED and not seq_after(rare_of(tcp, conn).fack, tcb.snd_una):
        tcb.traits &= ~<uint32_t>TRAIT_SACKED
    if tcb.sacked_bytes | tcb.lost_bytes:
        look_again_ns = rack_detect_loss(tcp, conn)
    if still_to_send(tcb) != 0 and not recovering(tcb) and not only_probe_lost(tcp, conn):
        enter_fast_recovery(tcp, conn, news.delivered)
    if in_proportion(tcb):
        prr_update(tcp, conn, news.delivered, news.acked != 0 and still_to_send(tcb) <= before)
    elif recovering(tcb):
        if news.delivered != 0:
            recovery_grow(tcp, conn, news.delivered)
    elif news.acked != 0:
        recovery_grow(tcp, conn, news.acked)
    if reneged(tcp, tcb):
        return tcp.now_ns + max(<uint64_t>(tcb.srtt_us >> 4) * 1000, <uint64_t>RENEGED_LEAST_NS)
    return look_again_ns


cdef inline bint recover_allows(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """RFC 6582 3.2 step 1: what a timeout already sent again must not start a fast recovery."""
    return cold.timeouts == 0 or seq_after(tcb.snd_una, cold.recover)


cdef inline uint32_t segments_outstanding(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """RFC 5681 3.2: duplicate ACKs beyond what was in flight when recovery began can only be forged."""
    cdef seq_t end = cold.recover if tcb.flags & CONN_FAST_RECOVERY else tcb.snd_nxt
    return min((end - tcb.snd_una + tcb.mss - 1) // tcb.mss, <uint32_t>DUPACKS_MOST)


cdef void without_sack(Tcp *tcp, uint32_t conn, const Delivery *news) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if news.duplicate:
        if cold.dupacks < segments_outstanding(tcb, cold):
            cold.dupacks += 1
        if cold.dupacks >= DUP_THRESH and not recovering(tcb) and tcb.snd_head != NO_FRAME and recover_allows(tcb, cold):
            enter_fast_recovery(tcp, conn, 0)
            scoreboard_lose_head(tcp, tcb)
    elif news.acked == 0:
        return
    elif tcb.flags & CONN_FAST_RECOVERY:
        partial_acknowledgment(tcp, conn, news.acked)
    else:
        cold.dupacks = 0
        recovery_grow(tcp, conn, news.acked)


cdef void partial_acknowledgment(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    """RFC 6582 3.2: the hole after the one just filled is lost too."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    # Each duplicate ACK stood for one segment; those that this ACK covers no longer do.
    cdef uint32_t segments = (acked + tcb.mss - 1) // tcb.mss - 1
    cold.dupacks -= <unsigned char>(segments if segments < cold.dupacks else cold.dupacks)
    scoreboard_lose_head(tcp, tcb)


# ---------------------------------------------------------------------------------------------- timers

cdef uint64_t recovery_overdue(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t look_again_ns
    if reneged(tcp, tcb):
        recovery_timeout(tcp, conn)
        return 0
    look_again_ns = rack_detect_loss(tcp, conn)
    if still_to_send(tcb) != 0 and not recovering(tcb) and not only_probe_lost(tcp, conn):
        enter_fast_recovery(tcp, conn, 0)
    if in_proportion(tcb):
        prr_update(tcp, conn, 0, False)
    return look_again_ns


cdef inline uint64_t overdue_since(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 8985 6.3: what was sent later may still be on its way when the retransmission timer fires."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if not tcb.flags & CONN_SACK:
        return tcp.now_ns
    return tcp.now_ns - <uint64_t>tcb.rack_rtt_us * 1000 - reordering_window_ns(tcp, conn)


cdef void recovery_timeout(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if reneged(tcp, tcb):
        scoreboard_disbelieve(tcp, tcb)
        tcp.state.counters.sack_reneged += 1
    scoreboard_lose_all(tcp, tcb, overdue_since(tcp, conn))
    if cold.backoff == 0:
        undo_keep(tcp, conn, True)
        congestion_timed_out(tcp, conn, min(tcb.snd_nxt - tcb.snd_una, tcb.cwnd))
    else:
        tcb.cwnd = tcb.mss
    cold.recover = tcb.snd_nxt
    cold.dupacks = 0
    cold.timeouts += 1
    tcb.flags &= ~<uint32_t>CONN_FAST_RECOVERY
    tcb.flags |= CONN_RTO_RECOVERY
    tcb.traits &= ~<uint32_t>TRAIT_PROBE_SENT
    if tcb.flags & CONN_FIN_SENT:
        tcb.flags |= CONN_FIN_LOST
    tcp.state.counters.timeouts += 1
