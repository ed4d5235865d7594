"""Round-trip time and retransmission timeout (RFC 6298), in microseconds."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold, Tcp

cdef enum:
    RTO_INITIAL_US = 1000000        # RFC 6298 2.1
    RTO_MAX_US = 120000000          # RFC 6298 2.5: at least 60 s

cdef void rtt_init(Tcb *tcb, TcbCold *cold) noexcept nogil
# One sample (RFC 6298 2.2, 2.3); min_rto_us bounds from below (2.4).
cdef void rtt_sample(Tcb *tcb, TcbCold *cold, uint32_t sample_us, uint32_t rto_min_us) noexcept nogil
# Current timeout with backoff applied (5.5), bounded by RTO_MAX_US.
cdef uint64_t rtt_timeout_ns(const TcbCold *cold) noexcept nogil
