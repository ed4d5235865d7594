"""HyStart++ (RFC 9406 4.2), with the constants of 4.3."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.control cimport (
    SSTHRESH_UNLIMITED, congestion_slow_start, congestion_slow_start_step, congestion_state, congestion_widen,
)
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.seq cimport seq_upto

cdef enum:
    MIN_RTT_THRESH_US = 4000
    MAX_RTT_THRESH_US = 16000
    MIN_RTT_DIVISOR = 8
    N_RTT_SAMPLE = 8
    CSS_GROWTH_DIVISOR = 4
    CSS_ROUNDS = 5


cdef void hystart_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef HyStart *hystart
    if tcb.ssthresh != <uint32_t>SSTHRESH_UNLIMITED:    # RFC 9406 4.3: only the first slow start looks for its end
        congestion_slow_start(tcb, acked)
        return
    hystart = <HyStart *>congestion_state(tcp, conn)
    if not hystart.started:
        _start(tcb, hystart)
    _measure(tcb, hystart)
    if hystart.conservative:
        congestion_widen(tcb, congestion_slow_start_step(tcb, acked) // CSS_GROWTH_DIVISOR)
    else:
        congestion_slow_start(tcb, acked)
    if seq_upto(hystart.window_end, tcb.snd_una):
        _next_round(tcp, tcb, hystart)


cdef void _start(const Tcb *tcb, HyStart *hystart) noexcept nogil:
    hystart.started = True
    hystart.window_end = tcb.snd_nxt
    hystart.round_min_us = hystart.last_min_us = HYSTART_NO_RTT


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


cdef void _next_round(Tcp *tcp, Tcb *tcb, HyStart *hystart) noexcept nogil:
    hystart.window_end = tcb.snd_nxt
    hystart.last_min_us = hystart.round_min_us
    hystart.round_min_us = HYSTART_NO_RTT
    hystart.samples = 0
    if not hystart.conservative:
        return
    hystart.rounds += 1             # the round in which it began counts, although only part of it was conservative
    if hystart.rounds >= CSS_ROUNDS:
        tcb.ssthresh = tcb.cwnd
        tcp.state.counters.hystart_exits += 1
