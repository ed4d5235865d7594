"""The scoreboard over a send queue that a test lays out, in Python objects."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport (
    FRAME_EVER_RETRANSMITTED, FRAME_LOST, FRAME_RETRANSMITTED, FRAME_SACKED, NO_FRAME, Frame, frame_take,
    frame_unref)
from underpass.tcp.scoreboard cimport (
    SCOREBOARD_VISITS, scoreboard_disbelieve, scoreboard_forget, scoreboard_init, scoreboard_lose_all,
    scoreboard_lose_head, scoreboard_lose_nothing, scoreboard_next_lost, scoreboard_pipe,
    scoreboard_retransmitted, scoreboard_update)
from underpass.tcp.delivery cimport Delivery, delivery_begin
from underpass.tcp.rack cimport rack_detect_loss
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport CONN_SACK, Tcb, TcbCold
from underpass.tcp.traits cimport TRAIT_REORDERING_SEEN
from underpass.testing.probe_context cimport TcpContext, segment_from
from underpass.wire.segment cimport Segment

VISITS = SCOREBOARD_VISITS


cdef class ScoreboardProbe(TcpContext):
    """The send queue of one connection; sequence numbers are as on the wire."""
    cdef Tcb *tcb
    cdef TcbCold *cold
    cdef uint32_t conn

    def __init__(self, uint32_t iss=0, uint32_t mss=100, sack=True, **sizes):
        self.tcb = &self.tcp.tcbs[3]
        self.cold = &self.tcp.colds[3]
        self.tcb.snd_una = self.tcb.snd_nxt = self.tcb.snd_end = iss
        self.tcb.mss = mss
        self.tcb.flags = CONN_SACK if sack else 0
        self.conn = 3
        self.tcp.now_ns = 1000000
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
            it.sent_ns = self.tcp.now_ns
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
        cdef Delivery news
        cdef uint32_t before = self.tcb.sacked_bytes
        segment_from({"ack": self.tcb.snd_una if ack is None else ack, "sack": blocks}, &seg)
        delivery_begin(&self.tcp, self.conn, &news)
        scoreboard_update(&self.tcp, self.conn, &seg, &news)
        return self.tcb.sacked_bytes - before

    def detect_loss(self, uint64_t rtt_us, uint64_t window_us=0):
        """RACK with this round trip and reordering window; returns nanoseconds until it looks again, or None."""
        cdef uint64_t at_ns
        self.tcb.rack_rtt_us = rtt_us
        self.tcb.traits = self.tcb.traits | TRAIT_REORDERING_SEEN
        self.tcb.srtt_us = 8 * window_us
        self.cold.rtt_min_us = 4 * window_us
        rare_of(&self.tcp, self.conn).late_us = 0
        at_ns = rack_detect_loss(&self.tcp, self.conn)
        return at_ns - self.tcp.now_ns if at_ns else None

    def lose_head(self):
        """The first frame is lost."""
        scoreboard_lose_head(&self.tcp, self.tcb)

    def lose_all(self, sent_upto_ns=None):
        """What a timeout does."""
        scoreboard_lose_all(&self.tcp, self.tcb, self.tcp.now_ns if sent_upto_ns is None else sent_upto_ns)

    def disbelieve(self):
        """The receiver reneged."""
        scoreboard_disbelieve(&self.tcp, self.tcb)

    def lose_nothing(self):
        """It was a mistake."""
        scoreboard_lose_nothing(&self.tcp, self.tcb)

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
        self.tcp.pool.frames[frame].sent_ns = self.tcp.now_ns
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
