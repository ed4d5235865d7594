"""CUBIC (RFC 9438) in octets and double precision: C is 0.4 segments a cubic second, beta 0.7."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.control cimport CWND_MAX, congestion_floor, congestion_state, congestion_widen
from underpass.tcp.congestion.hystart cimport hystart_acked
from underpass.tcp.tcb cimport Tcb, Tcp

cdef extern from "<math.h>" nogil:
    double cbrt(double)

cdef double C = 0.4                 # RFC 9438 5
cdef double BETA = 0.7              # RFC 9438 4.6
cdef double ALPHA = 3 * (1 - 0.7) / (1 + 0.7)   # RFC 9438 4.3: Reno's increase that goes with beta

cdef enum:
    IDLE_FLOOR_NS = 10000000        # shorter gaps between ACKs are never taken for idleness
    NS_PER_S = 1000000000


cdef inline double _round_trip_s(const Tcb *tcb) noexcept nogil:
    return (tcb.srtt_us >> 3) * 1e-6


cdef void cubic_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Cubic *cubic
    if tcb.cwnd < tcb.ssthresh:
        hystart_acked(tcp, conn, acked)
        return
    cubic = <Cubic *>congestion_state(tcp, conn)
    if cubic.epoch_ns == 0:
        _begin_epoch(tcb, cubic, tcp.now_ns)
    else:
        _leave_out_idleness(tcb, cubic, tcp.now_ns)
    cubic.last_ns = tcp.now_ns
    _grow(tcb, cubic, min(acked, tcb.cwnd), (tcp.now_ns - cubic.epoch_ns) / <double>NS_PER_S)


cdef void cubic_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Cubic *cubic = <Cubic *>congestion_state(tcp, conn)
    cdef double cwnd = tcb.cwnd
    _keep(cubic)
    # Fast convergence (RFC 9438 4.7): a window that no longer comes up to its old peak makes room for others.
    cubic.w_max = cwnd * (1 + BETA) / 2 if cwnd < cubic.w_max else cwnd
    cubic.cwnd_prior = tcb.cwnd
    cubic.epoch_ns = 0
    tcb.ssthresh = congestion_floor(tcb, <uint32_t>(flight * BETA))
    tcb.cwnd = tcb.ssthresh


cdef void cubic_undo(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 9438 4.9: go on with the stage of congestion avoidance that a spurious loss broke off."""
    cdef Cubic *cubic = <Cubic *>congestion_state(tcp, conn)
    cubic.epoch_ns = cubic.epoch_ns_before
    cubic.w_max = cubic.w_max_before
    cubic.k = cubic.k_before
    cubic.w_est = cubic.w_est_before
    cubic.cwnd_prior = cubic.cwnd_prior_before


cdef inline void _keep(Cubic *cubic) noexcept nogil:
    cubic.epoch_ns_before = cubic.epoch_ns
    cubic.w_max_before = cubic.w_max
    cubic.k_before = cubic.k
    cubic.w_est_before = cubic.w_est
    cubic.cwnd_prior_before = cubic.cwnd_prior


cdef void cubic_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    cubic_lost(tcp, conn, flight)
    # RFC 9438 4.8: the next stage of congestion avoidance has its W_max where it begins, and K = 0.
    (<Cubic *>congestion_state(tcp, conn)).w_max = 0
    tcp.tcbs[conn].cwnd = tcp.tcbs[conn].mss


cdef void _begin_epoch(const Tcb *tcb, Cubic *cubic, uint64_t now_ns) noexcept nogil:
    """A stage of congestion avoidance begins (RFC 9438 4.2): K is the time until W_max is reached again."""
    cdef double cwnd = tcb.cwnd
    cubic.epoch_ns = now_ns if now_ns else 1        # 0 stands for no epoch
    cubic.fraction = 0
    cubic.w_est = cwnd
    if cwnd < cubic.w_max:
        cubic.k = cbrt((cubic.w_max - cwnd) / (C * tcb.mss))
    else:
        cubic.k = 0
        cubic.w_max = cwnd


cdef void _leave_out_idleness(const Tcb *tcb, Cubic *cubic, uint64_t now_ns) noexcept nogil:
    """Leave out of t the time in which the application did not use the window up (RFC 9438 5.8)."""
    cdef uint64_t gap = now_ns - cubic.last_ns if now_ns > cubic.last_ns else 0
    cdef uint64_t two_round_trips = (tcb.srtt_us >> 3) * <uint64_t>2000
    if gap > max(two_round_trips, <uint64_t>IDLE_FLOOR_NS):
        cubic.epoch_ns += gap


cdef inline double _window_at(const Tcb *tcb, const Cubic *cubic, double t) noexcept nogil:
    """W_cubic(t) (RFC 9438 4.2, equation 1)."""
    cdef double x = t - cubic.k
    return C * tcb.mss * x * x * x + cubic.w_max


cdef void _grow(Tcb *tcb, Cubic *cubic, uint32_t acked, double t) noexcept nogil:
    """What Reno would have (RFC 9438 4.3), or a step towards W_cubic a round trip ahead (4.4, 4.5)."""
    cdef double cwnd = tcb.cwnd
    cdef double alpha = ALPHA if cubic.w_est < cubic.cwnd_prior else 1.0
    cdef double target, step
    cubic.w_est = min(cubic.w_est + alpha * tcb.mss * acked / cwnd, <double>CWND_MAX)
    if _window_at(tcb, cubic, t) < cubic.w_est:
        step = cubic.w_est - cwnd
    else:
        target = min(_window_at(tcb, cubic, t + _round_trip_s(tcb)), 1.5 * cwnd)
        step = (target - cwnd) * acked / cwnd
    if step > 0:
        step += cubic.fraction
        cubic.fraction = <float>(step - <uint32_t>step)
        congestion_widen(tcb, <uint32_t>step)
