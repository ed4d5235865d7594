"""The sender's scoreboard: marks on the frames of the send queue, and their sums (RFC 6675)."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame)
from underpass.tcp.delivery cimport Delivery, delivery_note
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.rate cimport rate_lost
from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_RATE, TRAIT_SACKED
from underpass.wire.segment cimport MAX_SACK_BLOCKS, SackBlock, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_max, seq_t, seq_upto


cdef void scoreboard_init(Tcb *tcb, TcbCold *cold) noexcept nogil:
    tcb.sacked_bytes = 0
    tcb.lost_bytes = 0
    tcb.retransmitted_bytes = 0
    cold.sack_hint = NO_FRAME


cdef void scoreboard_update(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil:
    cdef SackBlock[4] blocks                        # MAX_SACK_BLOCKS
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t count = _blocks_in_order(tcp, tcb, seg, blocks)
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t visits = 0
    cdef uint32_t block = 0
    cdef uint32_t newest = NO_FRAME
    while block < count and frame != tcb.snd_unsent and frame != NO_FRAME and visits < SCOREBOARD_VISITS:
        visits += 1
        if seq_upto(blocks[block].end, frames[frame].seq):
            block += 1
        elif frames[frame].flags & FRAME_SACKED:
            frame = frames[scoreboard_run_end(frames, frame)].next
        else:
            if _covers(&blocks[block], &frames[frame]):
                delivery_note(tcp, conn, &frames[frame], seg, news)
                _mark_sacked(tcb, frames, frame)
                newest = frame
            frame = frames[frame].next
    if newest != NO_FRAME:
        _note_highest(tcp, conn, frames[newest].seq + frames[newest].length)


cdef void _note_highest(Tcp *tcp, uint32_t conn, seq_t end) noexcept nogil:
    """RACK.fack (RFC 8985 6.2 step 3)"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare = rare_of(tcp, conn)
    if not tcb.traits & TRAIT_SACKED or seq_after(end, rare.fack):
        rare.fack = end
        tcb.traits |= TRAIT_SACKED


cdef void scoreboard_lose(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil:
    cdef const Frame *it = &tcp.pool.frames[frame]
    # One larger than a segment is a probe of the path: see tcp/path_probe.pxd.
    if tcb.traits & TRAIT_RATE and it.flags & (FRAME_LOST | FRAME_RETRANSMITTED) != FRAME_LOST and it.length <= tcb.mss:
        rate_lost(tcp, <uint32_t>(tcb - tcp.tcbs), frame)
    scoreboard_send_again(tcp, tcb, frame)


cdef void scoreboard_send_again(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil:
    cdef Frame *frames = tcp.pool.frames
    cdef TcbCold *cold = &tcp.colds[tcb - tcp.tcbs]
    _mark_lost(tcb, &frames[frame])
    if frames[frame].flags & FRAME_RETRANSMITTED:
        frames[frame].flags &= <uint16_t>~FRAME_RETRANSMITTED
        tcb.retransmitted_bytes -= frames[frame].length
    if cold.sack_hint != NO_FRAME and seq_before(frames[frame].seq, frames[cold.sack_hint].seq):
        cold.sack_hint = frame


cdef void scoreboard_lose_head(Tcp *tcp, Tcb *tcb) noexcept nogil:
    if tcb.snd_head == tcb.snd_unsent or tcb.snd_head == NO_FRAME:
        return
    if not tcp.pool.frames[tcb.snd_head].flags & (FRAME_SACKED | FRAME_LOST):
        scoreboard_lose(tcp, tcb, tcb.snd_head)


cdef void scoreboard_lose_all(Tcp *tcp, Tcb *tcb, uint64_t sent_upto_ns) noexcept nogil:
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t frame = tcb.snd_head
    while frame != tcb.snd_unsent and frame != NO_FRAME:
        if not frames[frame].flags & FRAME_SACKED and (frame == tcb.snd_head or frames[frame].sent_ns <= sent_upto_ns):
            scoreboard_lose(tcp, tcb, frame)
        frame = frames[frame].next


cdef void scoreboard_disbelieve(Tcp *tcp, Tcb *tcb) noexcept nogil:
    cdef uint32_t frame = tcb.snd_head
    while frame != tcb.snd_unsent and frame != NO_FRAME:
        tcp.pool.frames[frame].flags &= <uint16_t>~FRAME_SACKED
        frame = tcp.pool.frames[frame].next
    tcb.sacked_bytes = 0


cdef void scoreboard_lose_nothing(Tcp *tcp, Tcb *tcb) noexcept nogil:
    cdef Frame *it
    cdef uint32_t frame = tcb.snd_head
    while frame != tcb.snd_unsent and frame != NO_FRAME:
        it = &tcp.pool.frames[frame]
        if it.flags & (FRAME_LOST | FRAME_RETRANSMITTED) == FRAME_LOST:
            it.flags &= <uint16_t>~FRAME_LOST
            tcb.lost_bytes -= it.length
        frame = it.next
    tcp.colds[tcb - tcp.tcbs].sack_hint = NO_FRAME


cdef void scoreboard_forget_marks(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil:
    cdef Frame *it = &tcp.pool.frames[frame]
    cdef TcbCold *cold = &tcp.colds[tcb - tcp.tcbs]
    if cold.sack_hint == frame and octets == it.length:
        cold.sack_hint = NO_FRAME
    if it.flags & FRAME_SACKED:
        tcb.sacked_bytes -= octets
    if it.flags & FRAME_LOST:
        tcb.lost_bytes -= octets
    if it.flags & FRAME_RETRANSMITTED:
        tcb.retransmitted_bytes -= octets


cdef uint32_t scoreboard_next_lost(Tcp *tcp, Tcb *tcb, TcbCold *cold) noexcept nogil:
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t frame = cold.sack_hint if cold.sack_hint != NO_FRAME else tcb.snd_head
    cdef uint32_t visits = 0
    if tcb.lost_bytes == tcb.retransmitted_bytes:
        return NO_FRAME
    while frame != tcb.snd_unsent and frame != NO_FRAME and visits < SCOREBOARD_VISITS:
        visits += 1
        if frames[frame].flags & FRAME_SACKED:
            frame = scoreboard_run_end(frames, frame)
        elif frames[frame].flags & (FRAME_LOST | FRAME_RETRANSMITTED) == FRAME_LOST:
            cold.sack_hint = frame
            return frame
        frame = frames[frame].next
    return NO_FRAME


cdef void scoreboard_retransmitted(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil:
    cdef Frame *it = &tcp.pool.frames[frame]
    _mark_lost(tcb, it)             # what is sent again stands for the first: retransmitted is part of lost
    if not it.flags & FRAME_RETRANSMITTED:
        tcb.retransmitted_bytes += it.length
    it.flags |= FRAME_RETRANSMITTED | FRAME_EVER_RETRANSMITTED


cdef uint32_t _blocks_in_order(Tcp *tcp, const Tcb *tcb, const Segment *seg, SackBlock *blocks) noexcept nogil:
    """The segment's blocks that can be believed, in ascending order, with those that touch made one."""
    cdef seq_t floor = seq_max(tcb.snd_una, seg.ack)
    cdef uint32_t count = 0
    cdef uint32_t merged = 0
    cdef uint32_t i, at
    cdef SackBlock block
    for i in range(min(<uint32_t>seg.sack_count, <uint32_t>MAX_SACK_BLOCKS)):
        block = seg.sack[i]
        # RFC 2883 4: a block at or below the acknowledgment reports a duplicate.
        if not (seq_after(block.start, floor) and seq_before(block.start, block.end)
                and seq_upto(block.end, tcb.snd_nxt)):
            if seq_after(block.end, tcb.snd_nxt):
                tcp.state.counters.sack_refused += 1
            continue
        at = count
        while at > 0 and seq_before(block.start, blocks[at - 1].start):
            blocks[at] = blocks[at - 1]
            at -= 1
        blocks[at] = block
        count += 1
    for i in range(1, count):
        if seq_upto(blocks[i].start, blocks[merged].end):
            blocks[merged].end = seq_max(blocks[merged].end, blocks[i].end)
        else:
            merged += 1
            blocks[merged] = blocks[i]
    return merged + 1 if count else 0


cdef inline bint _covers(const SackBlock *block, const Frame *frame) noexcept nogil:
    return seq_upto(block.start, frame.seq) and seq_upto(frame.seq + frame.length, block.end)


cdef inline void _mark_lost(Tcb *tcb, Frame *frame) noexcept nogil:
    if not frame.flags & FRAME_LOST:
        frame.flags |= FRAME_LOST
        tcb.lost_bytes += frame.length


cdef void _mark_sacked(Tcb *tcb, Frame *frames, uint32_t frame) noexcept nogil:
    """What was reported is no longer lost, nor counts as sent again."""
    cdef Frame *it = &frames[frame]
    if it.flags & FRAME_LOST:
        tcb.lost_bytes -= it.length
    if it.flags & FRAME_RETRANSMITTED:
        tcb.retransmitted_bytes -= it.length
    it.flags = <uint16_t>((it.flags & ~(FRAME_LOST | FRAME_RETRANSMITTED)) | FRAME_SACKED)
    it.sack_run = frame
    tcb.sacked_bytes += it.length
