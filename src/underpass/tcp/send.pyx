"""Sending: application octets are copied once, into the frame that they leave in and are sent again from."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, NO_FRAME, TX_HEADROOM, Frame, frame_chunk, frame_is_outstanding, frame_take_for_data, frame_unref,
)
from underpass.tcp.autosize cimport SND_UNASKED, autosize_has_room, autosize_is_full
from underpass.tcp.block cimport block_drop_queue, block_touch
from underpass.tcp.output cimport SENT, SENT_NO_FRAME, Sent, output_control, output_data, output_next
from underpass.tcp.pacing cimport pacing_holds, pacing_spent
from underpass.tcp.prr cimport prr_sent
from underpass.tcp.path cimport path_lowered, path_raise
from underpass.tcp.path_probe cimport (
    PROBE_MADE, PROBE_WAITS, ProbeStep, path_probe_make, path_probe_resent, path_probe_sent,
)
from underpass.tcp.rate cimport rate_limit, rate_split
from underpass.tcp.reordering cimport reordering_watch
from underpass.tcp.rtt cimport rtt_timeout_ns
from underpass.tcp.scoreboard cimport scoreboard_next_lost, scoreboard_pipe, scoreboard_retransmitted
from underpass.tcp.tcb cimport (
    CLOSE_WAIT, CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_CWND_LIMITED, CONN_FAST_RECOVERY, CONN_FIN_LOST,
    CONN_FIN_QUEUED, CONN_FIN_SENT, CONN_NODELAY, CONN_PERSISTING, CONN_SACK, CONN_STARVED, CONN_WANTS_ROOM, ESTABLISHED,
    EVENT_WRITABLE, FIN_WAIT_2, LAST_ACK, SYN_RECEIVED, Tcb, TcbCold, Tcp,
)
from underpass.tcp.timers cimport timers_restart_retransmit, timers_sent
from underpass.tcp.trace cimport trace_resent
from underpass.tcp.traits cimport (
    TRAIT_CORK, TRAIT_FAST_OPEN_PENDING, TRAIT_NOTSENT_LOWAT, TRAIT_PACED, TRAIT_PATH_PROBE, TRAIT_RATE,
    TRAIT_REORDERING_TIMER, TRAIT_UNDO,
)
from underpass.tcp.undo cimport undo_holds_lost, undo_note_sent
from underpass.tcp.validation cimport validation_restart, validation_was_idle
from underpass.tcp.window cimport window_worth_telling
from underpass.wire.segment cimport ACK, FIN, PSH
from underpass.wire.seq cimport seq_t


cdef enum:
    CORK_NS = 200000000             # how long a short segment is held back at most (Linux: TCP_CORK)
    LEAST_SEGMENT = 48              # into a window smaller than this only the timer sends


# ---------------------------------------------------------------------------------------------- the queue

cdef inline uint32_t frame_room(const Tcp *tcp, const Tcb *tcb) noexcept nogil:
    """Payload that one frame takes: a segment, or what the chunk holds where that is less."""
    cdef uint32_t chunk = tcp.pool.state.chunk_bytes - TX_HEADROOM
    return tcb.mss if tcb.mss < chunk else chunk


cdef inline bint tail_takes_more(Tcp *tcp, const Tcb *tcb) noexcept nogil:
    """Whether the last frame was never sent and has room: small writes share a segment."""
    if tcb.snd_unsent == NO_FRAME:
        return False
    return tcp.pool.frames[tcb.snd_tail].length < frame_room(tcp, tcb) and not frame_is_outstanding(tcp.pool, tcb.snd_tail)


cdef inline uint32_t refuse_room(Tcp *tcp, Tcb *tcb, bint starved) noexcept nogil:
    tcb.flags |= CONN_WANTS_ROOM
    if starved and not tcb.flags & CONN_STARVED:
        tcb.flags |= CONN_STARVED
        tcp.starved += 1
        tcp.state.counters.frame_starved += 1
    return 0


cdef uint32_t send_reserve(Tcp *tcp, uint32_t conn, uint8_t **at) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame
    cdef Frame *it
    if tcb.flags & CONN_FIN_QUEUED or (tcb.state != ESTABLISHED and tcb.state != CLOSE_WAIT and
                                         not tcb.traits & TRAIT_FAST_OPEN_PENDING):
        return 0
    tcp.reserved = NO_FRAME
    if tail_takes_more(tcp, tcb):
        it = &tcp.pool.frames[tcb.snd_tail]
        at[0] = frame_chunk(tcp.pool, tcb.snd_tail) + it.offset + it.length
        return frame_room(tcp, tcb) - it.length
    if tcb.snd_frames >= SND_UNASKED and autosize_is_full(tcp, conn):
        return refuse_room(tcp, tcb, False)
    frame = frame_take_for_data(tcp.pool)
    if frame == NO_FRAME:
        return refuse_room(tcp, tcb, True)
    it = &tcp.pool.frames[frame]
    it.offset = TX_HEADROOM
    it.length = 0
    it.owner = conn
    tcp.reserved = frame
    at[0] = frame_chunk(tcp.pool, frame) + TX_HEADROOM
    return frame_room(tcp, tcb)


cdef void send_commit(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame = tcp.reserved
    tcp.reserved = NO_FRAME
    if frame == NO_FRAME:                   # room in the tail
        tcp.pool.frames[tcb.snd_tail].length += <uint16_t>octets
    elif octets == 0:
        frame_unref(tcp.pool, frame)
        return
    else:
        append_frame(tcp, tcb, frame, octets)
    tcb.snd_end += octets
    block_touch(tcp, conn)


cdef inline void append_frame(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil:
    cdef Frame *it = &tcp.pool.frames[frame]
    it.seq = tcb.snd_end
    it.length = <uint16_t>octets
    it.next = NO_FRAME
    if tcb.snd_head == NO_FRAME:
        tcb.snd_head = frame
    else:
        tcp.pool.frames[tcb.snd_tail].next = frame
    tcb.snd_tail = frame
    if tcb.snd_unsent == NO_FRAME:
        tcb.snd_unsent = frame
    tcb.snd_frames += 1


cdef bint split_frame(Tcp *tcp, uint32_t conn, uint32_t frame, uint32_t octets) noexcept nogil:
    """Cut a frame after `octets`. The rest moves to one of its own: its headers would overwrite the first part."""
    cdef Frame *it = &tcp.pool.frames[frame]
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t rest = frame_take_for_data(tcp.pool)
    cdef Frame *other
    if rest == NO_FRAME:
        return False
    other = &tcp.pool.frames[rest]
    other.offset = TX_HEADROOM
    other.length = <uint16_t>(it.length - octets)
    other.seq = it.seq + octets
    other.owner = conn
    other.sent_ns = it.sent_ns
    other.flags = it.flags
    other.next = it.next
    memcpy(frame_chunk(tcp.pool, rest) + TX_HEADROOM, frame_chunk(tcp.pool, frame) + it.offset + octets, other.length)
    it.length = <uint16_t>octets
    it.next = rest
    if tcb.traits & TRAIT_RATE:
        rate_split(tcp, frame, rest)
    if tcb.snd_tail == frame:
        tcb.snd_tail = rest
    tcb.snd_frames += 1
    return True


cdef inline bint fits_segment(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    """Cut a frame made when segments were larger. False: there is no frame for the rest."""
    return tcp.pool.frames[frame].length <= tcp.tcbs[conn].mss or split_frame(tcp, conn, frame, tcp.tcbs[conn].mss)


cdef void send_drop_queue(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    block_drop_queue(tcp, &tcb.snd_head)
    tcb.snd_tail = tcb.snd_unsent = NO_FRAME
    tcb.snd_frames = 0
    tcb.sacked_bytes = tcb.lost_bytes = tcb.retransmitted_bytes = 0


# ---------------------------------------------------------------------------------------------- the decision

cdef inline bint may_transmit(const Tcb *tcb) noexcept nogil:
    """States in which payload and FIN leave (RFC 9293 3.3.2); payload alone before the end of a Fast Open (RFC 7413 4.2.2)."""
    return ESTABLISHED <= tcb.state <= LAST_ACK and tcb.state != FIN_WAIT_2 or \
        tcb.state == SYN_RECEIVED and tcb.traits & TRAIT_FAST_OPEN_PENDING != 0


cdef inline uint32_t window_left(const Tcb *tcb, seq_t seq) noexcept nogil:
    """Octets of the peer's window from `seq` on."""
    cdef int32_t left = <int32_t>(tcb.snd_una + tcb.snd_wnd - seq)
    return <uint32_t>left if left > 0 else 0


cdef inline uint8_t flags_for(const Tcp *tcp, const Tcb *tcb, uint32_t frame) noexcept nogil:
    """PSH on the last octets that there are; FIN with them where the application has finished."""
    if tcp.pool.frames[frame].next != NO_FRAME:
        return 0
    return PSH | FIN if tcb.flags & CONN_FIN_QUEUED and tcb.state != SYN_RECEIVED else PSH


cdef inline bint nagle_holds(const Tcp *tcp, const Tcb *tcb, const Frame *it) noexcept nogil:
    """RFC 9293 3.7.4: a short segment waits while anything is unacknowledged, unless it is the last one for good.

    With TCP_CORK it waits in any case, until the timer that start_persisting sets.
    """
    if tcb.flags & CONN_FIN_QUEUED or it.next != NO_FRAME or it.length >= tcb.mss:
        return False
    if tcb.traits & TRAIT_CORK:
        return True
    return not tcb.flags & CONN_NODELAY and tcb.snd_una != tcb.snd_nxt


cdef inline bint too_silly(const Tcb *tcb, const TcbCold *cold, uint32_t usable) noexcept nogil:
    """RFC 9293 3.8.6.2.1: part of a segment goes out only where it is half of the largest window that the peer ever had."""
    return usable < max(cold.snd_wnd_max >> 1, <uint32_t>LEAST_SEGMENT)


cdef Sent send_again(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t sent_ns = tcp.pool.frames[frame].sent_ns
    cdef uint8_t flags
    cdef Sent sent
    if frame_is_outstanding(tcp.pool, frame):
        return SENT                         # still in the device's queue: it has not been lost, only not yet sent
    if tcb.traits & TRAIT_PATH_PROBE:
        path_probe_resent(tcp, conn, frame)
    if not fits_segment(tcp, conn, frame):
        return SENT_NO_FRAME
    flags = flags_for(tcp, tcb, frame) if tcb.flags & CONN_FIN_SENT else 0
    sent = output_data(tcp, conn, frame, flags)
    if sent != SENT:
        return sent
    if flags & FIN:
        tcb.flags &= ~<uint32_t>CONN_FIN_LOST
    if tcb.traits & TRAIT_UNDO:
        undo_note_sent(tcp, conn, &tcp.pool.frames[frame])
    if tcb.flags & CONN_SACK:
        reordering_watch(tcp, conn, &tcp.pool.frames[frame], sent_ns)
    tcp.pool.frames[frame].flags |= FRAME_EVER_RETRANSMITTED
    tcp.colds[conn].retransmits += 1
    tcp.state.counters.retransmits += 1
    if tcp.trace != NULL:
        trace_resent(tcp, conn, tcp.pool.frames[frame].seq, tcp.pool.frames[frame].length)
    return SENT


cdef Sent send_lost(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Send again what the scoreboard says is lost, as far as the congestion window allows (RFC 6675 5)."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t frame
    cdef Sent sent
    while tcb.lost_bytes > tcb.retransmitted_bytes:
        # RFC 5681 3.2 (3): the first goes out whatever the window says.
        if scoreboard_pipe(tcb, cold) + tcb.mss > tcb.cwnd and tcb.retransmitted_bytes != 0:
            return SENT
        frame = scoreboard_next_lost(tcp, tcb, cold)
        if frame == NO_FRAME or frame_is_outstanding(tcp.pool, frame):
            return SENT
        sent = send_again(tcp, conn, frame)
        if sent != SENT:
            return sent
        scoreboard_retransmitted(tcp, tcb, frame)
        if frame == tcb.snd_head and not tcb.traits & TRAIT_REORDERING_TIMER:
            timers_restart_retransmit(tcp, conn)        # RFC 6298 5.3: it had no time yet to be acknowledged
        if tcb.traits & TRAIT_PACED and pacing_spent(tcp, conn, tcp.pool.frames[frame].length):
            return SENT
    return SENT


cdef void send_first_lost(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame = scoreboard_next_lost(tcp, tcb, &tcp.colds[conn])
    if frame != NO_FRAME and not frame_is_outstanding(tcp.pool, frame) and send_again(tcp, conn, frame) == SENT:
        scoreboard_retransmitted(tcp, tcb, frame)


cdef Sent send_frame(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil:
    """Send a frame for the first time: the one at snd_unsent."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it = &tcp.pool.frames[frame]
    cdef uint8_t flags = flags_for(tcp, tcb, frame)
    cdef Sent sent = output_data(tcp, conn, frame, flags)
    if sent != SENT:
        return sent
    tcb.snd_unsent = it.next
    tcb.snd_nxt = it.seq + it.length
    if tcb.flags & CONN_PERSISTING:
        tcb.flags &= ~<uint32_t>CONN_PERSISTING
        tcb.retransmit_at = 0               # from now on it guards this segment
    if flags & FIN:
        fin_left(tcb)
    return SENT


cdef bint send_path_probe(Tcp *tcp, uint32_t conn) noexcept nogil:
    """False: it did not leave, or nothing may leave after it for now."""
    cdef uint32_t frame = tcp.tcbs[conn].snd_unsent
    if send_frame(tcp, conn, frame) != SENT:
        return False
    path_probe_sent(tcp, conn, frame)
    return not (tcp.tcbs[conn].traits & TRAIT_PACED and pacing_spent(tcp, conn, tcp.pool.frames[frame].length))


cdef Sent send_new(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Send what was never sent, as far as both windows allow."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef Frame *it
    cdef uint32_t frame, usable
    cdef ProbeStep step
    cdef Sent sent
    if validation_was_idle(tcp, tcb, cold):
        validation_restart(tcp, conn)
    if path_lowered(tcb):
        step = path_probe_make(tcp, conn)
        if step == PROBE_WAITS:
            tcb.flags |= CONN_CWND_LIMITED
            return SENT
        if step == PROBE_MADE and not send_path_probe(tcp, conn):
            return SENT
    while tcb.snd_unsent != NO_FRAME:
        frame = tcb.snd_unsent
        it = &tcp.pool.frames[frame]
        if not fits_segment(tcp, conn, frame):
            return SENT_NO_FRAME
        if nagle_holds(tcp, tcb, it):
            return SENT
        if scoreboard_pipe(tcb, cold) + it.length > tcb.cwnd and tcb.snd_una != tcb.snd_nxt:
            tcb.flags |= CONN_CWND_LIMITED
            return SENT
        usable = window_left(tcb, it.seq)
        if usable < it.length and (too_silly(tcb, cold, usable) or not split_frame(tcp, conn, frame, usable)):
            return SENT
        sent = send_frame(tcp, conn, frame)
        if sent != SENT:
            return sent
        if tcb.traits & TRAIT_PACED and pacing_spent(tcp, conn, it.length):
            return SENT
    return SENT


cdef bint send_one_new(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame = tcb.snd_unsent
    if frame == NO_FRAME or not fits_segment(tcp, conn, frame):
        return False
    if window_left(tcb, tcp.pool.frames[frame].seq) < tcp.pool.frames[frame].length:
        return False
    return send_frame(tcp, conn, frame) == SENT


cdef inline void fin_left(Tcb *tcb) noexcept nogil:
    tcb.flags |= CONN_FIN_SENT
    tcb.snd_nxt = tcb.snd_end + 1


cdef void note_fin_again(Tcp *tcp, uint32_t conn) noexcept nogil:
    if tcp.trace != NULL:
        trace_resent(tcp, conn, tcp.tcbs[conn].snd_end, 0)


cdef Sent send_fin(Tcp *tcp, uint32_t conn) noexcept nogil:
    """FIN by itself: nothing is left to carry it, or it was lost alone."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Sent sent
    if not tcb.flags & CONN_FIN_QUEUED or tcb.snd_unsent != NO_FRAME or tcb.state == SYN_RECEIVED:
        return SENT
    if tcb.flags & CONN_FIN_SENT and not tcb.flags & CONN_FIN_LOST:
        return SENT
    if tcb.lost_bytes > tcb.retransmitted_bytes:
        return SENT
    sent = output_control(tcp, conn, tcb.snd_end, FIN | ACK)
    if sent == SENT:
        if tcb.flags & CONN_FIN_LOST:
            note_fin_again(tcp, conn)
        fin_left(tcb)
        tcb.flags &= ~<uint32_t>CONN_FIN_LOST
    return sent


cdef inline void start_persisting(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 9293 3.8.6.1: something waits, nothing is in flight, and the window takes none of it."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.snd_unsent == NO_FRAME or tcb.snd_una != tcb.snd_nxt or tcb.flags & CONN_PERSISTING or tcb.pace_at != 0:
        return
    tcb.flags |= CONN_PERSISTING
    tcp.colds[conn].backoff = 0
    if tcb.traits & TRAIT_CORK and tcb.snd_wnd != 0:
        tcb.retransmit_at = tcp.now_ns + CORK_NS
    else:
        tcb.retransmit_at = tcp.now_ns + rtt_timeout_ns(&tcp.colds[conn])


cdef Sent send_allowed(Tcp *tcp, uint32_t conn) noexcept nogil:
    """All of the send queue that may leave now."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t before = tcb.snd_nxt
    cdef uint64_t octets = tcp.colds[conn].bytes_sent
    cdef Sent sent = SENT
    if tcb.lost_bytes > tcb.retransmitted_bytes and not undo_holds_lost(tcp, conn):
        sent = send_lost(tcp, conn)
    if sent == SENT and tcb.snd_unsent != NO_FRAME and tcb.pace_at == 0:
        sent = send_new(tcp, conn)
    if sent == SENT:
        sent = send_fin(tcp, conn)
    if tcb.snd_nxt != before:
        timers_sent(tcp, conn)
    if tcb.flags & CONN_FAST_RECOVERY:
        prr_sent(tcp, conn, <uint32_t>(tcp.colds[conn].bytes_sent - octets))
    return sent


cdef inline bint held_by_pacing(Tcp *tcp, uint32_t conn) noexcept nogil:
    return tcp.tcbs[conn].traits & TRAIT_PACED != 0 and pacing_holds(tcp, conn)


cdef inline void note_want_of_data(Tcp *tcp, uint32_t conn) noexcept nogil:
    """CheckIfApplicationLimited: all that there was has left, and more might have."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef bint none_left = tcb.snd_unsent == NO_FRAME or tcb.snd_end - tcb.snd_nxt < tcb.mss
    if none_left and tcb.lost_bytes <= tcb.retransmitted_bytes and tcb.pace_at == 0 and \
            scoreboard_pipe(tcb, &tcp.colds[conn]) < tcb.cwnd:
        rate_limit(tcp, conn)


cdef inline bint waits_for_room_alone(const Tcb *tcb) noexcept nogil:
    """Where there was no frame either it is told when there are some (see attend_starved), else it would ask without end."""
    return tcb.flags & (CONN_WANTS_ROOM | CONN_STARVED) == CONN_WANTS_ROOM


cdef void send_output(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Sent sent
    if path_lowered(tcb):
        path_raise(tcp, conn)
    if may_transmit(tcb) and not held_by_pacing(tcp, conn):
        sent = send_allowed(tcp, conn)
        if tcb.traits & TRAIT_NOTSENT_LOWAT and waits_for_room_alone(tcb) and autosize_has_room(tcp, conn):
            tcb.events |= EVENT_WRITABLE
        if sent == SENT:
            start_persisting(tcp, conn)
            if tcb.traits & TRAIT_RATE:
                note_want_of_data(tcp, conn)
        elif tcb.retransmit_at == 0:
            # No frame or no neighbour: the timer tries again.
            tcb.retransmit_at = tcp.now_ns + rtt_timeout_ns(&tcp.colds[conn])
    if tcb.flags & CONN_ACK_NOW or (tcb.state >= ESTABLISHED and window_worth_telling(tcp, tcb)):
        output_control(tcp, conn, output_next(tcb), ACK)
    elif tcb.flags & CONN_ACK_DELAYED and tcb.ack_at == 0:
        tcb.ack_at = tcp.now_ns + <unsigned long long>tcp.state.limits.delayed_ack_us * 1000


cdef bint send_override(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 9293 3.8.6.2.1 (4): the override timeout sends what little the window takes, or the cork held back."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame = tcb.snd_unsent
    cdef uint32_t usable
    if frame == NO_FRAME:
        return False
    usable = min(window_left(tcb, tcp.pool.frames[frame].seq), <uint32_t>tcb.mss)
    if usable == 0 or (usable < tcp.pool.frames[frame].length and not split_frame(tcp, conn, frame, usable)):
        return False
    send_frame(tcp, conn, frame)
    tcb.retransmit_at = tcp.now_ns + rtt_timeout_ns(&tcp.colds[conn])
    return True


cdef void send_window_probe(Tcp *tcp, uint32_t conn) noexcept nogil:
    tcp.state.counters.window_probes += 1
    # An old sequence number: the peer must answer it (RFC 9293 3.10.7.4, first), and nothing enters the closed window.
    output_control(tcp, conn, tcp.tcbs[conn].snd_una - 1, ACK)
