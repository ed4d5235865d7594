"""NewReno (RFC 5681, RFC 6582), counting octets in congestion avoidance (RFC 3465 2.1)."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.congestion.control cimport congestion_floor, congestion_slow_start, congestion_widen
from underpass.tcp.tcb cimport Tcb, TcbCold

cdef enum:
    BYTES_ACKED = 0                 # word of congestion_state: octets acknowledged towards the next segment


cdef void newreno_start(Tcb *tcb, TcbCold *cold, uint64_t now_ns) noexcept nogil:
    cold.congestion_state[BYTES_ACKED] = 0


cdef void newreno_acked(Tcb *tcb, TcbCold *cold, uint32_t acked, uint64_t now_ns) noexcept nogil:
    if tcb.cwnd < tcb.ssthresh:
        congestion_slow_start(tcb, acked)
        return
    # One segment for each window's worth of octets; no ACK counts for more than one window.
    cold.congestion_state[BYTES_ACKED] += min(acked, tcb.cwnd)
    if cold.congestion_state[BYTES_ACKED] >= tcb.cwnd:
        cold.congestion_state[BYTES_ACKED] -= tcb.cwnd
        congestion_widen(tcb, tcb.mss)


cdef void newreno_lost(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil:
    tcb.ssthresh = congestion_floor(tcb, flight // 2)
    tcb.cwnd = tcb.ssthresh
    cold.congestion_state[BYTES_ACKED] = 0


cdef void newreno_timed_out(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil:
    newreno_lost(tcb, cold, flight, now_ns)
    tcb.cwnd = tcb.mss
