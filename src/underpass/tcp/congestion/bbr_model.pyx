"""BBR's model of the path."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.bbr cimport BBR_UP, Bbr
from underpass.tcp.congestion.control cimport CWND_MAX, congestion_initial_window
from underpass.tcp.rare cimport rare_of
from underpass.tcp.rate cimport rate_of
from underpass.tcp.rate_sample cimport RateSample
from underpass.tcp.tcb cimport Tcb, Tcp

cdef double FULL_BW_GROWTH = 1.25   # 5.3.1.2
cdef uint64_t MIN_RTT_FILTER_NS = 10000000000   # 2.17.1
cdef uint64_t PROBE_RTT_INTERVAL_NS = 5000000000
cdef double MOST_EXPECTED = 1e18    # octets: more than ever come, less than an integer holds

cdef enum:
    FULL_BW_ROUNDS = 3
    EXTRA_ACKED_ROUNDS = 5          # half of ExtraAckedFilterLen: two halves are kept
    QUANTUM_MOST = 65536            # 5.6.3
    QUANTA = 3                      # 5.5.8: offload_budget
    NS_PER_US = 1000
    US_PER_S = 1000000


# ---------------------------------------------------------------------------------------------- rounds

cdef void bbr_start_round(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    bbr.round_delivered = rate_of(tcp, conn).delivered


cdef void update_round(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    bbr.round_start = sample.prior_delivered >= bbr.round_delivered
    if bbr.round_start:
        bbr_start_round(tcp, conn, bbr)
        bbr.rounds += 1
        bbr.rounds_since_probe += 1


# ---------------------------------------------------------------------------------------------- bandwidth

cdef void bbr_update_max_bw(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """5.5.4, 5.5.5: the application's own rate says nothing of the path, unless it is the highest so far."""
    update_round(tcp, conn, bbr, sample)
    if sample.rate == 0 or (sample.app_limited and sample.rate < bbr.max_bw):
        return
    bbr.bw_filter[0] = max(bbr.bw_filter[0], sample.rate)
    bbr.max_bw = max(bbr.bw_filter[0], bbr.bw_filter[1])


cdef void bbr_advance_max_bw(Bbr *bbr) noexcept nogil:
    if bbr.bw_filter[0] == 0:
        return                              # nothing was measured: what there was stays
    bbr.bw_filter[1] = bbr.bw_filter[0]
    bbr.bw_filter[0] = 0
    bbr.max_bw = bbr.bw_filter[1]


cdef void bbr_reset_full_bw(Bbr *bbr, uint64_t bw) noexcept nogil:
    bbr.full_bw = bw
    bbr.full_bw_count = 0
    bbr.full_bw_now = False


cdef void bbr_check_full_bw(Bbr *bbr, const RateSample *sample) noexcept nogil:
    if bbr.full_bw_now or not bbr.round_start or sample.app_limited:
        return
    if sample.rate >= <uint64_t>(bbr.full_bw * FULL_BW_GROWTH):
        bbr_reset_full_bw(bbr, sample.rate)
        return
    bbr.full_bw_count += 1
    if bbr.full_bw_count >= FULL_BW_ROUNDS:
        bbr.full_bw_now = bbr.full_bw_reached = True


# ---------------------------------------------------------------------------------------------- aggregation

cdef void bbr_update_aggregation(const Tcp *tcp, const Tcb *tcb, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """5.5.9: by how much ACKs run ahead of the bandwidth; so much more must be in flight while they pause."""
    cdef double run = <double>bbr.bw * (tcp.now_ns - bbr.extra_acked_ns) * 1e-9
    cdef uint64_t expected = <uint64_t>min(run, MOST_EXPECTED)
    cdef uint32_t rounds = EXTRA_ACKED_ROUNDS if bbr.full_bw_reached else 1
    if bbr.extra_acked_delivered <= expected:
        bbr.extra_acked_delivered = 0
        bbr.extra_acked_ns = tcp.now_ns
        expected = 0
    bbr.extra_acked_delivered += sample.newly_acked
    if bbr.round_start:
        bbr.extra_acked_rounds += 1
    if bbr.extra_acked_rounds >= rounds:
        bbr.extra_acked_rounds = 0
        bbr.extra_acked[1] = bbr.extra_acked[0]
        bbr.extra_acked[0] = 0
    bbr.extra_acked[0] = max(
        bbr.extra_acked[0], <uint32_t>min(bbr.extra_acked_delivered - expected, <uint64_t>tcb.cwnd))


# ---------------------------------------------------------------------------------------------- round trips

cdef void bbr_update_min_rtt(const Tcp *tcp, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """The shortest of ten seconds; one not seen again for five seconds is to be looked for."""
    bbr.probe_rtt_expired = tcp.now_ns > bbr.probe_rtt_min_ns + PROBE_RTT_INTERVAL_NS
    if sample.rtt_us != 0 and (sample.rtt_us < bbr.probe_rtt_min_us or bbr.probe_rtt_min_us == 0 or
                               bbr.probe_rtt_expired):
        bbr.probe_rtt_min_us = sample.rtt_us
        bbr.probe_rtt_min_ns = tcp.now_ns
    if bbr.probe_rtt_min_us < bbr.min_rtt_us or bbr.min_rtt_us == 0 or \
            tcp.now_ns > bbr.min_rtt_ns + MIN_RTT_FILTER_NS:
        bbr.min_rtt_us = bbr.probe_rtt_min_us
        bbr.min_rtt_ns = bbr.probe_rtt_min_ns


# ---------------------------------------------------------------------------------------------- octets in flight

cdef uint32_t bbr_send_quantum(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef uint64_t quantum = rare_of(tcp, conn).pacing_rate // 1000      # a millisecond's worth
    return <uint32_t>max(min(quantum, <uint64_t>QUANTUM_MOST), 2 * <uint64_t>tcp.tcbs[conn].mss)


cdef uint32_t bbr_bdp(const Tcb *tcb, const Bbr *bbr, uint64_t bw, double gain) noexcept nogil:
    if bbr.min_rtt_us == 0:
        return congestion_initial_window(tcb.mss)
    return <uint32_t>min(bw * gain * bbr.min_rtt_us * 1e-6, <double>CWND_MAX)


cdef uint32_t bbr_quantized(Tcp *tcp, uint32_t conn, const Bbr *bbr, uint64_t inflight) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    inflight = max(inflight, QUANTA * <uint64_t>bbr_send_quantum(tcp, conn), <uint64_t>bbr_min_pipe(tcb))
    if bbr.phase == BBR_UP:
        inflight += 2 * <uint64_t>tcb.mss
    return <uint32_t>min(inflight, <uint64_t>CWND_MAX)


cdef uint32_t bbr_inflight(Tcp *tcp, uint32_t conn, const Bbr *bbr, uint64_t bw, double gain) noexcept nogil:
    return bbr_quantized(tcp, conn, bbr, bbr_bdp(&tcp.tcbs[conn], bbr, bw, gain))
