"""The sender's scoreboard: marks on the frames of the send queue, and their sums (RFC 6675)."""
from libc.stdint cimport uint16_t, uint32_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame)
from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.wire.segment cimport MAX_SACK_BLOCKS, SackBlock, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_max, seq_t, seq_upto


cdef void scoreboard_init(Tcb *tcb, TcbCold *cold) noexcept nogil:
    tcb.sacked_bytes = 0
    tcb.lost_bytes = 0
    tcb.retransmitted_bytes = 0
    cold.sack_hint = NO_FRAME


cdef uint32_t scoreboard_update(Tcp *tcp, Tcb *tcb, TcbCold *cold, const Segment *seg) noexcept nogil:
    cdef SackBlock[4] blocks                        # MAX_SACK_BLOCKS
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t count = _blocks_in_order(tcb, seg, blocks)
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t visits = 0
    cdef uint32_t block = 0
    cdef uint32_t newly = 0
    while block < count and frame != tcb.snd_unsent and frame != NO_FRAME and visits < SCOREBOARD_VISITS:
        visits += 1
        if seq_upto(blocks[block].end, frames[frame].seq):
            block += 1
        elif frames[frame].flags & FRAME_SACKED:
            frame = frames[_run_end(frames, frame)].next
        else:
            if _covers(&blocks[block], &frames[frame]):
                newly += _mark_sacked(tcb, frames, frame)
            frame = frames[frame].next
    return newly


cdef uint32_t scoreboard_mark_lost(Tcp *tcp, Tcb *tcb) noexcept nogil:
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t enough = (DUP_THRESH - 1) * <uint32_t>tcb.mss
    cdef uint32_t above = tcb.sacked_bytes
    cdef uint32_t frame = tcb.snd_head
    cdef uint32_t visits = 0
    cdef uint32_t newly = 0
    cdef uint32_t last
    while above > enough and frame != tcb.snd_unsent and frame != NO_FRAME and visits < SCOREBOARD_VISITS:
        visits += 1
        last = frame
        if frames[frame].flags & FRAME_SACKED:
            last = _run_end(frames, frame)
            above -= frames[last].seq + frames[last].length - frames[frame].seq
        else:
            newly += _mark_lost(tcb, &frames[frame])
        frame = frames[last].next
    return newly


cdef uint32_t scoreboard_mark_head_lost(Tcp *tcp, Tcb *tcb) noexcept nogil:
    cdef Frame *head
    if tcb.snd_head == tcb.snd_unsent or tcb.snd_head == NO_FRAME:
        return 0
    head = &tcp.pool.frames[tcb.snd_head]
    return 0 if head.flags & FRAME_SACKED else _mark_lost(tcb, head)


cdef void scoreboard_mark_all_lost(Tcp *tcp, Tcb *tcb, bint reneged) noexcept nogil:
    cdef Frame *frames = tcp.pool.frames
    cdef uint32_t frame = tcb.snd_head
    cdef Frame *it
    if reneged:
        tcb.sacked_bytes = 0
    tcb.lost_bytes = 0
    tcb.retransmitted_bytes = 0
    while frame != tcb.snd_unsent and frame != NO_FRAME:
        it = &frames[frame]
        if reneged:
            it.flags &= <uint16_t>~FRAME_SACKED
        it.flags &= <uint16_t>~(FRAME_LOST | FRAME_RETRANSMITTED)
        if not it.flags & FRAME_SACKED:
            _mark_lost(tcb, it)
        frame = it.next
    tcp.colds[tcb - tcp.tcbs].sack_hint = NO_FRAME


cdef void scoreboard_forget(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil:
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
            frame = _run_end(frames, frame)
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


cdef uint32_t _blocks_in_order(const Tcb *tcb, const Segment *seg, SackBlock *blocks) noexcept nogil:
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


cdef inline uint32_t _mark_lost(Tcb *tcb, Frame *frame) noexcept nogil:
    if frame.flags & FRAME_LOST:
        return 0
    frame.flags |= FRAME_LOST
    tcb.lost_bytes += frame.length
    return frame.length


cdef uint32_t _mark_sacked(Tcb *tcb, Frame *frames, uint32_t frame) noexcept nogil:
    """What was reported is no longer lost, nor counts as sent again."""
    cdef Frame *it = &frames[frame]
    if it.flags & FRAME_LOST:
        tcb.lost_bytes -= it.length
    if it.flags & FRAME_RETRANSMITTED:
        tcb.retransmitted_bytes -= it.length
    it.flags = <uint16_t>((it.flags & ~(FRAME_LOST | FRAME_RETRANSMITTED)) | FRAME_SACKED)
    it.sack_run = frame
    tcb.sacked_bytes += it.length
    return it.length


cdef uint32_t _run_end(Frame *frames, uint32_t frame) noexcept nogil:
    """The last frame of the run of sacked frames from this one on, kept for the next walk."""
    cdef uint32_t last = frames[frame].sack_run
    cdef uint32_t following = frames[last].next
    while following != NO_FRAME and frames[following].flags & FRAME_SACKED:
        last = frames[following].sack_run
        following = frames[last].next
    frames[frame].sack_run = last
    return last
