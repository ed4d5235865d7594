"""The sender's scoreboard (RFC 6675 3, 4): which frames between SND.UNA and SND.NXT are sacked, lost or sent again.

Marks lie in the frames of the send queue (FRAME_SACKED, FRAME_LOST, FRAME_RETRANSMITTED); the sums lie in the Tcb
(sacked_bytes, lost_bytes, retransmitted_bytes), so that the pipe is a subtraction. Frames from snd_unsent on are never marked.
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp
from underpass.wire.segment cimport Segment

# Mark what the segment's SACK blocks report; blocks outside SND.UNA..SND.NXT, empty or inverted are ignored (and a
# block that lies below SEG.ACK). Returns the octets newly sacked. A frame counts only when wholly covered.
cdef uint32_t scoreboard_update(Tcp *tcp, Tcb *tcb, TcbCold *cold, const Segment *seg) noexcept nogil
# Mark lost what IsLost says (RFC 6675 4): more than (DupThresh - 1) * MSS octets sacked above it. Returns octets newly lost.
cdef uint32_t scoreboard_mark_lost(Tcp *tcp, Tcb *tcb) noexcept nogil
# Mark the first unacknowledged frame lost (third duplicate ACK, or a partial ACK without SACK). Returns octets newly lost.
cdef uint32_t scoreboard_mark_head_lost(Tcp *tcp, Tcb *tcb) noexcept nogil
# After a timeout all that was sent and not sacked is lost; with `reneged` SACK marks are forgotten too (RFC 2018 8).
cdef void scoreboard_mark_all_lost(Tcp *tcp, Tcb *tcb, bint reneged) noexcept nogil
# A frame leaves the queue, or loses `octets` at its head, by a cumulative ACK: take its marks out of the sums.
cdef void scoreboard_forget(Tcp *tcp, Tcb *tcb, uint32_t frame, uint32_t octets) noexcept nogil
# The next frame to send again (RFC 6675 4, NextSeg rule 1): lost, not sent again since, or NO_FRAME.
cdef uint32_t scoreboard_next_lost(Tcp *tcp, Tcb *tcb, TcbCold *cold) noexcept nogil
# A frame was sent again.
cdef void scoreboard_retransmitted(Tcp *tcp, Tcb *tcb, uint32_t frame) noexcept nogil
# Octets believed to be in the network (RFC 6675 4, SetPipe). Without SACK each duplicate ACK stands for one segment.
cdef uint32_t scoreboard_pipe(const Tcb *tcb, const TcbCold *cold) noexcept nogil
