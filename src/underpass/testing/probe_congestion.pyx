"""A congestion control by number, in Python objects: windows are octets."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from underpass.tcp.congestion.control cimport (
    CONGESTION_CUBIC, CONGESTION_DCTCP, CONGESTION_NEWRENO, CWND_MAX, SSTHRESH_UNLIMITED, Congestion, congestion_begin,
    congestion_control, congestion_initial_window)
from underpass.tcp.congestion.cubic cimport Cubic
from underpass.tcp.congestion.dctcp cimport Dctcp
from underpass.tcp.ecn cimport ecn_acknowledged
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.tcb cimport CONN_RTO_RECOVERY, Tcb
from underpass.tcp.traits cimport TRAIT_ECN, TRAIT_PACED
from underpass.testing.probe_context cimport TcpContext
from underpass.wire.segment cimport ECE, Segment

cdef enum:
    CONN = 3

NEWRENO = CONGESTION_NEWRENO
CUBIC = CONGESTION_CUBIC
DCTCP = CONGESTION_DCTCP
LARGEST_WINDOW = CWND_MAX

if max(sizeof(Cubic), sizeof(Dctcp)) > sizeof((<TcbRare *>NULL).congestion_state):
    raise ImportError("the state of a congestion control does not fit into TcbRare.congestion_state")


def initial_window(uint32_t mss):
    """RFC 6928's initial window."""
    return congestion_initial_window(mss)


cdef class CongestionProbe(TcpContext):
    """One connection under a control, with the initial window and no threshold."""
    cdef Tcb *tcb
    cdef const Congestion *control

    def __init__(self, uint32_t which, uint32_t mss=1000, uint32_t rtt_us=100000, uint64_t now_ns=0):
        self.tcb = &self.tcp.tcbs[CONN]
        self.control = congestion_control(which)
        self.tcp.now_ns = now_ns
        self.tcb.mss = mss
        self.tcb.srtt_us = rtt_us * 8
        self.tcb.cwnd = congestion_initial_window(mss)
        self.tcb.ssthresh = SSTHRESH_UNLIMITED
        congestion_begin(&self.tcp, CONN, which)

    def acked(self, uint32_t octets, uint64_t now_ns=0, uint32_t rtt_us=0):
        """Octets were newly acknowledged, and the window had been used up. `rtt_us`: 0 where there was no sample."""
        self.tcp.now_ns = now_ns
        self.tcb.rtt_us = rtt_us
        self.control.acked(&self.tcp, CONN, octets)

    def lost(self, uint32_t flight, uint64_t now_ns=0):
        """A loss was detected with so many octets outstanding."""
        self.tcp.now_ns = now_ns
        self.control.lost(&self.tcp, CONN, flight)

    def timed_out(self, uint32_t flight, uint64_t now_ns=0):
        """The retransmission timer fired."""
        self.tcp.now_ns = now_ns
        self.control.timed_out(&self.tcp, CONN, flight)

    def undo(self):
        """The last reduction was a mistake."""
        if self.control.undo != NULL:
            self.control.undo(&self.tcp, CONN)

    def recover_from_timeout(self, bint recovering):
        """Whether the slow start is the one after a timeout."""
        self.tcb.flags &= ~<uint32_t>CONN_RTO_RECOVERY
        if recovering:
            self.tcb.flags |= CONN_RTO_RECOVERY

    def sent(self, uint32_t snd_una, uint32_t snd_nxt):
        """What is outstanding."""
        self.tcb.snd_una = snd_una
        self.tcb.snd_nxt = snd_nxt

    def acknowledged(self, uint32_t octets, bint marked=False):
        """An ACK for so many octets on a connection with ECN; it carries ECE where `marked`."""
        cdef Segment seg
        memset(&seg, 0, sizeof(seg))
        seg.flags = ECE if marked else 0
        self.tcb.traits |= TRAIT_ECN
        self.tcb.snd_una += octets
        ecn_acknowledged(&self.tcp, CONN, &seg, octets)

    @property
    def rtt_min_us(self):
        """Shortest round trip that the connection has measured."""
        return self.tcp.colds[CONN].rtt_min_us

    @rtt_min_us.setter
    def rtt_min_us(self, uint32_t rtt_min_us):
        self.tcp.colds[CONN].rtt_min_us = rtt_min_us

    @property
    def paced(self):
        """Whether segments leave at a rate."""
        return (self.tcb.traits & TRAIT_PACED) != 0

    @paced.setter
    def paced(self, bint paced):
        self.tcb.traits &= ~<uint32_t>TRAIT_PACED
        if paced:
            self.tcb.traits |= TRAIT_PACED

    @property
    def name(self):
        return self.control.name.decode()

    @property
    def cwnd(self):
        return self.tcb.cwnd

    @cwnd.setter
    def cwnd(self, uint32_t cwnd):
        self.tcb.cwnd = cwnd

    @property
    def ssthresh(self):
        return self.tcb.ssthresh

    @ssthresh.setter
    def ssthresh(self, uint32_t ssthresh):
        self.tcb.ssthresh = ssthresh
