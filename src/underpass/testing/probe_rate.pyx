"""The delivery rate sampler over a send queue, without the rest of TCP."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from underpass.link.frames cimport FRAME_EVER_RETRANSMITTED, Frame, frame_take
from underpass.tcp.congestion.bbr cimport Bbr
from underpass.tcp.congestion.control cimport CONGESTION_NEWRENO
from underpass.tcp.rate cimport (
    Rate, rate_delivered, rate_generate, rate_limit, rate_lost, rate_of, rate_sent, rate_split, rate_start,
)
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.tcb cimport CONN_SACK, Tcb
from underpass.testing.probe_context cimport TcpContext

cdef enum:
    CONN = 3

STAMP_BYTES = sizeof(RateStamp)
RATE_BYTES = sizeof(Rate)

if sizeof(Bbr) > sizeof((<Rate *>NULL).model):
    raise ImportError("BBR's state does not fit into Rate.model")


cdef class RateProbe(TcpContext):
    """One connection whose control keeps quiet. Frames are named by the order in which they were sent first."""
    cdef Tcb *tcb
    cdef list sent

    def __init__(self, uint64_t now_ns=1000000000, uint32_t rtt_min_us=0):
        self.tcb = &self.tcp.tcbs[CONN]
        self.tcb.flags = CONN_SACK
        self.tcb.congestion = CONGESTION_NEWRENO
        self.tcb.snd_head = self.tcb.snd_unsent = 0xFFFFFFFF
        self.tcp.colds[CONN].rtt_min_us = rtt_min_us
        self.tcp.now_ns = now_ns
        self.sent = []
        rate_start(&self.tcp, CONN)

    def send(self, uint32_t octets=1000, now_ns=None):
        """A frame leaves; returns its name."""
        cdef uint32_t frame = frame_take(self.tcp.pool)
        cdef Frame *it = &self.tcp.pool.frames[frame]
        self._at(now_ns)
        it.seq = self.tcb.snd_nxt
        it.length = octets
        self._leave(frame)
        self.tcb.snd_nxt += octets
        self.sent.append(frame)
        return len(self.sent) - 1

    def send_again(self, name, now_ns=None):
        """A frame that was lost leaves once more."""
        cdef uint32_t frame = self.sent[name]
        self._at(now_ns)
        self.tcp.pool.frames[frame].flags |= FRAME_EVER_RETRANSMITTED
        self._leave(frame)
        self.tcb.retransmitted_bytes += self.tcp.pool.frames[frame].length

    def _at(self, now_ns):
        if now_ns is not None:
            self.tcp.now_ns = now_ns

    cdef void _leave(self, uint32_t frame):
        self.tcp.pool.frames[frame].sent_ns = self.tcp.now_ns
        rate_sent(&self.tcp, CONN, frame)

    def lose(self, name):
        """A frame is found to be lost."""
        cdef uint32_t frame = self.sent[name]
        rate_lost(&self.tcp, CONN, frame)
        self.tcb.lost_bytes += self.tcp.pool.frames[frame].length

    def split(self, name, uint32_t octets):
        """A frame is cut after so many octets; returns the rest's name."""
        cdef uint32_t frame = self.sent[name]
        cdef uint32_t rest = frame_take(self.tcp.pool)
        cdef Frame *it = &self.tcp.pool.frames[frame]
        self.tcp.pool.frames[rest] = it[0]
        self.tcp.pool.frames[rest].length -= octets
        self.tcp.pool.frames[rest].seq += octets
        it.length = octets
        rate_split(&self.tcp, frame, rest)
        self.sent.append(rest)
        return len(self.sent) - 1

    def limit(self):
        """There is nothing to send, and room for it."""
        rate_limit(&self.tcp, CONN)

    def deliver(self, *names, now_ns=None):
        """One acknowledgment for these frames; returns its sample, or None where there is none."""
        cdef uint32_t frame
        cdef Frame *it
        cdef Rate *rate = rate_of(&self.tcp, CONN)
        self._at(now_ns)
        for name in names:
            frame = self.sent[name]
            it = &self.tcp.pool.frames[frame]
            rate_delivered(&self.tcp, CONN, it, it.length)
            self.tcb.sacked_bytes += it.length
        rate_generate(&self.tcp, CONN)
        sample = dict(rate.sample) if rate.sample.has_data else None
        memset(&rate.sample, 0, sizeof(RateSample))
        return sample

    @property
    def delivered(self):
        """C.delivered"""
        return rate_of(&self.tcp, CONN).delivered

    @property
    def app_limited(self):
        """C.app_limited"""
        return rate_of(&self.tcp, CONN).app_limited
