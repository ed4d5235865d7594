"""BBR's model of the path: bandwidth, round trip, aggregation, and what they mean in octets (5.5)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.bbr cimport Bbr
from underpass.tcp.rate_sample cimport RateSample
from underpass.tcp.tcb cimport Tcb, Tcp

# A round trip begins (5.5.1).
cdef void bbr_start_round(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil
# The sample's news of rounds, bandwidth and aggregation.
cdef void bbr_update_max_bw(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil
cdef void bbr_update_aggregation(const Tcp *tcp, const Tcb *tcb, Bbr *bbr, const RateSample *sample) noexcept nogil
# What is measured for the shortest round trip (5.3.4.3).
cdef void bbr_update_min_rtt(const Tcp *tcp, Bbr *bbr, const RateSample *sample) noexcept nogil
# Whether the bandwidth has stopped to grow by a quarter in three rounds (5.3.1.2).
cdef void bbr_check_full_bw(Bbr *bbr, const RateSample *sample) noexcept nogil
# The search for it starts, over `bw` octets a second.
cdef void bbr_reset_full_bw(Bbr *bbr, uint64_t bw) noexcept nogil
# A cycle of ProbeBW is over: its bandwidth is that of the cycle before (5.5.6).
cdef void bbr_advance_max_bw(Bbr *bbr) noexcept nogil
# SetSendQuantum (5.6.3): what leaves in one go.
cdef uint32_t bbr_send_quantum(Tcp *tcp, uint32_t conn) noexcept nogil
# BDPMultiple, and Inflight: with room for what leaves and is acknowledged in bursts (5.6.4.2).
cdef uint32_t bbr_bdp(const Tcb *tcb, const Bbr *bbr, uint64_t bw, double gain) noexcept nogil
cdef uint32_t bbr_inflight(Tcp *tcp, uint32_t conn, const Bbr *bbr, uint64_t bw, double gain) noexcept nogil
# The same, given octets that fill the path.
cdef uint32_t bbr_quantized(Tcp *tcp, uint32_t conn, const Bbr *bbr, uint64_t inflight) noexcept nogil


cdef inline uint32_t bbr_min_pipe(const Tcb *tcb) noexcept nogil:
    """MinPipeCwnd (2.7): delayed acknowledgments must not stall the pipe."""
    return 4 * <uint32_t>tcb.mss


cdef inline uint32_t bbr_target(const Tcb *tcb, const Bbr *bbr) noexcept nogil:
    """TargetInflight: the BDP, unless congestion has cut the window."""
    return min(bbr_bdp(tcb, bbr, bbr.bw, 1), tcb.cwnd)
