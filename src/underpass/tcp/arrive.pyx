"""SEGMENT ARRIVES, step by step in the order of RFC 9293 3.10.7.4, with the stricter rules of RFC 5961 and RFC 7323."""
from libc.errno cimport ECONNREFUSED, ECONNRESET
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from underpass.ip.network cimport network_is_local
from underpass.tcp.accept cimport (
    accept_announce, accept_brings_cookie, accept_completed, accept_cookie, accept_cookie_for, accept_find, accept_has_room,
    accept_segment,
)
from underpass.tcp.ack cimport ack_covers_fin, ack_process
from underpass.tcp.block cimport block_at_work, block_touch
from underpass.tcp.challenge cimport challenge_ack, challenge_allowed, challenge_due
from underpass.tcp.connect cimport connect_segment
from underpass.tcp.demux cimport DEMUX_NONE, TIME_WAIT_TAG, demux_find
from underpass.tcp.dsack cimport dsack_note
from underpass.tcp.ecn cimport ecn_received, ecn_take_syn_again
from underpass.tcp.ending cimport ending_fin_wait_2, ending_gone, ending_reset, ending_time_wait
from underpass.tcp.fast_open cimport fast_open_completed, fast_open_serve, fast_open_was_reset
from underpass.tcp.isn cimport timestamp_clock
from underpass.tcp.flows cimport flows_hand_over
from underpass.tcp.open cimport open_established, open_send_syn
from underpass.tcp.output cimport SENT, output_answer, output_control, output_next, output_reset_for
from underpass.tcp.preset cimport QUICK_ACKS
from underpass.tcp.receive cimport Arrival, receive_fin, receive_text
from underpass.tcp.tcb cimport (
    CLOSE_WAIT, CLOSING, CONN_ACK_NOW, CONN_ACTIVE, CONN_FIN_QUEUED, CONN_ORPHAN,
    CONN_TIMESTAMPS, ESTABLISHED, EVENT_CONNECTED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, NO_CONN, NO_LISTENER, SYN_RECEIVED, SYN_SENT,
    Tcb, TcbCold, Tcp, TimeWait,
)
from underpass.tcp.time_wait cimport (
    TIME_WAIT_ACK, TIME_WAIT_REOPEN, TimeWaitVerdict, time_wait_may_answer, time_wait_receive, time_wait_reopen,
    time_wait_takes_cookie,
)
from underpass.tcp.traits cimport TRAIT_DEFER_ACCEPT, TRAIT_ECN, TRAIT_FAST_OPEN_PENDING
from underpass.tcp.urgent cimport urgent_arrives
from underpass.wire.reason cimport IP_DESTINATION
from underpass.wire.segment cimport ACK, FIN, OPTION_TIMESTAMPS, RST, SYN, URG, Segment, segment_length
from underpass.wire.seq cimport seq_after, seq_t, seq_upto, seq_within

cdef enum:
    PAWS_IDLE_S = 2073600           # RFC 7323 5.5: after 24 days without a segment TS.Recent proves nothing


# --------------------------------------------------------------------------- no connection, or TIME-WAIT

cdef void arrive_unknown(Tcp *tcp, Arrival *arrival, uint32_t hash) noexcept nogil:
    """3.10.7.1 CLOSED and 3.10.7.2 LISTEN. Nothing is said for an address that is not ours."""
    cdef const Segment *seg = &arrival.seg
    cdef uint32_t listener
    if not network_is_local(tcp.network, &seg.dst):
        tcp.state.counters.refused[<uint32_t>IP_DESTINATION] += 1
        return
    listener = accept_find(tcp, &seg.dst, seg.dst_port)
    if listener == NO_LISTENER:
        tcp.state.counters.no_listener += 1
        output_reset_for(tcp, seg)
        return
    arrive_listener(tcp, arrival, hash, listener, 0)


cdef void arrive_listener(Tcp *tcp, Arrival *arrival, uint32_t hash, uint32_t listener, seq_t floor) noexcept nogil:
    cdef uint32_t conn = accept_segment(tcp, listener, &arrival.seg, hash, floor)
    if conn == NO_CONN:
        return
    if tcp.tcbs[conn].state == SYN_RECEIVED:
        fast_open_serve(tcp, conn, arrival)
    else:
        arrive_text(tcp, conn, arrival)     # a cookie came back, perhaps with data


cdef void reopen_by_syn(Tcp *tcp, Arrival *arrival, uint32_t hash, uint32_t entry) noexcept nogil:
    """Where nothing more can be kept, by a cookie: then the entry stays until that comes back."""
    cdef const Segment *seg = &arrival.seg
    cdef uint32_t listener = accept_find(tcp, &seg.dst, seg.dst_port)
    if listener == NO_LISTENER:
        return
    if accept_has_room(tcp, listener):
        arrive_listener(tcp, arrival, hash, listener, time_wait_reopen(tcp, entry))
    elif time_wait_takes_cookie(tcp, entry, seg, accept_cookie_for(tcp, listener, seg)):
        arrive_listener(tcp, arrival, hash, listener, 0)


cdef bint reopen_by_ack(Tcp *tcp, Arrival *arrival, uint32_t hash, uint32_t entry) noexcept nogil:
    """Whether it brings a cookie back for a new connection: the SYN was answered by one."""
    cdef const Segment *seg = &arrival.seg
    cdef uint32_t listener, conn
    cdef Segment syn
    if seg.flags & (SYN | RST | ACK) != ACK or not accept_brings_cookie(tcp, seg, &syn):
        return False
    listener = accept_find(tcp, &seg.dst, seg.dst_port)
    if listener == NO_LISTENER or not time_wait_takes_cookie(tcp, entry, &syn, seg.ack - 1):
        return False
    time_wait_reopen(tcp, entry)
    conn = accept_cookie(tcp, listener, seg, &syn, hash)
    if conn != NO_CONN:
        arrive_text(tcp, conn, arrival)
    return True


cdef void arrive_time_wait(Tcp *tcp, Arrival *arrival, uint32_t hash, uint32_t entry) noexcept nogil:
    cdef const Segment *seg = &arrival.seg
    cdef TimeWait *wait = &tcp.time_waits[entry]
    cdef TimeWaitVerdict verdict
    if reopen_by_ack(tcp, arrival, hash, entry):
        return
    verdict = time_wait_receive(tcp, entry, seg)
    if verdict == TIME_WAIT_REOPEN:
        reopen_by_syn(tcp, arrival, hash, entry)
    elif verdict == TIME_WAIT_ACK and time_wait_may_answer(tcp, entry, seg) and challenge_allowed(tcp):
        output_answer(tcp, seg, wait.snd_nxt, wait.rcv_nxt, ACK, 0, (wait.flags & CONN_TIMESTAMPS) != 0,
                      timestamp_clock(tcp) + wait.ts_offset, wait.ts_recent)


# --------------------------------------------------------------------------- first: sequence number

cdef inline bint sequence_acceptable(const Tcb *tcb, const Segment *seg) noexcept nogil:
    """The four cases of the table in RFC 9293 3.10.7.4."""
    cdef uint32_t window = tcb.rcv_adv - tcb.rcv_nxt
    cdef uint32_t length = segment_length(seg)
    if window == 0:
        # The special allowance for valid ACKs and RSTs: text is cut to the window, that is, to nothing.
        return seg.seq == tcb.rcv_nxt
    if length == 0:
        return seq_within(seg.seq, tcb.rcv_nxt, window)
    return seq_within(seg.seq, tcb.rcv_nxt, window) or seq_within(seg.seq + length - 1, tcb.rcv_nxt, window)


cdef inline bint paws_refuses(const Tcp *tcp, const Tcb *tcb, const TcbCold *cold, const Segment *seg) noexcept nogil:
    """RFC 7323 5.3 R1: a timestamp older than the newest one accepted marks an old duplicate."""
    if not (tcb.flags & CONN_TIMESTAMPS and seg.options & OPTION_TIMESTAMPS) or seg.flags & RST:
        return False
    if <int32_t>(seg.ts_val - tcb.ts_recent) >= 0:
        return False
    return tcp.now_ns - cold.heard_ns < <uint64_t>PAWS_IDLE_S * 1000000000


cdef inline void take_timestamp(Tcp *tcp, Tcb *tcb, const Segment *seg) noexcept nogil:
    """RFC 7323 4.3 (2), 5.3 R3

    A segment without the timestamps that were agreed on is taken as it is (3.2 would have it dropped): behind SYN cookies and
    boxes that strip options there are such peers, and the stream is whole all the same.
    """
    if not tcb.flags & CONN_TIMESTAMPS:
        return
    if not seg.options & OPTION_TIMESTAMPS:
        if not seg.flags & RST:
            tcp.state.counters.timestamps_missing += 1
    elif seq_upto(seg.seq, tcb.rcv_acked) and <int32_t>(seg.ts_val - tcb.ts_recent) >= 0:
        tcb.ts_recent = seg.ts_val


cdef void acknowledge_again(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """Data or FIN that is not taken: the sender waits to hear so. Old data is reported, each segment by itself (RFC 2883 4)."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if seg.payload_bytes != 0 and seq_upto(seg.seq + seg.payload_bytes, tcb.rcv_nxt):
        dsack_note(tcp, conn, seg.seq, seg.seq + seg.payload_bytes)
        tcp.colds[conn].quick_acks = QUICK_ACKS
        if output_control(tcp, conn, output_next(tcb), ACK) == SENT:
            return
    tcb.flags |= CONN_ACK_NOW
    block_touch(tcp, conn)


cdef void answer_unacceptable(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """'If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set).'"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if seg.flags & RST:
        return
    if tcb.state == SYN_RECEIVED and seg.flags & SYN and seg.seq == tcp.colds[conn].irs:
        ecn_take_syn_again(tcp, conn, seg)
        if challenge_due(tcp, conn):
            open_send_syn(tcp, conn)        # our SYN-ACK was lost: the peer says SYN again
        return
    if segment_length(seg) != 0:
        acknowledge_again(tcp, conn, seg)
    elif seg.seq != tcb.rcv_nxt - 1:
        challenge_ack(tcp, conn)
    elif challenge_due(tcp, conn):
        tcb.flags |= CONN_ACK_NOW           # keepalive or window probe without payload
        block_touch(tcp, conn)


cdef void answer_old_timestamp(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """RFC 7323 5.3 R1, as for any unacceptable segment; but an acknowledgment that another one overtook is no old duplicate,
    and wants no answer.
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcp.state.counters.paws_refused += 1
    if segment_length(seg) != 0:
        acknowledge_again(tcp, conn, seg)
    elif seg.seq != tcb.rcv_nxt or seq_after(seg.ack, tcb.snd_una):
        challenge_ack(tcp, conn)


cdef inline bint syns_crossed(const Tcb *tcb, const TcbCold *cold, const Segment *seg) noexcept nogil:
    """RFC 9293 3.5, figure 7: opening together, the peer's SYN-ACK has the number of its SYN, taken already."""
    return tcb.state == SYN_RECEIVED and tcb.flags & CONN_ACTIVE and \
        seg.flags & (SYN | ACK | RST) == SYN | ACK and seg.seq == cold.irs and seg.ack == tcb.snd_nxt


cdef inline bint check_sequence(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if paws_refuses(tcp, tcb, cold, seg):
        answer_old_timestamp(tcp, conn, seg)
        return False
    if not sequence_acceptable(tcb, seg):
        tcp.state.counters.out_of_window += 1
        answer_unacceptable(tcp, conn, seg)
        return False
    take_timestamp(tcp, tcb, seg)
    return True


# --------------------------------------------------------------------------- second: RST, fourth: SYN

cdef void arrive_reset(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """RFC 5961 3.2: only a reset at RCV.NXT resets; another one in the window is challenged."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if seg.seq != tcb.rcv_nxt:
        tcp.state.counters.in_window_reset += 1
        challenge_ack(tcp, conn)
        return
    tcp.state.counters.resets_in += 1
    if tcb.traits & TRAIT_FAST_OPEN_PENDING:
        fast_open_was_reset(tcp, conn)
        ending_gone(tcp, conn, ECONNRESET)  # its application knows of it
    elif tcb.state == SYN_RECEIVED:
        ending_gone(tcp, conn, ECONNREFUSED)
    elif tcb.state == LAST_ACK or tcb.state == CLOSING:
        ending_gone(tcp, conn, 0)
    else:
        ending_gone(tcp, conn, ECONNRESET)


# --------------------------------------------------------------------------- fifth: ACK

cdef bint arrive_ack(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """False: the segment goes no further."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.state == SYN_RECEIVED:
        if not seq_after(seg.ack, tcp.colds[conn].iss) or seq_after(seg.ack, tcb.snd_nxt):
            output_reset_for(tcp, seg)
            return False
        complete_handshake(tcp, conn, seg)
    if not ack_process(tcp, conn, seg):
        return False
    if tcb.state == FIN_WAIT_1 and ack_covers_fin(tcp, conn):
        tcb.state = FIN_WAIT_2
        if tcb.flags & CONN_ORPHAN:
            ending_fin_wait_2(tcp, conn)
            return tcb.state == FIN_WAIT_2
    elif tcb.state == CLOSING and ack_covers_fin(tcp, conn):
        ending_time_wait(tcp, conn)
        return False
    elif tcb.state == LAST_ACK and ack_covers_fin(tcp, conn):
        ending_gone(tcp, conn, 0)
        return False
    return True


cdef void complete_handshake(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """SYN-RECEIVED to ESTABLISHED, or on to FIN-WAIT-1 where the application has finished already."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef bint active = (tcb.flags & CONN_ACTIVE) != 0
    if tcb.traits & TRAIT_FAST_OPEN_PENDING:
        fast_open_completed(tcp, conn)
        return
    open_established(tcp, conn, seg)
    if tcb.flags & CONN_FIN_QUEUED:
        tcb.state = FIN_WAIT_1
    if active:
        tcb.events |= EVENT_CONNECTED
    else:
        accept_completed(tcp, conn, seg.payload_bytes != 0 or seg.flags & FIN)


# --------------------------------------------------------------------------- sixth: URG, seventh: text, eighth: FIN

cdef inline void urgent_step(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """The sixth step: not once the peer has said that its stream ends."""
    cdef uint8_t state = tcp.tcbs[conn].state
    if state == ESTABLISHED or state == FIN_WAIT_1 or state == FIN_WAIT_2:
        urgent_arrives(tcp, conn, seg)


cdef void before_text(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.traits & TRAIT_ECN:
        ecn_received(tcp, conn, seg)
    if tcb.traits & TRAIT_DEFER_ACCEPT:
        accept_announce(tcp, conn)


cdef void arrive_text(Tcp *tcp, uint32_t conn, Arrival *arrival) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const Segment *seg = &arrival.seg
    if seg.flags & URG:
        urgent_step(tcp, conn, seg)
    if seg.payload_bytes != 0 and (tcb.state == ESTABLISHED or tcb.state == FIN_WAIT_1 or tcb.state == FIN_WAIT_2):
        if tcb.flags & CONN_ORPHAN:
            tcp.state.counters.after_close += 1
            ending_reset(tcp, conn, 0)              # RFC 9293 3.6.1: nobody will read it
            return
        if tcb.traits & (TRAIT_ECN | TRAIT_DEFER_ACCEPT):
            before_text(tcp, conn, seg)
        receive_text(tcp, conn, arrival)
        block_touch(tcp, conn)
    if receive_fin(tcp, conn, seg):
        arrive_fin(tcp, conn)


cdef void arrive_fin(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    block_touch(tcp, conn)
    if tcb.traits & TRAIT_DEFER_ACCEPT:
        accept_announce(tcp, conn)
    if tcb.state == ESTABLISHED:
        tcb.state = CLOSE_WAIT
    elif tcb.state == FIN_WAIT_1:
        # Our FIN is not acknowledged, else the state were FIN-WAIT-2 by now.
        tcb.state = CLOSING
    elif tcb.state == FIN_WAIT_2:
        ending_time_wait(tcp, conn)


# --------------------------------------------------------------------------- the order of the steps

cdef void arrive_synchronized(Tcp *tcp, uint32_t conn, Arrival *arrival) noexcept nogil:
    """3.10.7.4: SYN-RECEIVED and all later states."""
    cdef const Segment *seg = &arrival.seg
    cdef TcbCold *cold = &tcp.colds[conn]
    cold.segments_received += 1
    if syns_crossed(&tcp.tcbs[conn], cold, seg):
        complete_handshake(tcp, conn, seg)
        tcp.tcbs[conn].flags |= CONN_ACK_NOW
        return
    if not check_sequence(tcp, conn, seg):
        return
    if seg.flags & RST:
        arrive_reset(tcp, conn, seg)
        return
    if seg.flags & SYN:
        tcp.state.counters.in_window_syn += 1       # RFC 5961 4.2
        challenge_ack(tcp, conn)
        return
    if not seg.flags & ACK:
        return
    cold.heard_ns = tcp.now_ns
    if arrive_ack(tcp, conn, seg):
        arrive_text(tcp, conn, arrival)


cdef void arrive(Tcp *tcp, Arrival *arrival, uint32_t hash) noexcept nogil:
    cdef const Segment *seg = &arrival.seg
    cdef uint32_t found = demux_find(tcp, hash, &seg.dst, seg.dst_port, &seg.src, seg.src_port)
    tcp.state.counters.segments_in += 1
    if found == DEMUX_NONE:
        if tcp.flows.slots == NULL or not flows_hand_over(tcp, arrival):
            arrive_unknown(tcp, arrival, hash)
    elif found & TIME_WAIT_TAG:
        arrive_time_wait(tcp, arrival, hash, (found & ~<uint32_t>TIME_WAIT_TAG) - 1)
    elif tcp.tcbs[found - 1].state == SYN_SENT:
        block_at_work(tcp, found - 1)
        if connect_segment(tcp, found - 1, seg):
            tcp.state.counters.answers_elsewhere += arrival.handed
            arrive_text(tcp, found - 1, arrival)
    else:
        block_at_work(tcp, found - 1)
        arrive_synchronized(tcp, found - 1, arrival)
