"""Round-trip time and retransmission timeout (RFC 6298), in microseconds.

Tcb.srtt_us holds SRTT times 8 and Tcb.rttvar_us RTTVAR times 4, so that the gains 1/8 and 1/4 are shifts;
srtt_us is 0 until the first sample. Karn's algorithm (RFC 6298 3) is the caller's: no sample from what was
sent twice, unless timestamps tell which.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp

cdef enum:
    RTO_INITIAL_US = 1000000            # RFC 6298 2.1
    RTO_AFTER_SYN_LOSS_US = 3000000     # RFC 6298 5.7
    RTO_MAX_US = 120000000              # RFC 6298 2.5: at least 60 s
    RTT_GRANULARITY_US = 1000           # G: one tick of the wheel
    BACKOFF_SHIFT_MAX = 32              # far past RTO_MAX_US for any timeout

cdef void rtt_init(Tcb *tcb, TcbCold *cold) noexcept nogil
# One sample (RFC 6298 2.2, 2.3); rto_min_us bounds from below (2.4). The backoff ends with it.
cdef void rtt_sample(Tcb *tcb, TcbCold *cold, uint32_t sample_us, uint32_t rto_min_us) noexcept nogil
# The handshake is done, but our SYN was sent again and gave no sample: begin with 3 s (RFC 6298 5.7).
cdef void rtt_syn_lost(const Tcb *tcb, TcbCold *cold) noexcept nogil


cdef inline uint64_t rtt_timeout_ns(const TcbCold *cold) noexcept nogil:
    """The timeout with its backoff (5.5), bounded by RTO_MAX_US."""
    cdef uint32_t shift = min(<uint32_t>cold.backoff, <uint32_t>BACKOFF_SHIFT_MAX)
    return min(<uint64_t>cold.rto_us << shift, <uint64_t>RTO_MAX_US) * 1000
