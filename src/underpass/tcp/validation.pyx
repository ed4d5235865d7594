"""Validation of the congestion window."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.control cimport congestion_initial_window
from underpass.tcp.rare cimport Validation, rare_of
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.tcp.traits cimport TRAIT_RATE
from underpass.wire.seq cimport seq_upto

cdef enum:
    PERIOD_LEAST_NS = 1000000000        # RFC 7661 4.2: max(3 * RTT, 1 s)
    NS_PER_TICK = 1 << SENT_TICK_SHIFT

cdef uint64_t KEPT_NS = 300000000000    # RFC 7661 4.3: the nonvalidated period, five minutes


cdef inline void _remember(Tcb *tcb) noexcept nogil:
    """RFC 7661 4.4.3: ssthresh = max(ssthresh, 3 * cwnd / 4)"""
    tcb.ssthresh = max(tcb.ssthresh, tcb.cwnd - (tcb.cwnd >> 2))


cdef void _halve(Tcp *tcp, Tcb *tcb, uint32_t least) noexcept nogil:
    _remember(tcb)
    tcb.cwnd = max(tcb.cwnd >> 1, least)
    tcp.state.counters.window_validations += 1


cdef void validation_restart(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t initial = congestion_initial_window(tcb.mss)
    cdef uint64_t pause_ns = <uint64_t>(<uint32_t>(tcp.now_ns >> SENT_TICK_SHIFT) - tcb.sent_tick) * NS_PER_TICK
    if tcb.cwnd <= initial or tcb.traits & TRAIT_RATE:
        return
    if tcp.state.limits.idle_restart:
        _remember(tcb)
        tcb.cwnd = initial
        tcp.state.counters.idle_restarts += 1
    elif pause_ns > KEPT_NS:
        _halve(tcp, tcb, initial)


cdef void validation_of_larger(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t initial = congestion_initial_window(tcb.mss)
    cdef Validation *it
    if tcb.traits & TRAIT_RATE:
        return
    it = &rare_of(tcp, conn).validation
    if not seq_upto(it.end, tcb.snd_una) and it.period_ns != 0:
        return
    _sample(tcp, tcb, it)
    if max(it.pipe_ack, it.pipe_ack_before) >= tcb.cwnd >> 1:
        it.unused_ns = 0
    elif it.unused_ns == 0:
        it.unused_ns = tcp.now_ns
    elif tcp.now_ns - it.unused_ns > KEPT_NS:
        _halve(tcp, tcb, initial)
        it.unused_ns = tcp.now_ns


cdef void _sample(const Tcp *tcp, const Tcb *tcb, Validation *it) noexcept nogil:
    """A round trip is over: what it brought, and the largest of the sampling period (RFC 7661 4.2, 4.5.1)."""
    cdef uint64_t period_ns = max((tcb.srtt_us >> 3) * <uint64_t>3000, <uint64_t>PERIOD_LEAST_NS)
    if it.period_ns == 0:                   # undefined so far: valid
        it.period_ns = max(tcp.now_ns, <uint64_t>1)
        it.pipe_ack = tcb.cwnd
    elif tcp.now_ns - it.period_ns >= period_ns:
        it.pipe_ack_before = it.pipe_ack
        it.pipe_ack = tcb.snd_una - it.start
        it.period_ns = tcp.now_ns
    else:
        it.pipe_ack = max(it.pipe_ack, tcb.snd_una - it.start)
    it.start = tcb.snd_una
    it.end = tcb.snd_nxt
