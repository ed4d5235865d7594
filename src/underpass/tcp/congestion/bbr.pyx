"""BBR version 3: what TCP tells it, and what it makes of the model: the pacing rate and the window (5.2, 5.6)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.bbr_loss cimport (
    bbr_adapt_shortterm, bbr_advance_signals, bbr_inflight_at_loss, bbr_inflight_too_high, bbr_note_loss,
    bbr_restore_cwnd, bbr_take_back, bbr_too_much_lost, bbr_update_signals,
)
from underpass.tcp.congestion.bbr_model cimport (
    bbr_bdp, bbr_min_pipe, bbr_quantized, bbr_update_aggregation, bbr_update_max_bw,
)
from underpass.tcp.congestion.bbr_phases cimport (
    bbr_check_probe_rtt_done, bbr_enter_startup, bbr_probe_rtt_window, bbr_step, bbr_with_headroom,
)
from underpass.tcp.congestion.control cimport CWND_MAX, SSTHRESH_UNLIMITED, congestion_initial_window
from underpass.tcp.pacing cimport pacing_set_rate
from underpass.tcp.rare cimport rare_of
from underpass.tcp.rate cimport rate_model, rate_of
from underpass.tcp.rate_sample cimport RateSample, RateStamp
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_RTO_RECOVERY, Tcb, Tcp

cdef double PACING_MARGIN = 0.99    # 5.6.2: a little under the bandwidth, so that the queue drains

cdef enum:
    US_PER_S = 1000000
    RTT_UNKNOWN_US = 1000           # 5.6.2


cdef inline Bbr *bbr_of(Tcp *tcp, uint32_t conn) noexcept nogil:
    return <Bbr *>rate_model(tcp, conn)


# ---------------------------------------------------------------------------------------------- the pacing rate

cdef void init_pacing_rate(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    """The initial window in a round trip, or, where none was measured yet, in a millisecond."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t rtt_us = max(tcb.srtt_us >> 3, <uint32_t>1) if tcb.srtt_us != 0 else RTT_UNKNOWN_US
    bbr.rtt_seen = tcb.srtt_us != 0
    pacing_set_rate(tcp, conn, <uint64_t>(bbr.pacing_gain * <double>US_PER_S * tcb.cwnd / rtt_us))


cdef inline uint64_t least_rate(const Tcb *tcb) noexcept nogil:
    """A segment in a round trip: samples from times when nearly nothing came through must not stop the stream."""
    return tcb.mss * <uint64_t>US_PER_S // max(tcb.srtt_us >> 3, <uint32_t>1) if tcb.srtt_us != 0 else 0


cdef void set_pacing_rate(Tcp *tcp, uint32_t conn, Bbr *bbr, double gain) noexcept nogil:
    """Until the pipe was full once the rate only grows: what the application sent is no bound."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t rate = max(<uint64_t>(bbr.bw * gain * PACING_MARGIN), least_rate(tcb))
    if not bbr.rtt_seen and tcb.srtt_us != 0:
        init_pacing_rate(tcp, conn, bbr)
    if bbr.bw != 0 and (bbr.full_bw_reached or rate > rare_of(tcp, conn).pacing_rate):
        pacing_set_rate(tcp, conn, rate)


# ---------------------------------------------------------------------------------------------- the window

cdef uint32_t max_inflight(Tcp *tcp, uint32_t conn, const Bbr *bbr) noexcept nogil:
    """5.6.4.2"""
    cdef uint64_t inflight = bbr_bdp(&tcp.tcbs[conn], bbr, bbr.bw, bbr.cwnd_gain)
    return bbr_quantized(tcp, conn, bbr, inflight + max(bbr.extra_acked[0], bbr.extra_acked[1]))


cdef uint32_t bound_by_model(const Tcb *tcb, const Bbr *bbr) noexcept nogil:
    """5.6.4.7: what losses say that the path bears."""
    cdef uint32_t cap = BBR_NO_LIMIT
    if bbr.phase == BBR_PROBE_RTT or bbr.phase == BBR_CRUISE:
        cap = bbr_with_headroom(tcb, bbr)
    elif bbr_in_probe_bw(bbr):
        cap = bbr.bounds.inflight_longterm
    return max(min(cap, bbr.bounds.inflight_shortterm), bbr_min_pipe(tcb))


cdef void set_window(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """5.6.4.6: at once down to what the model allows, and up to it by what is delivered."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint64_t most = max_inflight(tcp, conn, bbr)
    cdef uint64_t cwnd = tcb.cwnd
    if bbr.full_bw_reached:
        cwnd = min(cwnd + sample.newly_acked, most)
    elif cwnd < most or rate_of(tcp, conn).delivered < congestion_initial_window(tcb.mss):
        cwnd += sample.newly_acked
    cwnd = max(cwnd, <uint64_t>bbr_min_pipe(tcb))
    if bbr.phase == BBR_PROBE_RTT:
        cwnd = min(cwnd, <uint64_t>bbr_probe_rtt_window(tcb, bbr))
    tcb.cwnd = <uint32_t>min(cwnd, <uint64_t>bound_by_model(tcb, bbr), <uint64_t>CWND_MAX)


# ---------------------------------------------------------------------------------------------- what TCP tells

cdef void bbr_start(Tcp *tcp, uint32_t conn) noexcept nogil:
    """5.2.1"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Bbr *bbr = bbr_of(tcp, conn)
    bbr_enter_startup(bbr)
    bbr_reset_shortterm(bbr)
    bbr.bounds.inflight_longterm = BBR_NO_LIMIT
    bbr.undo = bbr.bounds
    bbr.undo_phase = BBR_NO_PHASE
    bbr.probe_up_step = BBR_NO_LIMIT
    bbr.min_rtt_us = bbr.probe_rtt_min_us = tcb.srtt_us >> 3
    bbr.min_rtt_ns = bbr.probe_rtt_min_ns = bbr.extra_acked_ns = tcp.now_ns
    tcb.ssthresh = SSTHRESH_UNLIMITED
    init_pacing_rate(tcp, conn, bbr)


cdef void bbr_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    pass                                    # bbr_sampled sets the window


cdef void bbr_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    """The model takes each lost frame by itself; this may be one that a loss probe repaired."""
    bbr_note_loss(tcp, conn, bbr_of(tcp, conn), 0)


cdef void bbr_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    """5.6.4.4: one segment; once the losses are repaired, what there was."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    bbr_note_loss(tcp, conn, bbr_of(tcp, conn), 0)
    tcb.cwnd = min(scoreboard_pipe(tcb, &tcp.colds[conn]) + tcb.mss, tcb.cwnd)


cdef void bbr_undo(Tcp *tcp, uint32_t conn) noexcept nogil:
    bbr_take_back(tcp, conn, bbr_of(tcp, conn))


cdef void bbr_marked(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    """RFC 3168 5: marks are answered as losses are; what was in flight was too much."""
    cdef Bbr *bbr = bbr_of(tcp, conn)
    bbr_note_loss(tcp, conn, bbr, 0)
    if bbr.probe_sample:
        bbr_inflight_too_high(tcp, conn, bbr, flight, rate_of(tcp, conn).app_limited != 0)


cdef void bbr_frame_lost(Tcp *tcp, uint32_t conn, const RateStamp *stamp, uint32_t octets) noexcept nogil:
    """HandleLostPacket (5.5.10.2): of what left while we probed, did too much get lost?"""
    cdef Bbr *bbr = bbr_of(tcp, conn)
    cdef uint64_t lost = rate_of(tcp, conn).lost - stamp.lost
    bbr_note_loss(tcp, conn, bbr, octets)
    if bbr.probe_sample and bbr_too_much_lost(&tcp.tcbs[conn], lost, stamp.inflight):
        bbr_inflight_too_high(tcp, conn, bbr, bbr_inflight_at_loss(stamp, lost, octets), stamp.app_limited != 0)


cdef void update_model(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """UpdateModelAndState (5.2.3)"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if scoreboard_pipe(tcb, &tcp.colds[conn]) + sample.newly_acked + tcb.mss > tcb.cwnd:
        bbr.full_window_round = bbr.rounds
    bbr_update_signals(tcp, conn, bbr, sample)
    bbr_update_max_bw(tcp, conn, bbr, sample)
    bbr_adapt_shortterm(tcb, bbr)
    bbr_update_aggregation(tcp, tcb, bbr, sample)
    bbr_step(tcp, conn, bbr, sample)
    bbr_advance_signals(bbr, sample)


cdef void bbr_sampled(Tcp *tcp, uint32_t conn, const RateSample *sample) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Bbr *bbr = bbr_of(tcp, conn)
    if bbr.saved and not tcb.flags & (CONN_FAST_RECOVERY | CONN_RTO_RECOVERY):
        bbr.saved = False                   # 5.6.4.4: the recovery is over
        bbr_restore_cwnd(tcb, bbr)
    if sample.has_data:
        update_model(tcp, conn, bbr, sample)
        set_pacing_rate(tcp, conn, bbr, bbr.pacing_gain)
    set_window(tcp, conn, bbr, sample)


cdef void bbr_restarted(Tcp *tcp, uint32_t conn) noexcept nogil:
    """5.4.1: after idleness at the bandwidth that there was, neither probing nor draining."""
    cdef Bbr *bbr = bbr_of(tcp, conn)
    if rate_of(tcp, conn).app_limited == 0:
        return
    bbr.idle_restart = True
    bbr.extra_acked_ns = tcp.now_ns
    if bbr_in_probe_bw(bbr):
        set_pacing_rate(tcp, conn, bbr, 1)
    elif bbr.phase == BBR_PROBE_RTT:
        bbr_check_probe_rtt_done(tcp, conn, bbr)
