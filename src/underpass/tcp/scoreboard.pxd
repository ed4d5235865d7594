"""The sender's scoreboard (RFC 6675 3): which frames sent are sacked, lost or sent again.

Marks lie in the frames of the send queue (FRAME_SACKED, FRAME_LOST, FRAME_RETRANSMITTED); the sums lie in the
Tcb (sacked_bytes, lost_bytes, retransmitted_bytes), so that the pipe is a subtraction. Frames from snd_unsent
on are never marked, a sacked frame is not lost, and every frame that counts in one of the sums carries the
mark.

    snd_head                                                            snd_unsent
    | lost, | sacked ------> | lost | sacked | in flight | sacked -> | in flight |
      again   a run: one step of the walk

Walks begin at snd_head and step over runs of sacked frames (Frame.sack_run); they visit SCOREBOARD_VISITS
frames at most, so that no acknowledgment costs more than that. What lies further off is marked when the head
of the queue has moved on.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame
from underpass.tcp.delivery cimport Delivery
from underpass.tcp.tcb cimport CONN_SACK, Tcb, TcbCold, Tcp
from underpass.wire.segment cimport Segment

cdef enum:
    DUP_THRESH = 3                  # RFC 6675 2
    SCOREBOARD_VISITS = 2048
    FRAME_MARKS = FRAME_SACKED | FRAME_LOST | FRAME_RETRANSMITTED

# A connection begins. Nothing before the frame TcbCold.sack_hint is left to be sent again (NO_FRAME: ask).
cdef void scoreboard_init(Tcb *tcb, TcbCold *cold) noexcept nogil
# Mark what the segment's SACK blocks report, and note it in `news`; blocks outside SND.UNA..SND.NXT, empty or
# inverted are ignored (and a block that begins at SEG.ACK or below). A frame counts only when wholly covered.
cdef void scoreboard_update(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil
# A frame is lost, or what it was sent again for: it is to be sent (again).
cdef void scoreboard_lose(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil
# The same for one that the path is too small for: no loss of congestion's.
cdef void scoreboard_send_again(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil
# The first unacknowledged frame is lost (third duplicate ACK, or a partial ACK without SACK).
cdef void scoreboard_lose_head(Tcp *tcp, Tcb *tcb) noexcept nogil
# After a timeout the first frame is lost, and what was sent up to that time (RFC 8985 6.3) and is not sacked.
cdef void scoreboard_lose_all(Tcp *tcp, Tcb *tcb, uint64_t sent_upto_ns) noexcept nogil
# The receiver reneged: nothing counts as reported any more (RFC 2018 8).
cdef void scoreboard_disbelieve(Tcp *tcp, Tcb *tcb) noexcept nogil
# It was a mistake: what is not sent again yet is not lost after all.
cdef void scoreboard_lose_nothing(Tcp *tcp, Tcb *tcb) noexcept nogil
# scoreboard_forget, where the frame may have marks.
cdef void scoreboard_forget_marks(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil
# The next frame to send again (RFC 6675 4, NextSeg rule 1): lost, not sent again since, or NO_FRAME.
cdef uint32_t scoreboard_next_lost(Tcp *tcp, Tcb *tcb, TcbCold *cold) noexcept nogil
# A frame was sent again: FRAME_RETRANSMITTED (and FRAME_LOST, where it was not yet), FRAME_EVER_RETRANSMITTED
# for Karn's algorithm.
cdef void scoreboard_retransmitted(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil


cdef inline void scoreboard_forget(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil:
    """A frame leaves the queue, or loses `octets` at its head, by a cumulative ACK: take its marks out of the sums.

    To be called before the frame's length changes.
    """
    if tcp.pool.frames[frame].flags & FRAME_MARKS or tcp.colds[tcb - tcp.tcbs].sack_hint == frame:
        scoreboard_forget_marks(tcp, tcb, frame, octets)


cdef inline uint32_t scoreboard_pipe(const Tcb *tcb, const TcbCold *cold) noexcept nogil:
    """Octets believed to be in the network (RFC 6675 4, SetPipe).

    Without SACK each duplicate ACK stands for one segment: a partial ACK (RFC 6582 3.2) must take from
    cold.dupacks the segments that it covers, but for the first.
    """
    cdef uint64_t there = <uint64_t>(tcb.snd_nxt - tcb.snd_una) + tcb.retransmitted_bytes
    cdef uint64_t gone = <uint64_t>tcb.sacked_bytes + tcb.lost_bytes
    if not tcb.flags & CONN_SACK:
        gone += <uint64_t>cold.dupacks * tcb.mss
    return <uint32_t>(there - gone) if there > gone else 0


cdef inline uint32_t scoreboard_run_end(Frame *frames, uint32_t frame) noexcept nogil:
    """The last frame of the run of sacked frames from this one on, kept for the next walk."""
    cdef uint32_t last = frames[frame].sack_run
    cdef uint32_t following = frames[last].next
    while following != NO_FRAME and frames[following].flags & FRAME_SACKED:
        last = frames[following].sack_run
        following = frames[last].next
    frames[frame].sack_run = last
    return last
