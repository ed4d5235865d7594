"""Reporting duplicates, and reading reports of them."""
from libc.stdint cimport uint32_t

from underpass.tcp.delivery cimport Delivery
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.reordering cimport reordering_late, reordering_mistaken
from underpass.tcp.tcb cimport CONN_SACK, Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_DUPLICATE_DUE, TRAIT_PROBE_SENT, TRAIT_UNDO
from underpass.tcp.undo cimport undo_note_duplicate
from underpass.wire.segment cimport SackBlock, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto


# ---------------------------------------------------------------------------------------------- from the peer

cdef inline bint reports_duplicate(const Segment *seg) noexcept nogil:
    """RFC 2883 4.1, RFC 6675 1: below the acknowledgment, or within the second block."""
    cdef const SackBlock *first = &seg.sack[0]
    if seq_upto(first.end, seg.ack):
        return True
    return seg.sack_count > 1 and seq_upto(seg.sack[1].start, first.start) and seq_upto(first.end, seg.sack[1].end)


cdef inline bint believable(const Tcb *tcb, const TcbCold *cold, const SackBlock *block) noexcept nogil:
    """Something that we did send again, not longer ago than the peer's largest window (RFC 3708 3)."""
    return cold.retransmits != 0 and seq_before(block.start, block.end) and seq_upto(block.end, tcb.snd_nxt) and \
        seq_after(block.start, tcb.snd_una - cold.snd_wnd_max)


cdef void dsack_read(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef SackBlock block = seg.sack[0]
    cdef TcbRare *rare
    if not reports_duplicate(seg) or not believable(tcb, &tcp.colds[conn], &block):
        return
    rare = rare_of(tcp, conn)
    if rare.dsack_start == block.start:
        return                              # the acknowledgment that reports it may come twice itself
    rare.dsack_start = block.start
    news.reported = 1
    news.reported_end = block.end
    tcp.state.counters.spurious_retransmits += 1
    reordering_late(tcp, conn, block.start, block.end)
    if tcb.traits & TRAIT_UNDO:
        undo_note_duplicate(tcp, conn, block.start, block.end)
    # A probe that was not needed says nothing about reordering.
    if not (tcb.traits & TRAIT_PROBE_SENT and seq_upto(rare.tlp_end - 1, block.end)):
        reordering_mistaken(tcp, conn)


# ---------------------------------------------------------------------------------------------- to the peer

cdef void dsack_note(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbRare *rare
    if not tcb.flags & CONN_SACK:
        return
    rare = rare_of(tcp, conn)
    if tcb.traits & TRAIT_DUPLICATE_DUE and rare.duplicate[1] == start:
        rare.duplicate[1] = end             # goes on where the last one ended
        return
    tcb.traits |= TRAIT_DUPLICATE_DUE
    rare.duplicate[0] = start
    rare.duplicate[1] = end


cdef uint32_t dsack_blocks(Tcp *tcp, uint32_t conn, SackBlock *blocks, uint32_t room) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbRare *rare = rare_of(tcp, conn)
    cdef uint32_t count = 0
    cdef uint32_t i
    if tcb.traits & TRAIT_DUPLICATE_DUE and room != 0:
        tcb.traits &= ~<uint32_t>TRAIT_DUPLICATE_DUE    # RFC 2883 4: each duplicate is reported once
        blocks[0] = SackBlock(rare.duplicate[0], rare.duplicate[1])
        count = 1
        tcp.state.counters.duplicates_reported += 1
    for i in range(min(<uint32_t>tcp.colds[conn].sack_count, room - count)):
        blocks[count] = SackBlock(rare.sack_recent[2 * i], rare.sack_recent[2 * i + 1])
        count += 1
    return count
