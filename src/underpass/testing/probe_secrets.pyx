"""Sequence numbers, timestamp offsets, cookies and retransmission timeouts, in Python objects."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.cookies cimport cookie_check, cookie_make, cookie_options, cookie_stamp
from underpass.tcp.isn cimport isn_above, isn_choose, isn_timestamp_offset, timestamp_clock
from underpass.tcp.rtt cimport rtt_init, rtt_sample, rtt_syn_lost, rtt_timeout_ns
from underpass.testing.probe_context cimport TcpContext, segment_from
from underpass.wire.segment cimport Segment


cdef class SecretsProbe(TcpContext):
    """A context with secrets from `seed`; set now_ns before a call."""

    def isn(self, key):
        """Initial sequence number of a four-tuple now."""
        self.set_key(0, key)
        return isn_choose(&self.tcp, &self.tcp.tcbs[0])

    def timestamp_offset(self, key):
        """What is added to the clock in the TSval of a four-tuple."""
        self.set_key(0, key)
        return isn_timestamp_offset(&self.tcp, &self.tcp.tcbs[0])

    def timestamp_clock(self):
        """The clock for TSval."""
        return timestamp_clock(&self.tcp)

    def cookie(self, **syn):
        """The cookie for a SYN."""
        cdef Segment seg
        segment_from(syn, &seg)
        return cookie_make(&self.tcp, &seg, cookie_options(&seg, True))

    def stamp(self, uint32_t ts_val, **syn):
        """The TSval that goes with the cookie for a SYN, where it would else be `ts_val`."""
        cdef Segment seg
        segment_from(syn, &seg)
        return cookie_stamp(ts_val, cookie_options(&seg, True))

    def check(self, **ack):
        """The MSS that an acknowledged cookie stands for, or 0."""
        return self.syn_of(**ack).get("mss", 0)

    def syn_of(self, **ack):
        """The SYN that an acknowledged cookie stands for: its number, MSS and options; empty: it is no cookie."""
        cdef Segment seg
        cdef Segment syn
        segment_from(ack, &seg)
        if not cookie_check(&self.tcp, &seg, &syn):
            return {}
        return {"seq": syn.seq, "flags": syn.flags, "options": syn.options, "mss": syn.mss,
                "window_scale": syn.window_scale}


cdef class RttProbe(TcpContext):
    """One connection's estimator."""

    def __init__(self, **sizes):
        rtt_init(&self.tcp.tcbs[0], &self.tcp.colds[0])

    def sample(self, uint32_t sample_us, uint32_t rto_min_us=0):
        """One measured round trip."""
        rtt_sample(&self.tcp.tcbs[0], &self.tcp.colds[0], sample_us, rto_min_us)

    def syn_lost(self):
        """The SYN was sent again."""
        rtt_syn_lost(&self.tcp.tcbs[0], &self.tcp.colds[0])

    def back_off(self, uint8_t times):
        """The timer has fired so often."""
        self.tcp.colds[0].backoff = times

    @property
    def srtt_us(self):
        return self.tcp.tcbs[0].srtt_us / 8.0

    @property
    def rttvar_us(self):
        return self.tcp.tcbs[0].rttvar_us / 4.0

    @property
    def rtt_min_us(self):
        return self.tcp.colds[0].rtt_min_us

    @property
    def rto_us(self):
        """The timeout with backoff."""
        return rtt_timeout_ns(&self.tcp.colds[0]) // 1000


def above(uint32_t iss, uint32_t previous):
    """The ISS for a connection that follows one in TIME_WAIT."""
    return isn_above(iss, previous)
