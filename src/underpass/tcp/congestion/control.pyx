"""The table of congestion controls."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.cubic cimport cubic_acked, cubic_lost, cubic_start, cubic_timed_out
from underpass.tcp.congestion.newreno cimport newreno_acked, newreno_lost, newreno_start, newreno_timed_out

cdef Congestion[2] controls         # CONGESTION_CONTROLS

controls[CONGESTION_NEWRENO] = Congestion(
    name=b"newreno", start=newreno_start, acked=newreno_acked, lost=newreno_lost, timed_out=newreno_timed_out)
controls[CONGESTION_CUBIC] = Congestion(
    name=b"cubic", start=cubic_start, acked=cubic_acked, lost=cubic_lost, timed_out=cubic_timed_out)


cdef const Congestion *congestion_control(uint32_t which) noexcept nogil:
    return &controls[which if which < CONGESTION_CONTROLS else CONGESTION_NEWRENO]


cdef uint32_t congestion_initial_window(uint32_t mss) noexcept nogil:
    return min(10 * mss, max(2 * mss, <uint32_t>14600))
