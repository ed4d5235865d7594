"""BBR's state machine."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.bbr cimport (
    ACKS_INIT, ACKS_PROBE_FEEDBACK, ACKS_PROBE_STARTING, ACKS_PROBE_STOPPING, ACKS_REFILLING, BBR_CRUISE, BBR_DOWN,
    BBR_DRAIN, BBR_NO_LIMIT, BBR_PROBE_RTT, BBR_REFILL, BBR_STARTUP, BBR_UP, Bbr, BbrPhase, bbr_in_probe_bw,
    bbr_reset_shortterm,
)
from underpass.tcp.congestion.bbr_loss cimport (
    bbr_reset_signals, bbr_restore_cwnd, bbr_save_cwnd, bbr_too_much_lost,
)
from underpass.tcp.congestion.bbr_model cimport (
    bbr_advance_max_bw, bbr_bdp, bbr_check_full_bw, bbr_inflight, bbr_min_pipe, bbr_reset_full_bw, bbr_start_round,
    bbr_target, bbr_update_min_rtt,
)
from underpass.tcp.congestion.control cimport CWND_MAX
from underpass.tcp.rate cimport rate_limit
from underpass.tcp.rate_sample cimport RateSample
from underpass.tcp.scoreboard cimport scoreboard_pipe
from underpass.tcp.tcb cimport CONN_FAST_RECOVERY, CONN_SACK, Tcb, Tcp
from underpass.wire.siphash cimport siphash13_words

cdef double STARTUP_PACING_GAIN = 2.773     # 5.3.1.1: 4 ln 2
cdef double DRAIN_PACING_GAIN = 0.5         # 5.3.2
cdef double DEFAULT_CWND_GAIN = 2
cdef double DOWN_PACING_GAIN = 0.9          # 5.6.1
cdef double UP_PACING_GAIN = 1.25
cdef double UP_CWND_GAIN = 2.25
cdef double PROBE_RTT_CWND_GAIN = 0.5       # 2.17.2
cdef double HEADROOM = 0.15                 # 2.6

cdef enum:
    STARTUP_FULL_LOSSES = 6         # 5.3.1.3: BBRStartupFullLossCnt
    DRAIN_ROUNDS = 3                # 5.3.2
    RENO_ROUNDS = 63                # 5.3.3.8: probe at least as often as a Reno of this size would lose
    UP_ROUNDS = 30
    PROBE_RTT_NS = 200000000        # 2.17.2
    NS_PER_S = 1000000000


cdef inline uint32_t in_flight(Tcp *tcp, uint32_t conn) noexcept nogil:
    return scoreboard_pipe(&tcp.tcbs[conn], &tcp.colds[conn])


cdef inline void enter(Bbr *bbr, BbrPhase phase, double pacing_gain, double cwnd_gain) noexcept nogil:
    bbr.phase = <unsigned char>phase
    bbr.pacing_gain = <float>pacing_gain
    bbr.cwnd_gain = <float>cwnd_gain


# ---------------------------------------------------------------------------------------------- Startup, Drain

cdef void bbr_enter_startup(Bbr *bbr) noexcept nogil:
    enter(bbr, BBR_STARTUP, STARTUP_PACING_GAIN, DEFAULT_CWND_GAIN)


cdef bint startup_lost_too_much(const Tcb *tcb, const Bbr *bbr, const RateSample *sample) noexcept nogil:
    """5.3.1.3: a round trip of fast recovery with losses in many places, and of more than the path may lose."""
    if not (bbr.loss_round_start and tcb.flags & CONN_FAST_RECOVERY and bbr_too_much_lost(tcb, sample.lost, sample.inflight)):
        return False
    return bbr.losses_in_round >= STARTUP_FULL_LOSSES or not tcb.flags & CONN_SACK


cdef void check_startup_done(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if bbr.phase != BBR_STARTUP:
        return
    if not bbr.full_bw_reached and startup_lost_too_much(tcb, bbr, sample):
        bbr.undo_phase = BBR_STARTUP
        bbr.full_bw_reached = True
        bbr.bounds.inflight_longterm = max(bbr_bdp(tcb, bbr, bbr.bw, 1), bbr.inflight_latest)
    if bbr.full_bw_reached:
        bbr.drain_round = bbr.rounds
        enter(bbr, BBR_DRAIN, DRAIN_PACING_GAIN, DEFAULT_CWND_GAIN)


cdef void check_drain_done(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    if bbr.phase == BBR_DRAIN and (bbr.rounds > bbr.drain_round + DRAIN_ROUNDS or
                                   in_flight(tcp, conn) <= bbr_inflight(tcp, conn, bbr, bbr.bw, 1)):
        bbr_start_down(tcp, conn, bbr)


# ---------------------------------------------------------------------------------------------- ProbeBW: entering

cdef void pick_probe_wait(const Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    """5.3.3.8: at random, so that flows do not probe together."""
    cdef uint64_t[2] words
    cdef uint64_t chance
    words[0] = conn
    words[1] = tcp.now_ns
    chance = siphash13_words(&tcp.state.secret, words, 2)
    bbr.rounds_since_probe = <uint32_t>(chance & 1)
    bbr.probe_wait_ns = 2 * <uint64_t>NS_PER_S + (chance >> 1) % NS_PER_S


cdef void bbr_start_down(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    bbr_reset_signals(bbr)
    bbr.probe_up_step = BBR_NO_LIMIT
    pick_probe_wait(tcp, conn, bbr)
    bbr.cycle_ns = tcp.now_ns
    bbr.ack_phase = ACKS_PROBE_STOPPING
    bbr_start_round(tcp, conn, bbr)
    enter(bbr, BBR_DOWN, DOWN_PACING_GAIN, DEFAULT_CWND_GAIN)


cdef inline void start_cruise(Bbr *bbr) noexcept nogil:
    enter(bbr, BBR_CRUISE, 1, DEFAULT_CWND_GAIN)


cdef void bbr_start_refill(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    """5.3.3.3: fill the pipe for a round trip, so that what Up sends more is what makes a queue."""
    bbr_reset_shortterm(bbr)
    bbr.probe_up_rounds = 0
    bbr.probe_up_acked = 0
    bbr.probe_precautionary = False
    bbr.ack_phase = ACKS_REFILLING
    bbr_start_round(tcp, conn, bbr)
    enter(bbr, BBR_REFILL, 1, DEFAULT_CWND_GAIN)


cdef void start_up(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    bbr.probe_sample = True
    bbr.ack_phase = ACKS_PROBE_STARTING
    bbr_start_round(tcp, conn, bbr)
    bbr_reset_full_bw(bbr, sample.rate)
    enter(bbr, BBR_UP, UP_PACING_GAIN, UP_CWND_GAIN)
    raise_slope(&tcp.tcbs[conn], bbr)


# ---------------------------------------------------------------------------------------------- ProbeBW: bounds

cdef uint32_t bbr_with_headroom(const Tcb *tcb, const Bbr *bbr) noexcept nogil:
    """InflightWithHeadroom"""
    cdef uint32_t most = bbr.bounds.inflight_longterm
    cdef uint32_t headroom
    if most == <uint32_t>BBR_NO_LIMIT:
        return most
    headroom = max(<uint32_t>(most * HEADROOM), <uint32_t>tcb.mss)
    return max(most - min(headroom, most), bbr_min_pipe(tcb))


cdef void raise_slope(const Tcb *tcb, Bbr *bbr) noexcept nogil:
    """5.3.3.5: inflight_longterm grows by a segment in the first round trip of Up, then by two, by four ..."""
    bbr.probe_up_step = max(tcb.cwnd >> bbr.probe_up_rounds, <uint32_t>tcb.mss)
    bbr.probe_up_rounds = min(bbr.probe_up_rounds + 1, <uint32_t>UP_ROUNDS)


cdef inline bint held_by_longterm(const Tcb *tcb, const Bbr *bbr) noexcept nogil:
    """C.is_cwnd_limited, in this round trip or the one before, by inflight_longterm."""
    return bbr.rounds - bbr.full_window_round <= 1 and tcb.cwnd >= bbr.bounds.inflight_longterm


cdef void probe_upward(const Tcb *tcb, Bbr *bbr, const RateSample *sample) noexcept nogil:
    cdef uint64_t steps
    if not held_by_longterm(tcb, bbr):
        return
    bbr.probe_up_acked += sample.newly_acked
    if bbr.probe_up_acked >= bbr.probe_up_step:
        steps = bbr.probe_up_acked // bbr.probe_up_step
        bbr.probe_up_acked %= bbr.probe_up_step
        bbr.bounds.inflight_longterm = <uint32_t>min(
            bbr.bounds.inflight_longterm + steps * tcb.mss, <uint64_t>CWND_MAX)
    if bbr.round_start:
        raise_slope(tcb, bbr)


cdef bint probe_is_over(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """All ACKs of the probe have come. True: it was cut short to be safe, was safe, and goes on at once (5.3.3.6)."""
    bbr.probe_sample = False
    bbr.ack_phase = ACKS_INIT
    if not bbr_in_probe_bw(bbr):
        return False
    if not sample.app_limited:
        bbr_advance_max_bw(bbr)
    if not bbr.probe_precautionary or bbr.probe_too_high:
        return False
    bbr_start_refill(tcp, conn, bbr)
    return True


cdef bint adapt_longterm(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """AdaptLongTermModel. True: a phase has begun."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    if bbr.ack_phase == ACKS_PROBE_STARTING and bbr.round_start:
        bbr.ack_phase = ACKS_PROBE_FEEDBACK
    if bbr.ack_phase == ACKS_PROBE_STOPPING and bbr.round_start and probe_is_over(tcp, conn, bbr, sample):
        return True
    if bbr_too_much_lost(tcb, sample.lost, sample.inflight) or bbr.bounds.inflight_longterm == <uint32_t>BBR_NO_LIMIT:
        return False
    bbr.bounds.inflight_longterm = max(bbr.bounds.inflight_longterm, sample.inflight)
    if bbr.phase == BBR_UP:
        probe_upward(tcb, bbr, sample)
    return False


# ---------------------------------------------------------------------------------------------- ProbeBW: the cycle

cdef inline bint time_to_probe(const Tcp *tcp, const Tcb *tcb, const Bbr *bbr) noexcept nogil:
    """5.3.3.8: after two to three seconds, or the round trips that Reno takes to grow by a segment each to the target."""
    cdef uint32_t reno_rounds = bbr_target(tcb, bbr) // max(<uint32_t>tcb.mss, <uint32_t>1)
    return tcp.now_ns > bbr.cycle_ns + bbr.probe_wait_ns or bbr.rounds_since_probe >= min(reno_rounds, <uint32_t>RENO_ROUNDS)


cdef inline bint time_to_cruise(Tcp *tcp, uint32_t conn, const Bbr *bbr) noexcept nogil:
    cdef uint32_t inflight = in_flight(tcp, conn)
    return inflight <= bbr_with_headroom(&tcp.tcbs[conn], bbr) and \
        inflight <= bbr_inflight(tcp, conn, bbr, bbr.max_bw, 1)


cdef bint time_to_go_down(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """5.3.3.7"""
    if bbr.probe_too_high and in_flight(tcp, conn) >= bbr.bounds.inflight_longterm:
        bbr.probe_precautionary = True
        return True
    if held_by_longterm(&tcp.tcbs[conn], bbr):
        bbr_reset_full_bw(bbr, sample.rate)         # the bound, not the path, keeps the bandwidth from growing
        return False
    return bbr.full_bw_now


cdef void cycle(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """UpdateProbeBWCyclePhase"""
    if not bbr.full_bw_reached or adapt_longterm(tcp, conn, bbr, sample):
        return
    if bbr.phase == BBR_DOWN or bbr.phase == BBR_CRUISE:
        if time_to_probe(tcp, &tcp.tcbs[conn], bbr):
            bbr_start_refill(tcp, conn, bbr)
        elif bbr.phase == BBR_DOWN and time_to_cruise(tcp, conn, bbr):
            start_cruise(bbr)
    elif bbr.phase == BBR_REFILL and bbr.round_start:
        start_up(tcp, conn, bbr, sample)
    elif bbr.phase == BBR_UP and time_to_go_down(tcp, conn, bbr, sample):
        bbr.probe_too_high = False                  # no high loss so far
        bbr_start_down(tcp, conn, bbr)


# ---------------------------------------------------------------------------------------------- ProbeRTT

cdef uint32_t bbr_probe_rtt_window(const Tcb *tcb, const Bbr *bbr) noexcept nogil:
    return max(bbr_bdp(tcb, bbr, bbr.bw, PROBE_RTT_CWND_GAIN), bbr_min_pipe(tcb))


cdef void bbr_check_probe_rtt_done(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    if bbr.probe_rtt_done_ns == 0 or tcp.now_ns <= bbr.probe_rtt_done_ns:
        return
    bbr.probe_rtt_min_ns = tcp.now_ns
    bbr_restore_cwnd(&tcp.tcbs[conn], bbr)
    bbr_reset_shortterm(bbr)
    if bbr.full_bw_reached:
        bbr_start_down(tcp, conn, bbr)
        start_cruise(bbr)                           # so little is in flight that there is nothing to drain
    else:
        bbr_enter_startup(bbr)


cdef void hold_probe_rtt(Tcp *tcp, uint32_t conn, Bbr *bbr) noexcept nogil:
    """HandleProbeRTT: 200 ms and a round trip at least with so little in flight."""
    rate_limit(tcp, conn)                           # low rates are of our own making
    if bbr.probe_rtt_done_ns == 0:
        if in_flight(tcp, conn) <= bbr_probe_rtt_window(&tcp.tcbs[conn], bbr):
            bbr.probe_rtt_done_ns = tcp.now_ns + PROBE_RTT_NS
            bbr.probe_rtt_round_done = False
            bbr_start_round(tcp, conn, bbr)
        return
    if bbr.round_start:
        bbr.probe_rtt_round_done = True
    if bbr.probe_rtt_round_done:
        bbr_check_probe_rtt_done(tcp, conn, bbr)


cdef void check_probe_rtt(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    """CheckProbeRTT. What was silent has emptied the queue, too."""
    if bbr.phase != BBR_PROBE_RTT and bbr.probe_rtt_expired and not bbr.idle_restart:
        if bbr.ack_phase != ACKS_INIT and bbr_in_probe_bw(bbr) and not sample.app_limited:
            bbr_advance_max_bw(bbr)         # a probe cut short is a cycle, too: else round trips of seconds keep any bw
        bbr_save_cwnd(&tcp.tcbs[conn], bbr)
        bbr.probe_rtt_done_ns = 0
        bbr.ack_phase = ACKS_PROBE_STOPPING
        bbr_start_round(tcp, conn, bbr)
        enter(bbr, BBR_PROBE_RTT, 1, PROBE_RTT_CWND_GAIN)
    if bbr.phase == BBR_PROBE_RTT:
        hold_probe_rtt(tcp, conn, bbr)
    if sample.delivered != 0:
        bbr.idle_restart = False


cdef void bbr_step(Tcp *tcp, uint32_t conn, Bbr *bbr, const RateSample *sample) noexcept nogil:
    bbr_check_full_bw(bbr, sample)
    check_startup_done(tcp, conn, bbr, sample)
    check_drain_done(tcp, conn, bbr)
    cycle(tcp, conn, bbr, sample)
    bbr_update_min_rtt(tcp, bbr, sample)
    check_probe_rtt(tcp, conn, bbr, sample)
