"""What an acknowledgment does: octets leave the send queue, the round trip is timed, the windows move."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, NO_FRAME, Frame, frame_unref,
)
from underpass.tcp.block cimport block_touch
from underpass.tcp.challenge cimport challenge_ack
from underpass.tcp.recovery cimport recovery_advance, recovery_duplicate
from underpass.tcp.rtt cimport rtt_sample
from underpass.tcp.scoreboard cimport scoreboard_forget, scoreboard_update
from underpass.tcp.tcb cimport (
    CONN_FIN_SENT, CONN_PERSISTING, CONN_SACK, CONN_WANTS_ROOM, EVENT_WRITABLE, Tcb, TcbCold, Tcp,
)
from underpass.tcp.timers cimport timers_restart_retransmit
from underpass.wire.segment cimport FIN, OPTION_SACK, SYN, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto


cdef bint ack_covers_fin(const Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    return tcb.flags & CONN_FIN_SENT and tcb.snd_una == tcb.snd_nxt


cdef inline bint acceptable(const Tcb *tcb, const TcbCold *cold, seq_t ack) noexcept nogil:
    """RFC 5961 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT"""
    return seq_upto(tcb.snd_una - cold.snd_wnd_max, ack) and seq_upto(ack, tcb.snd_nxt)


cdef uint64_t free_acknowledged(Tcp *tcp, uint32_t conn, seq_t ack) noexcept nogil:
    """Take what lies before `ack` out of the send queue. Returns when the newest frame that was sent once left, or 0."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t part
    cdef uint64_t sent_ns = 0
    while frame != NO_FRAME and frame != tcb.snd_unsent:
        it = &tcp.pool.frames[frame]
        if seq_after(it.seq + it.length, ack):
            if seq_before(it.seq, ack):
                part = ack - it.seq
                scoreboard_forget(tcp, tcb, frame, part)
                it.seq = ack
                it.offset += <uint16_t>part
                it.length -= <uint16_t>part
            break
        scoreboard_forget(tcp, tcb, frame, it.length)
        # Karn: a frame that was ever sent twice tells nothing about the round trip.
        sent_ns = 0 if it.flags & FRAME_EVER_RETRANSMITTED else it.sent_ns
        tcb.snd_head = it.next
        tcb.snd_frames -= 1
        frame_unref(tcp.pool, frame)
        frame = tcb.snd_head
    if tcb.snd_head == NO_FRAME:
        tcb.snd_tail = NO_FRAME
    return sent_ns


cdef void advance(Tcp *tcp, uint32_t conn, seq_t ack) noexcept nogil:
    """SND.UNA < SEG.ACK =< SND.NXT"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t acked = ack - tcb.snd_una
    cdef uint64_t sent_ns = free_acknowledged(tcp, conn, ack)
    tcb.snd_una = ack
    cold.backoff = 0
    cold.probes = 0
    cold.since_ns = 0
    cold.bytes_acked += acked
    tcb.rtt_us = 0
    if sent_ns != 0:
        tcb.rtt_us = max(<uint32_t>((tcp.now_ns - sent_ns) // 1000), <uint32_t>1)
        rtt_sample(tcb, cold, tcb.rtt_us, tcp.state.limits.rto_min_us)
    recovery_advance(tcp, conn, acked)
    timers_restart_retransmit(tcp, conn)
    if tcb.flags & CONN_WANTS_ROOM and tcb.snd_frames <= cold.snd_limit - (cold.snd_limit >> 2):
        tcb.events |= EVENT_WRITABLE


cdef inline bint update_window(Tcp *tcp, Tcb *tcb, TcbCold *cold, const Segment *seg) noexcept nogil:
    """RFC 9293 3.10.7.4: SND.WND from a segment that is not older than the one it was last taken from. True: it changed."""
    cdef uint32_t window = <uint32_t>seg.window << tcb.snd_scale
    cdef bint changed
    if not (seq_before(tcb.snd_wl1, seg.seq) or (tcb.snd_wl1 == seg.seq and seq_upto(tcb.snd_wl2, seg.ack))):
        return False
    changed = window != tcb.snd_wnd
    tcb.snd_wnd = window
    tcb.snd_wl1 = seg.seq
    tcb.snd_wl2 = seg.ack
    if window > cold.snd_wnd_max:
        cold.snd_wnd_max = window
    return changed


cdef inline void window_opened(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The peer answered a probe, or opened its window: probing has no reason any more, or starts over."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cold.since_ns = 0                       # it lives (RFC 9293 3.8.6.1: a window may stay closed for ever)
    if tcb.snd_wnd != 0 and tcb.snd_unsent != NO_FRAME:
        tcb.flags &= ~<uint32_t>CONN_PERSISTING
        cold.backoff = 0
        tcb.retransmit_at = 0
        if tcb.snd_una != tcb.snd_nxt:
            timers_restart_retransmit(tcp, conn)


cdef bint ack_process(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t sacked = 0
    cdef bint window_changed
    if not acceptable(tcb, cold, seg.ack):
        tcp.state.counters.ack_refused += 1
        challenge_ack(tcp, conn)
        return False
    if seg.options & OPTION_SACK and tcb.flags & CONN_SACK:
        sacked = scoreboard_update(tcp, tcb, cold, seg)
    if seq_after(seg.ack, tcb.snd_una):
        advance(tcp, conn, seg.ack)
        update_window(tcp, tcb, cold, seg)
    elif seg.ack == tcb.snd_una:
        window_changed = update_window(tcp, tcb, cold, seg)
        # RFC 5681 2, RFC 6675 2: what makes an ACK a duplicate.
        if tcb.snd_una != tcb.snd_nxt and seg.payload_bytes == 0 and not seg.flags & (SYN | FIN) and \
                (sacked != 0 or not (window_changed or tcb.flags & CONN_SACK)):
            recovery_duplicate(tcp, conn, sacked)
    if tcb.flags & CONN_PERSISTING:
        window_opened(tcp, conn)
    block_touch(tcp, conn)
    return True
