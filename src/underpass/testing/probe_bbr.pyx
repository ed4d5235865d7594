"""BBR on samples that a test makes up, in Python objects."""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.string cimport memset

from underpass.tcp.congestion.bbr cimport (
    BBR_NO_LIMIT, Bbr, bbr_frame_lost, bbr_lost, bbr_marked, bbr_restarted, bbr_sampled, bbr_timed_out, bbr_undo,
)
from underpass.tcp.congestion.control cimport CONGESTION_BBR, congestion_begin, congestion_initial_window
from underpass.tcp.rare cimport rare_of
from underpass.tcp.rate cimport rate_model, rate_of
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, CONN_SACK, Tcb
from underpass.testing.probe_context cimport TcpContext

cdef enum:
    CONN = 3

PHASES = ("startup", "drain", "down", "cruise", "refill", "up", "probe rtt")
NO_LIMIT = <uint32_t>BBR_NO_LIMIT
NO_RATE = UINT64_MAX


cdef class BbrProbe(TcpContext):
    """A connection under BBR with 1000 octets a segment; rates are octets a second."""
    cdef Tcb *tcb
    cdef Bbr *bbr

    def __init__(self, uint32_t rtt_us=100000, uint64_t now_ns=1000000000, bint sack=True):
        self.tcb = &self.tcp.tcbs[CONN]
        self.tcb.mss = 1000
        self.tcb.flags = CONN_SACK if sack else 0
        self.tcb.srtt_us = rtt_us * 8
        self.tcb.cwnd = congestion_initial_window(1000)
        self.tcb.snd_head = self.tcb.snd_unsent = 0xFFFFFFFF
        self.tcp.now_ns = now_ns
        congestion_begin(&self.tcp, CONN, CONGESTION_BBR)
        self.bbr = <Bbr *>rate_model(&self.tcp, CONN)
        rate_of(&self.tcp, CONN).app_limited = 0

    def sample(self, uint64_t rate, bint new_round=True, uint32_t acked=1000, **fields):
        """An ACK's sample; `new_round`: a round trip ends with it. `fields`: of RateSample."""
        cdef RateSample sample
        memset(&sample, 0, sizeof(sample))
        sample.has_data = 1
        sample.rate = rate
        sample.newly_acked = acked
        sample.delivered = fields.pop("delivered", acked)
        sample.rtt_us = fields.pop("rtt_us", self.tcb.srtt_us >> 3)
        sample.inflight = fields.pop("inflight", self.tcb.cwnd)
        sample.lost = fields.pop("lost", 0)
        sample.newly_lost = fields.pop("newly_lost", 0)
        sample.app_limited = fields.pop("app_limited", 0)
        if fields:
            raise TypeError(f"a sample has no field {', '.join(fields)}")
        sample.prior_delivered = rate_of(&self.tcp, CONN).delivered if new_round else 0
        rate_of(&self.tcp, CONN).delivered += acked
        if not new_round:
            self.bbr.round_delivered = self.bbr.round_delivered or 1
            self.bbr.loss_round_delivered = self.bbr.loss_round_delivered or 1
        bbr_sampled(&self.tcp, CONN, &sample)

    def lose_frame(self, uint32_t inflight, uint64_t lost_since=0, uint32_t octets=1000, bint app_limited=False):
        """A frame is lost that left with so much in flight, itself counted; `lost_since` more left after it."""
        cdef RateStamp stamp
        memset(&stamp, 0, sizeof(stamp))
        stamp.inflight = inflight
        stamp.app_limited = app_limited
        stamp.lost = rate_of(&self.tcp, CONN).lost
        rate_of(&self.tcp, CONN).lost += octets + lost_since
        bbr_frame_lost(&self.tcp, CONN, &stamp, octets)

    def recover(self, kind):
        """What recovery TCP is in: "fast", "timeout" or None."""
        self.tcb.flags &= ~<uint32_t>(CONN_FAST_RECOVERY | CONN_RTO_RECOVERY)
        if kind is not None:
            self.tcb.flags |= CONN_FAST_RECOVERY if kind == "fast" else CONN_RTO_RECOVERY

    def timed_out(self):
        """The retransmission timer fired."""
        bbr_timed_out(&self.tcp, CONN, self.tcb.snd_nxt - self.tcb.snd_una)

    def lost(self):
        """TCP tells of a loss that it repaired by a probe."""
        bbr_lost(&self.tcp, CONN, 0)

    def undo(self):
        """The losses were none."""
        bbr_undo(&self.tcp, CONN)

    def marked(self, uint32_t flight):
        """The peer echoes a congestion mark."""
        bbr_marked(&self.tcp, CONN, flight)

    def restarted(self, bint app_limited=True):
        """The first frame leaves after a pause."""
        rate_of(&self.tcp, CONN).app_limited = app_limited
        bbr_restarted(&self.tcp, CONN)

    def set(self, **fields):
        """Put fields of Bbr to values."""
        self.bbr[0] = dict(self.bbr[0]) | fields

    def bound(self, **bounds):
        """Put bounds to values."""
        self.bbr.bounds = dict(self.bbr.bounds) | bounds

    @property
    def model(self):
        """Every field of Bbr, the bounds among them."""
        return dict(self.bbr[0]) | dict(self.bbr.bounds)

    @property
    def phase(self):
        """The phase's name."""
        return PHASES[self.bbr.phase]

    @property
    def pacing_rate(self):
        """Octets a second."""
        return rare_of(&self.tcp, CONN).pacing_rate

    @property
    def cwnd(self):
        return self.tcb.cwnd

    @cwnd.setter
    def cwnd(self, uint32_t cwnd):
        self.tcb.cwnd = cwnd

    @property
    def in_flight(self):
        return self.tcb.snd_nxt - self.tcb.snd_una

    @in_flight.setter
    def in_flight(self, uint32_t octets):
        self.tcb.snd_nxt = self.tcb.snd_una + octets
