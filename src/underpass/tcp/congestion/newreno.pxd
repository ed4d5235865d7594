"""NewReno: slow start and congestion avoidance (RFC 5681). Fast recovery (RFC 6582) is the caller's."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport Tcb, TcbCold

cdef void newreno_start(Tcb *tcb, TcbCold *cold, uint64_t now_ns) noexcept nogil
cdef void newreno_acked(Tcb *tcb, TcbCold *cold, uint32_t acked, uint64_t now_ns) noexcept nogil
cdef void newreno_lost(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil
cdef void newreno_timed_out(Tcb *tcb, TcbCold *cold, uint32_t flight, uint64_t now_ns) noexcept nogil
