"""RACK (RFC 8985 6): a segment is lost when one that was sent sufficiently later has been delivered.

Tcb.rack_ns and rack_end name the segment sent last of all that were delivered, rack_rtt_us is its round trip. How
much later is sufficient is the reordering window of tcp/reordering.pxd.

    sent:        1   2   3   4   5   6   7
    delivered:   x       x       x              rack_ns: 5
    2 and 4 were sent before 5: lost once now > sent + rack_rtt + reordering window; the timer waits for it.
    6 and 7 were sent after it: nothing is known of them.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FRAME_EVER_RETRANSMITTED, Frame
from underpass.tcp.tcb cimport CONN_TIMESTAMPS, Tcb, TcbCold, Tcp
from underpass.wire.segment cimport OPTION_TIMESTAMPS, Segment
from underpass.wire.seq cimport seq_after, seq_before, seq_t, seq_upto

# Mark lost what is overdue (6.2 step 5), a segment sent again included, and see to it that it is sent (again).
# Returns when to look again, or 0.
cdef uint64_t rack_detect_loss(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline bint rack_sent_after(uint64_t sent_ns, seq_t end, uint64_t other_ns, seq_t other_end) noexcept nogil:
    """RACK_sent_after: what left in one turn left in the order of its sequence numbers."""
    return sent_ns > other_ns or (sent_ns == other_ns and seq_after(end, other_end))


cdef inline bint rack_ambiguous(const Tcp *tcp, uint32_t conn, const Frame *it, const Segment *seg) noexcept nogil:
    """6.2 step 2: whether the ACK may be for an earlier transmission than the last.

    What was received out of order leaves the peer's TS.Recent as it was: then TSecr tells nothing (RFC 7323 4.3).
    """
    cdef const TcbCold *cold = &tcp.colds[conn]
    if not it.flags & FRAME_EVER_RETRANSMITTED:
        return False
    if seq_upto(it.seq + it.length, seg.ack) and \
            tcp.tcbs[conn].flags & CONN_TIMESTAMPS and seg.options & OPTION_TIMESTAMPS and \
            seq_before(seg.ts_ecr, <uint32_t>(it.sent_ns >> 20) + cold.ts_offset):
        return True
    return tcp.now_ns - it.sent_ns < <uint64_t>cold.rtt_min_us * 1000


cdef inline void rack_note(Tcp *tcp, uint32_t conn, const Frame *it, const Segment *seg) noexcept nogil:
    """6.2 steps 1 and 2: a segment was delivered."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t end = it.seq + it.length
    if rack_sent_after(it.sent_ns, end, tcb.rack_ns, tcb.rack_end) and not rack_ambiguous(tcp, conn, it, seg):
        tcb.rack_ns = it.sent_ns
        tcb.rack_end = end
        tcb.rack_rtt_us = <uint32_t>((tcp.now_ns - it.sent_ns) // 1000)
