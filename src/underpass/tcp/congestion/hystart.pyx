"""HyStart++ (RFC 9406 4.2), with the constants of 4.3, and the ACK train with those of Linux."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.control cimport (
    SSTHRESH_UNLIMITED, congestion_slow_start, congestion_slow_start_step, congestion_state, congestion_widen,
)
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_PACED
from underpass.wire.seq cimport seq_after, seq_upto

cdef enum:
    MIN_RTT_THRESH_US = 4000
    MAX_RTT_THRESH_US = 16000
    MIN_RTT_DIVISOR = 8
    N_RTT_SAMPLE = 8
    CSS_GROWTH_DIVISOR = 4
    CSS_ROUNDS = 5
    TRAIN_GAP_US = 2000             # Linux: hystart_ack_delta_us
    TRAIN_GAP_DIVISOR = 8           # and a part of the round trip: of short ones any two ACKs would be a train
    TRAIN_SEGMENTS = 16             # Linux: hystart_low_window; a train of fewer is chance


cdef void hystart_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef HyStart *hystart
    if tcb.ssthresh != <uint32_t>SSTHRESH_UNLIMITED:    # RFC 9406 4.3: only the first slow start looks for its end
        congestion_slow_start(tcb, acked)
        return
    hystart = <HyStart *>congestion_state(tcp, conn)
    if not hystart.started:
        _start(tcp, tcb, hystart)
    _measure(tcb, hystart)
    if _train_is_long(tcp, tcb, hystart, tcp.colds[conn].rtt_min_us):
        _leave(tcp, tcb)
        return
    if hystart.conservative:
        congestion_widen(tcb, congestion_slow_start_step(tcb, acked) // CSS_GROWTH_DIVISOR)
    else:
        congestion_slow_start(tcb, acked)
    if seq_upto(hystart.window_end, tcb.snd_una):
        _next_round(tcp, tcb, hystart)


cdef inline void _leave(Tcp *tcp, Tcb *tcb) noexcept nogil:
    """On to congestion avoidance."""
    tcb.ssthresh = tcb.cwnd
    tcp.state.counters.hystart_exits += 1


cdef void _start(const Tcp *tcp, const Tcb *tcb, HyStart *hystart) noexcept nogil:
    hystart.started = True
    hystart.window_end = tcb.snd_nxt
    hystart.round_min_us = hystart.last_min_us = HYSTART_NO_RTT
    _begin_train(tcp, tcb, hystart)


cdef inline void _begin_train(const Tcp *tcp, const Tcb *tcb, HyStart *hystart) noexcept nogil:
    hystart.train_end = tcb.snd_nxt
    hystart.train_us = hystart.last_us = <uint32_t>(tcp.now_ns // 1000)


cdef void _measure(const Tcb *tcb, HyStart *hystart) noexcept nogil:
    """Take this ACK's round trip in, and change between the two kinds of slow start."""
    cdef uint32_t threshold
    if tcb.rtt_us == 0:
        return
    hystart.round_min_us = min(hystart.round_min_us, tcb.rtt_us)
    if hystart.samples < N_RTT_SAMPLE:
        hystart.samples += 1
    if hystart.samples < N_RTT_SAMPLE or hystart.last_min_us == <uint32_t>HYSTART_NO_RTT:
        return
    if hystart.conservative:
        if hystart.round_min_us < hystart.baseline_us:
            hystart.conservative = False
        return
    threshold = min(max(hystart.last_min_us // MIN_RTT_DIVISOR, <uint32_t>MIN_RTT_THRESH_US), <uint32_t>MAX_RTT_THRESH_US)
    if hystart.round_min_us >= hystart.last_min_us + threshold:
        hystart.baseline_us = hystart.round_min_us
        hystart.conservative = True
        hystart.rounds = 0


cdef bint _train_is_long(const Tcp *tcp, const Tcb *tcb, HyStart *hystart, uint32_t rtt_min_us) noexcept nogil:
    """Whether a flight's acknowledgments, none far from the last, have come for more than half of the shortest round trip.

    The train begins with the flight's first one, which RFC 9406's rounds do not: each of those begins where the ACK that
    ends another one lets out its segments.
    """
    cdef uint32_t now_us = <uint32_t>(tcp.now_ns // 1000)
    if seq_after(tcb.snd_una, hystart.train_end):
        _begin_train(tcp, tcb, hystart)
    if now_us - hystart.last_us > min(<uint32_t>TRAIN_GAP_US, rtt_min_us // TRAIN_GAP_DIVISOR):
        return False                    # it is over
    hystart.last_us = now_us
    if tcb.traits & TRAIT_PACED or tcb.cwnd < TRAIN_SEGMENTS * <uint32_t>tcb.mss or rtt_min_us < MIN_RTT_THRESH_US:
        return False
    return now_us - hystart.train_us > rtt_min_us >> 1


cdef void _next_round(Tcp *tcp, Tcb *tcb, HyStart *hystart) noexcept nogil:
    hystart.window_end = tcb.snd_nxt
    hystart.last_min_us = hystart.round_min_us
    hystart.round_min_us = HYSTART_NO_RTT
    hystart.samples = 0
    if not hystart.conservative:
        return
    hystart.rounds += 1             # the round in which it began counts, although only part of it was conservative
    if hystart.rounds >= CSS_ROUNDS:
        _leave(tcp, tcb)
