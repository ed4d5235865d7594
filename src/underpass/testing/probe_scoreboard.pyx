"""The scoreboard over a send queue that a test lays out, in Python objects."""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame, frame_take,
    frame_unref)
from underpass.tcp.scoreboard cimport (
    SCOREBOARD_VISITS, scoreboard_forget, scoreboard_init, scoreboard_mark_all_lost,
    scoreboard_mark_head_lost, scoreboard_mark_lost, scoreboard_next_lost, scoreboard_pipe,
    scoreboard_retransmitted, scoreboard_update)
from underpass.tcp.tcb cimport CONN_SACK, Tcb, TcbCold
from underpass.testing.probe_context cimport TcpContext, segment_from
from underpass.wire.segment cimport Segment

VISITS = SCOREBOARD_VISITS


cdef class ScoreboardProbe(TcpContext):
    """The send queue of one connection; sequence numbers are as on the wire."""
    cdef Tcb *tcb
    cdef TcbCold *cold

    def __init__(self, uint32_t iss=0, uint32_t mss=100, sack=True, **sizes):
        self.tcb = &self.tcp.tcbs[3]
        self.cold = &self.tcp.colds[3]
        self.tcb.snd_una = self.tcb.snd_nxt = self.tcb.snd_end = iss
        self.tcb.mss = mss
        self.tcb.flags = CONN_SACK if sack else 0
        self.tcb.snd_head = self.tcb.snd_tail = self.tcb.snd_unsent = NO_FRAME
        scoreboard_init(self.tcb, self.cold)

    def queue(self, uint32_t octets):
        """The application gives a frame of so many octets."""
        cdef uint32_t frame = frame_take(self.tcp.pool)
        cdef Frame *it = &self.tcp.pool.frames[frame]
        if frame == NO_FRAME:
            raise MemoryError("the pool has no frame left")
        it.seq = self.tcb.snd_end
        it.length = octets
        if self.tcb.snd_head == NO_FRAME:
            self.tcb.snd_head = frame
        else:
            self.tcp.pool.frames[self.tcb.snd_tail].next = frame
        self.tcb.snd_tail = frame
        if self.tcb.snd_unsent == NO_FRAME:
            self.tcb.snd_unsent = frame
        self.tcb.snd_end += octets

    def send(self, uint32_t frames=1):
        """Send so many of the frames that were never sent, as far as there are any."""
        cdef Frame *it
        while frames and self.tcb.snd_unsent != NO_FRAME:
            it = &self.tcp.pool.frames[self.tcb.snd_unsent]
            self.tcb.snd_nxt = it.seq + it.length
            self.tcb.snd_unsent = it.next
            frames -= 1

    def acknowledge(self, uint32_t ack):
        """A cumulative ACK takes frames, and the head of one, from the queue."""
        cdef Frame *it
        cdef uint32_t frame, octets
        while self.tcb.snd_una != ack:
            frame = self.tcb.snd_head
            it = &self.tcp.pool.frames[frame]
            octets = min(<uint32_t>it.length, ack - self.tcb.snd_una)
            scoreboard_forget(&self.tcp, self.tcb, frame, octets)
            self.tcb.snd_una += octets
            it.seq += octets
            it.length -= octets
            if it.length == 0:
                self.tcb.snd_head = it.next
                frame_unref(self.tcp.pool, frame)

    def sack(self, *blocks, ack=None):
        """SACK blocks (start, end) of one segment; returns the octets newly sacked."""
        cdef Segment seg
        segment_from({"ack": self.tcb.snd_una if ack is None else ack, "sack": blocks}, &seg)
        return scoreboard_update(&self.tcp, self.tcb, self.cold, &seg)

    def mark_lost(self):
        """Octets newly lost by IsLost."""
        return scoreboard_mark_lost(&self.tcp, self.tcb)

    def mark_head_lost(self):
        """Octets newly lost at the head."""
        return scoreboard_mark_head_lost(&self.tcp, self.tcb)

    def mark_all_lost(self, reneged=False):
        """What a timeout does."""
        scoreboard_mark_all_lost(&self.tcp, self.tcb, reneged)

    def next_lost(self):
        """Sequence number of the next frame to send again, or None."""
        cdef uint32_t frame = scoreboard_next_lost(&self.tcp, self.tcb, self.cold)
        return None if frame == NO_FRAME else self.tcp.pool.frames[frame].seq

    def send_again(self):
        """Send the next lost frame again; its sequence number, or None."""
        cdef uint32_t frame = scoreboard_next_lost(&self.tcp, self.tcb, self.cold)
        if frame == NO_FRAME:
            return None
        scoreboard_retransmitted(&self.tcp, self.tcb, frame)
        return self.tcp.pool.frames[frame].seq

    def set_dupacks(self, count):
        """Duplicate ACKs that have come."""
        self.cold.dupacks = count

    def marks(self):
        """(sequence number, octets, marks) of each frame: Sacked, Lost, Retransmitted, Ever so."""
        marks = []
        cdef uint32_t frame = self.tcb.snd_head
        cdef Frame *it
        while frame != NO_FRAME:
            it = &self.tcp.pool.frames[frame]
            letters = "S" if it.flags & FRAME_SACKED else ""
            letters += "L" if it.flags & FRAME_LOST else ""
            letters += "R" if it.flags & FRAME_RETRANSMITTED else ""
            letters += "E" if it.flags & FRAME_EVER_RETRANSMITTED else ""
            marks.append((it.seq, it.length, letters))
            frame = it.next
        return marks

    @property
    def sums(self):
        """(sacked, lost, sent again) octets as the connection block has them."""
        return self.tcb.sacked_bytes, self.tcb.lost_bytes, self.tcb.retransmitted_bytes

    @property
    def pipe(self):
        """Octets believed to be in the network."""
        return scoreboard_pipe(self.tcb, self.cold)

    @property
    def una(self):
        return self.tcb.snd_una

    @property
    def nxt(self):
        return self.tcb.snd_nxt
