"""What an acknowledgment does: octets leave the send queue, the round trip is timed, the windows move."""
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame, frame_unref,
)
from underpass.tcp.autosize cimport autosize_send
from underpass.tcp.block cimport block_touch
from underpass.tcp.challenge cimport challenge_ack
from underpass.tcp.delivery cimport Delivery, delivery_begin, delivery_note
from underpass.tcp.dsack cimport dsack_read
from underpass.tcp.ecn cimport ecn_acknowledged
from underpass.tcp.ending cimport ending_progress
from underpass.tcp.path_probe cimport path_probe_acknowledged
from underpass.tcp.rate cimport rate_acknowledged, rate_delivered
from underpass.tcp.recovery cimport recovery_acknowledged, recovery_concerned, recovery_grow
from underpass.tcp.rtt cimport rtt_sample
from underpass.tcp.scoreboard cimport scoreboard_forget, scoreboard_update
from underpass.tcp.tcb cimport (
    CONN_FIN_SENT, CONN_ORPHAN, CONN_PERSISTING, CONN_SACK, CONN_WANTS_ROOM, Tcb, TcbCold, Tcp,
)
from underpass.tcp.timers cimport timers_look_again, timers_restart_retransmit
from underpass.tcp.traits cimport TRAIT_ECN, TRAIT_PATH_PROBE, TRAIT_RATE
from underpass.wire.segment cimport FIN, OPTION_SACK, SYN, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto


cdef bint ack_covers_fin(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    return tcb.flags & CONN_FIN_SENT and tcb.snd_una == tcb.snd_nxt


cdef inline bint acceptable(const Tcb *tcb, const TcbCold *cold, seq_t ack) noexcept nogil:
    """RFC 5961 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT"""
    return seq_upto(tcb.snd_una - cold.snd_wnd_max, ack) and seq_upto(ack, tcb.snd_nxt)


cdef void free_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil:
    """Take what lies before SEG.ACK out of the send queue."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t part
    while frame != NO_FRAME and frame != tcb.snd_unsent:
        it = &tcp.pool.frames[frame]
        if seq_after(it.seq + it.length, seg.ack):
            if seq_before(it.seq, seg.ack):
                part = seg.ack - it.seq
                if tcb.traits & TRAIT_RATE and not it.flags & FRAME_SACKED:
                    rate_delivered(tcp, conn, it, part)
                scoreboard_forget(tcp, tcb, frame, part)
                it.seq = seg.ack
                it.offset += <uint16_t>part
                it.length -= <uint16_t>part
            break
        if not it.flags & FRAME_SACKED:
            delivery_note(tcp, conn, it, seg, news)
        if it.flags & FRAME_EVER_RETRANSMITTED:
            news.again = 1
        scoreboard_forget(tcp, tcb, frame, it.length)
        tcb.snd_head = it.next
        tcb.snd_frames -= 1
        frame_unref(tcp.pool, frame)
        frame = tcb.snd_head
    if tcb.snd_head == NO_FRAME:
        tcb.snd_tail = NO_FRAME


cdef void application_heard(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    """Frames have left the queue, for which the application waits, or did not wait."""
    if tcp.tcbs[conn].flags & CONN_ORPHAN:
        ending_progress(tcp, conn)
    else:
        autosize_send(tcp, conn, acked)


cdef void advance(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil:
    """SND.UNA < SEG.ACK =< SND.NXT"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    news.acked = seg.ack - tcb.snd_una
    free_acknowledged(tcp, conn, seg, news)
    tcb.snd_una = seg.ack
    cold.backoff = 0
    cold.probes = 0
    cold.since_ns = 0
    cold.bytes_acked += news.acked
    if tcb.flags & (CONN_WANTS_ROOM | CONN_ORPHAN):
        application_heard(tcp, conn, news.acked)


cdef inline void heard_of(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil:
    """What the acknowledgment told goes to the round-trip time, the recovery, the congestion control, the
    timer.
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint64_t look_again_ns = 0
    tcb.rtt_us = 0
    # RFC 6298 3: what lay behind a hole until that was sent again was not on its way for so long.
    if news.sent_ns != 0 and not news.again:
        tcb.rtt_us = max(<uint32_t>((tcp.now_ns - news.sent_ns) // 1000), <uint32_t>1)
        rtt_sample(tcb, cold, tcb.rtt_us, tcp.state.limits.rto_min_us)
    if recovery_concerned(tcb, news):
        look_again_ns = recovery_acknowledged(tcp, conn, seg, news)
        if news.acked != 0:
            timers_restart_retransmit(tcp, conn)
        if look_again_ns != 0 or tcb.sacked_bytes != 0:
            timers_look_again(tcp, conn, look_again_ns)
    elif news.acked != 0:
        cold.dupacks = 0
        recovery_grow(tcp, conn, news.acked)
        timers_restart_retransmit(tcp, conn)


cdef inline bint update_window(Tcb *tcb, TcbCold *cold, const Segment *seg, bint is_news) noexcept nogil:
    """RFC 9293 3.10.7.4: SND.WND from a segment not older than the one it was last taken from. True: it changed.

    One that acknowledges news (`is_news`) is not older, whatever its number: the old window counted from the
    new SND.UNA would reach beyond the edge that the peer offered.
    """
    cdef uint32_t window = <uint32_t>seg.window << tcb.snd_scale
    cdef bint changed
    if not (is_news or seq_before(tcb.snd_wl1, seg.seq)
            or (tcb.snd_wl1 == seg.seq and seq_upto(tcb.snd_wl2, seg.ack))):
        return False
    changed = window != tcb.snd_wnd
    tcb.snd_wnd = window
    tcb.snd_wl1 = seg.seq
    tcb.snd_wl2 = seg.ack
    if window > cold.snd_wnd_max:
        cold.snd_wnd_max = window
    return changed


cdef inline bint window_takes_next(const Tcp *tcp, const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """Whether what waits may leave without being silly. A window that stays small must not put off the timer that overrides
    that (RFC 9293 3.8.6.2.1), however often it is told.
    """
    cdef int32_t usable = <int32_t>(tcb.snd_una + tcb.snd_wnd - tcb.snd_nxt)
    cdef uint32_t enough = min(<uint32_t>tcp.pool.frames[tcb.snd_unsent].length, <uint32_t>tcb.mss)
    return usable > 0 and <uint32_t>usable >= min(enough, cold.snd_wnd_max >> 1)


cdef inline void window_opened(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The peer answered a probe, or opened its window: probing has no reason any more, or starts over."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if tcb.snd_wnd != 0 or cold.user_timeout_ms == 0:
        cold.since_ns = 0                   # it lives (RFC 9293 3.8.6.1: a window may stay closed for ever)
    if tcb.snd_unsent != NO_FRAME and window_takes_next(tcp, tcb, cold):
        tcb.flags &= ~<uint32_t>CONN_PERSISTING
        cold.backoff = 0
        tcb.retransmit_at = 0
        if tcb.snd_una != tcb.snd_nxt:
            timers_restart_retransmit(tcp, conn)


cdef void tell_others(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil:
    """Those that hear of each ACK, on the connections that have them."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.traits & TRAIT_ECN:
        ecn_acknowledged(tcp, conn, seg, news.delivered)
    if tcb.traits & TRAIT_PATH_PROBE:
        path_probe_acknowledged(tcp, conn)
    if tcb.traits & TRAIT_RATE:
        rate_acknowledged(tcp, conn)


cdef bint ack_process(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t sacked = tcb.sacked_bytes
    cdef bint window_changed
    cdef Delivery news
    if not acceptable(tcb, cold, seg.ack):
        tcp.state.counters.ack_refused += 1
        challenge_ack(tcp, conn)
        return False
    delivery_begin(tcp, conn, &news)
    if seg.options & OPTION_SACK and tcb.flags & CONN_SACK:
        dsack_read(tcp, conn, seg, &news)
        scoreboard_update(tcp, conn, seg, &news)
    if seq_after(seg.ack, tcb.snd_una):
        advance(tcp, conn, seg, &news)
        update_window(tcb, cold, seg, True)
    elif seg.ack == tcb.snd_una:
        window_changed = update_window(tcb, cold, seg, False)
        # RFC 5681 2: what makes an ACK a duplicate.
        news.duplicate = tcb.snd_una != tcb.snd_nxt and seg.payload_bytes == 0 and \
            not seg.flags & (SYN | FIN) and not window_changed
    news.delivered = news.acked + tcb.sacked_bytes - sacked
    heard_of(tcp, conn, seg, &news)
    if tcb.traits & (TRAIT_ECN | TRAIT_RATE | TRAIT_PATH_PROBE):
        tell_others(tcp, conn, seg, &news)
    if tcb.flags & CONN_PERSISTING:
        window_opened(tcp, conn)
    block_touch(tcp, conn)
    return True
