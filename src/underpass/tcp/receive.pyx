"""Receiving: payload stays in the frames that it came in until the application has read it."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.link.frames cimport NO_FRAME, Frame, frame_chunk, frame_is_outstanding, frame_unref
from underpass.tcp.autosize cimport autosize_receive, autosize_receive_due
from underpass.tcp.block cimport block_touch
from underpass.tcp.dsack cimport dsack_note
from underpass.tcp.output cimport output_control, output_next
from underpass.tcp.preset cimport QUICK_ACKS
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.sacks cimport sacks_note, sacks_trim
from underpass.tcp.tcb cimport (
    CONN_ACK_DELAYED, CONN_ACK_NOW, CONN_FIN_RECEIVED, CONN_FIN_SEEN, CONN_SACK, EVENT_READABLE, Tcb, TcbCold, Tcp,
)
from underpass.tcp.traits cimport TRAIT_DUPLICATE_DUE, TRAIT_URGENT_IN
from underpass.tcp.urgent cimport urgent_consumed
from underpass.wire.segment cimport ACK, FIN, SYN, Segment, segment_length
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto

cdef enum:
    COALESCE_BYTES = 512            # payload up to this size is copied behind its predecessor where there is room
    OCTETS_PER_FRAME = 512          # so a frame in a queue holds at least about this much, but for the last
    FREE_FLOOR_SHIFT = 1            # half of the reserve: below it nothing that arrives is kept
    TOLD_AT_ONCE = 3                # acknowledgments behind a gap that wait for nothing: so many a sender counts (RFC 5681 3.2)
    TOLD_TOGETHER = 44              # segments at most that one acknowledgment tells of
    TOGETHER_PART = 20              # of the round trip that it may wait for the others
    TOGETHER_MOST_NS = 1000000
    TOGETHER_LEAST_NS = 500000      # less is no time for a timer


cdef inline bint may_keep_frame(const Tcp *tcp, const Tcb *tcb, bint in_order) noexcept nogil:
    """Whether this connection may hold one more frame: its quota, and what the pool can spare."""
    cdef uint32_t quota = tcb.rcv_limit // OCTETS_PER_FRAME + 4
    cdef uint32_t free = tcp.pool.state.free
    # What waits out of order may have used the quota up: the hole before it must be filled all the same.
    if tcb.rcv_frames >= quota and not (in_order and tcb.rcv_head == NO_FRAME):
        return False
    return free > (tcp.pool.state.reserve >> FREE_FLOOR_SHIFT if in_order else tcp.pool.state.reserve)


cdef inline bint fits_behind(Tcp *tcp, uint32_t tail, uint32_t length) noexcept nogil:
    """Whether payload is small enough to be copied into the room behind the frame `tail`."""
    cdef Frame *it
    if tail == NO_FRAME or length > COALESCE_BYTES or frame_is_outstanding(tcp.pool, tail):
        return False
    it = &tcp.pool.frames[tail]
    return it.offset + it.length + length <= tcp.pool.state.chunk_bytes


cdef inline void copy_behind(Tcp *tcp, uint32_t tail, const Part *part) noexcept nogil:
    cdef Frame *it = &tcp.pool.frames[tail]
    memcpy(frame_chunk(tcp.pool, tail) + it.offset + it.length, frame_chunk(tcp.pool, part.frame) + part.offset,
           part.length)
    it.length += part.length


cdef inline uint32_t keep_frame(Tcp *tcp, uint32_t conn, Part *part, seq_t seq) noexcept nogil:
    """The frame is the connection's from now on."""
    cdef uint32_t frame = part.frame
    cdef Frame *it = &tcp.pool.frames[frame]
    it.seq = seq
    it.offset = part.offset
    it.length = part.length
    it.owner = conn
    it.next = NO_FRAME
    tcp.tcbs[conn].rcv_frames += 1
    part.frame = NO_FRAME
    return frame


cdef inline void trim_front(Part *part, uint32_t octets) noexcept nogil:
    part.offset += <uint16_t>octets
    part.length -= <uint16_t>octets


cdef bint append_in_order(Tcp *tcp, uint32_t conn, Part *part) noexcept nogil:
    """Payload that starts at RCV.NXT; false: there was no frame to keep it in, and the peer will send it again."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint16_t length = part.length
    cdef uint32_t frame
    if fits_behind(tcp, tcb.rcv_tail, length):
        copy_behind(tcp, tcb.rcv_tail, part)
    elif may_keep_frame(tcp, tcb, True):
        frame = keep_frame(tcp, conn, part, tcb.rcv_nxt)
        if tcb.rcv_tail == NO_FRAME:
            tcb.rcv_head = frame
        else:
            tcp.pool.frames[tcb.rcv_tail].next = frame
        tcb.rcv_tail = frame
    else:
        tcp.state.counters.frame_limit += 1
        return False
    tcb.rcv_nxt += length
    tcb.rcv_bytes += length
    tcp.state.counters.payload_in += length
    return True


cdef void take_over_out_of_order(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Move what now follows RCV.NXT from the out-of-order list to the queue."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t frame = tcb.ooo_head
    cdef uint32_t overlap
    while frame != NO_FRAME and seq_upto(frames[frame].seq, tcb.rcv_nxt):
        tcb.ooo_head = frames[frame].next
        tcb.ooo_bytes -= frames[frame].length
        overlap = tcb.rcv_nxt - frames[frame].seq
        if overlap != 0:
            dsack_note(tcp, conn, frames[frame].seq, frames[frame].seq + min(overlap, <uint32_t>frames[frame].length))
        if overlap >= frames[frame].length:
            tcb.rcv_frames -= 1
            frame_unref(tcp.pool, frame)
        else:
            frames[frame].offset += <uint16_t>overlap
            frames[frame].length -= <uint16_t>overlap
            frames[frame].seq = tcb.rcv_nxt
            frames[frame].next = NO_FRAME
            if tcb.rcv_tail == NO_FRAME:
                tcb.rcv_head = frame
            else:
                frames[tcb.rcv_tail].next = frame
            tcb.rcv_tail = frame
            tcb.rcv_nxt += frames[frame].length
            tcb.rcv_bytes += frames[frame].length
            tcp.state.counters.payload_in += frames[frame].length
        frame = tcb.ooo_head


cdef void prefer_what_came_first(Tcp *tcp, uint32_t conn, Part *part) noexcept nogil:
    """Payload at RCV.NXT over octets that are held already: the application gets those, for they were reported to the
    peer as received (RFC 2018 4), and a forged second copy must not replace them (RFC 9293 3.10.7.4, seventh).
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame = tcb.ooo_head
    cdef uint32_t at
    cdef uint8_t *into = frame_chunk(tcp.pool, part.frame) + part.offset
    while frame != NO_FRAME:
        it = &tcp.pool.frames[frame]
        at = it.seq - tcb.rcv_nxt
        if at >= part.length:
            return
        memcpy(into + at, frame_chunk(tcp.pool, frame) + it.offset, min(<uint32_t>it.length, part.length - at))
        frame = it.next


cdef inline bint may_keep_out_of_order(const Tcp *tcp, const Tcb *tcb, bint fills) noexcept nogil:
    """What fills a hole has twice the room: at the limit, too, the peer must be able to mend more than the first.

    What is counted is an upper bound that costs nothing: most of what is held while there is a gap lies behind it.
    """
    cdef uint32_t limit = tcp.state.limits.ooo_frames << fills
    return (tcb.ooo_head == NO_FRAME or tcb.rcv_frames < limit) and limit != 0 and may_keep_frame(tcp, tcb, False)


cdef inline void note_held(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil:
    """RFC 2883 4.1.2: the duplicate's block is followed by the one that it lies in."""
    sacks_note(tcp, conn, start, end)
    dsack_note(tcp, conn, start, end)


cdef void insert_out_of_order(Tcp *tcp, uint32_t conn, Part *part, seq_t seq) noexcept nogil:
    """Keep payload that lies beyond a gap, in order of sequence number; octets already held are not replaced."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t before = NO_FRAME
    cdef uint32_t after = tcb.ooo_head
    cdef uint32_t frame, overlap
    tcp.state.counters.out_of_order += 1
    if after != NO_FRAME and seq_upto(frames[rare_of(tcp, conn).ooo_tail].seq, seq):
        before = rare_of(tcp, conn).ooo_tail            # most come behind all that is held
        after = NO_FRAME
    while after != NO_FRAME and seq_upto(frames[after].seq, seq):
        before = after
        after = frames[after].next
    if before != NO_FRAME and seq_after(frames[before].seq + frames[before].length, seq):
        overlap = frames[before].seq + frames[before].length - seq
        note_held(tcp, conn, seq, seq + min(overlap, <uint32_t>part.length))
        if overlap >= part.length:
            tcp.state.counters.duplicates_in += 1
            return
        trim_front(part, overlap)
        seq += overlap
    if after != NO_FRAME and seq_after(seq + part.length, frames[after].seq):
        note_held(tcp, conn, frames[after].seq, seq + part.length)
        part.length = <uint16_t>(frames[after].seq - seq)
        if part.length == 0:
            return
    if before != NO_FRAME and frames[before].seq + frames[before].length == seq and \
            fits_behind(tcp, before, part.length):
        copy_behind(tcp, before, part)
        tcb.ooo_bytes += part.length
    elif may_keep_out_of_order(tcp, tcb, after != NO_FRAME):
        frame = keep_frame(tcp, conn, part, seq)
        frames[frame].next = after
        if after == NO_FRAME:
            rare_of(tcp, conn).ooo_tail = frame
        if before == NO_FRAME:
            tcb.ooo_head = frame
        else:
            frames[before].next = frame
        tcb.ooo_bytes += frames[frame].length
    else:
        tcp.state.counters.ooo_limit += 1
        return
    sacks_note(tcp, conn, seq, seq + part.length)


cdef inline void receive_part(Tcp *tcp, uint32_t conn, Part *part, seq_t seq) noexcept nogil:
    """One frame's payload at `seq`: cut to the window, then kept, copied, or left to be freed."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t edge = tcb.rcv_adv
    cdef uint32_t old
    if seq_before(seq, tcb.rcv_nxt):
        old = tcb.rcv_nxt - seq
        dsack_note(tcp, conn, seq, seq + min(old, <uint32_t>part.length))
        if old >= part.length:
            return
        trim_front(part, old)
        seq = tcb.rcv_nxt
    if seq_after(seq + part.length, edge):
        if not seq_before(seq, edge):
            return
        part.length = <uint16_t>(edge - seq)
    if seq == tcb.rcv_nxt:
        if tcb.ooo_head != NO_FRAME:
            prefer_what_came_first(tcp, conn, part)
        if append_in_order(tcp, conn, part) and tcb.ooo_head != NO_FRAME:
            take_over_out_of_order(tcp, conn)
    else:
        insert_out_of_order(tcp, conn, part, seq)


cdef inline bint owed_at_once(Tcp *tcp, uint32_t conn, const Segment *seg, seq_t before, bint gap) noexcept nogil:
    """RFC 5681 4.2: at once for anything out of order or that fills a gap, else for every second full segment.

    Small segments, as requests are, go past all of it.
    """
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t full = cold.peer_mss if cold.peer_mss < tcb.mss else tcb.mss
    cdef uint32_t owed = tcb.rcv_nxt - tcb.rcv_acked
    if owed < full and not gap and tcb.rcv_nxt != before:
        return False
    if autosize_receive_due(tcb, cold):
        autosize_receive(tcp, conn, seg)
    return gap or tcb.rcv_nxt == before or owed >= 2 * full


cdef inline void owe_acknowledgment(Tcp *tcp, uint32_t conn, bint at_once) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if at_once:
        tcb.flags |= CONN_ACK_NOW
    elif cold.quick_acks:
        cold.quick_acks -= 1
        tcb.flags |= CONN_ACK_NOW
    else:
        tcb.flags |= CONN_ACK_DELAYED


cdef inline bint tells_no_more(Tcp *tcp, uint32_t conn, seq_t block) noexcept nogil:
    """Whether a segment behind a gap only lengthened the SACK block that was reported last, which began at `block`: then the
    next acknowledgment tells as much as one for this segment would.
    """
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    if not tcb.flags & CONN_SACK or tcb.traits & TRAIT_DUPLICATE_DUE or rare.sack_recent[0] != block:
        return False
    rare.told_at_once += 1
    if rare.told_at_once <= TOLD_AT_ONCE:
        return False
    if rare.told_at_once > TOLD_AT_ONCE + TOLD_TOGETHER:
        rare.told_at_once = TOLD_AT_ONCE
        return False
    return True


cdef inline void acknowledge_behind_gap(Tcp *tcp, uint32_t conn, seq_t block) noexcept nogil:
    """RFC 5681 4.2: at once. But an acknowledgment a segment, as long as the gap is there, is work for everybody and news for
    nobody: what tells no more than the next one waits for it, to the end of this step, or where that is short beside the
    round trip, for a moment (Linux: tcp_comp_sack_delay_ns).
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t wait_ns
    if not tells_no_more(tcp, conn, block):
        tcb.flags |= CONN_ACK_NOW
        output_control(tcp, conn, output_next(tcb), ACK)
        return
    wait_ns = min(<uint64_t>(tcb.srtt_us >> 3) * (1000 // TOGETHER_PART), <uint64_t>TOGETHER_MOST_NS)
    if wait_ns < TOGETHER_LEAST_NS:
        tcb.flags |= CONN_ACK_NOW
        return
    tcb.flags |= CONN_ACK_DELAYED
    if tcb.ack_at == 0 or tcb.ack_at > tcp.now_ns + wait_ns:
        tcb.ack_at = tcp.now_ns + wait_ns


cdef void receive_text(Tcp *tcp, uint32_t conn, Arrival *arrival) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t before = tcb.rcv_nxt
    cdef seq_t seq = arrival.seg.seq + ((arrival.seg.flags & SYN) != 0)     # RFC 9293 3.4: SYN precedes text
    cdef bint gap = tcb.ooo_head != NO_FRAME
    cdef seq_t block = rare_of(tcp, conn).sack_recent[0] if gap else 0
    cdef bint at_once
    cdef uint32_t i
    cdef uint16_t length
    tcp.colds[conn].data_received += 1
    for i in range(arrival.count):
        length = arrival.parts[i].length
        receive_part(tcp, conn, &arrival.parts[i], seq)
        seq += length
    if tcb.rcv_nxt != before:
        tcb.events |= EVENT_READABLE
        tcp.colds[conn].bytes_received += tcb.rcv_nxt - before
        if gap:
            sacks_trim(tcp, conn, tcb.rcv_nxt)
            rare_of(tcp, conn).told_at_once = 0
            tcp.colds[conn].quick_acks = QUICK_ACKS
    elif not gap and tcb.ooo_head == NO_FRAME and seq_upto(seq, before):
        tcp.state.counters.duplicates_in += 1
    at_once = owed_at_once(tcp, conn, &arrival.seg, before, gap)
    if tcb.rcv_nxt == before and tcb.ooo_head != NO_FRAME:
        acknowledge_behind_gap(tcp, conn, block)
    else:
        owe_acknowledgment(tcp, conn, at_once)


cdef bint receive_fin(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    if seg.flags & FIN and not tcb.flags & CONN_FIN_SEEN:
        tcb.flags |= CONN_FIN_SEEN
        cold.fin_seq = seg.seq + segment_length(seg) - 1
    if not tcb.flags & CONN_FIN_SEEN or tcb.flags & CONN_FIN_RECEIVED or tcb.rcv_nxt != cold.fin_seq:
        return False
    tcb.rcv_nxt += 1
    if seq_before(tcb.rcv_adv, tcb.rcv_nxt):
        tcb.rcv_adv = tcb.rcv_nxt
    if tcb.ooo_head != NO_FRAME:        # what lies behind the end of the stream is nobody's
        receive_drop_out_of_order(tcp, conn)
    tcb.flags |= CONN_FIN_RECEIVED | CONN_ACK_NOW
    tcb.events |= EVENT_READABLE
    return True


cdef void receive_drop_out_of_order(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t frame = tcb.ooo_head
    while frame != NO_FRAME:
        tcb.ooo_head = tcp.pool.frames[frame].next
        tcb.rcv_frames -= 1
        frame_unref(tcp.pool, frame)
        frame = tcb.ooo_head
    tcb.ooo_bytes = 0
    tcp.colds[conn].sack_count = 0


cdef void receive_consumed(Tcp *tcp, uint32_t conn, uint32_t octets) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *it
    cdef uint32_t frame
    if octets > tcb.rcv_bytes:
        octets = tcb.rcv_bytes
    tcb.rcv_bytes -= octets
    while octets:
        frame = tcb.rcv_head
        it = &tcp.pool.frames[frame]
        if octets < it.length:
            it.offset += <uint16_t>octets
            it.length -= <uint16_t>octets
            it.seq += octets
            break
        octets -= it.length
        tcb.rcv_head = it.next
        tcb.rcv_frames -= 1
        frame_unref(tcp.pool, frame)
    if tcb.rcv_head == NO_FRAME:
        tcb.rcv_tail = NO_FRAME
    if tcb.traits & TRAIT_URGENT_IN:
        urgent_consumed(tcp, conn)
    block_touch(tcp, conn)
