"""Tail loss probe (RFC 8985 7): after two round trips of silence one segment is sent, whose acknowledgment tells
RACK what is missing, long before the retransmission timer would fire and shut the window.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.delivery cimport Delivery
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, CONN_SACK, Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PROBE_SENT
from underpass.wire.segment cimport Segment

cdef enum:
    PTO_INITIAL_US = 1000000        # 7.2: without a round-trip time
    PTO_SLACK_US = 2000             # two ticks of the wheel
    ACK_DELAY_MOST_US = 200000      # 7.2: TLP.max_ack_delay

# The PTO is over: send the probe.
cdef void tlp_send(Tcp *tcp, uint32_t conn) noexcept nogil
# 7.4.2: what an acknowledgment tells about the probe that is outstanding.
cdef void tlp_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil


cdef inline bint tlp_may_wait(const Tcb *tcb) noexcept nogil:
    """7.2: whether silence is to be met with a probe. In recovery, and while something is reported, RACK acts."""
    return tcb.flags & (CONN_SACK | CONN_FAST_RECOVERY | CONN_RTO_RECOVERY) == CONN_SACK and \
        (tcb.sacked_bytes | tcb.lost_bytes) == 0 and not tcb.traits & TRAIT_PROBE_SENT


cdef inline uint64_t tlp_timeout_ns(const Tcb *tcb) noexcept nogil:
    """The PTO. The acknowledgment of a single segment may be delayed."""
    cdef uint64_t pto_us = (tcb.srtt_us >> 2) + PTO_SLACK_US if tcb.srtt_us else PTO_INITIAL_US
    if tcb.snd_nxt - tcb.snd_una <= tcb.mss:
        pto_us += ACK_DELAY_MOST_US
    return pto_us * 1000
