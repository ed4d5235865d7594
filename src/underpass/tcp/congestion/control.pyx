"""The table of congestion controls."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset, strcmp

from underpass.tcp.congestion.cubic cimport cubic_acked, cubic_lost, cubic_timed_out, cubic_undo
from underpass.tcp.congestion.newreno cimport newreno_acked, newreno_lost, newreno_timed_out
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.tcb cimport CONN_RARE, Tcp

cdef Congestion[2] controls         # CONGESTION_CONTROLS

controls[CONGESTION_NEWRENO] = Congestion(
    name=b"reno", start=NULL, acked=newreno_acked, lost=newreno_lost, timed_out=newreno_timed_out,
    undo=NULL)
controls[CONGESTION_CUBIC] = Congestion(
    name=b"cubic", start=NULL, acked=cubic_acked, lost=cubic_lost, timed_out=cubic_timed_out,
    undo=cubic_undo)


cdef const Congestion *congestion_control(uint32_t which) noexcept nogil:
    return &controls[which if which < CONGESTION_CONTROLS else CONGESTION_NEWRENO]


cdef void congestion_begin(Tcp *tcp, uint32_t conn, uint32_t which) noexcept nogil:
    cdef const Congestion *control = congestion_control(which)
    cdef TcbRare *rare
    tcp.tcbs[conn].congestion = <uint8_t>which
    if tcp.tcbs[conn].flags & CONN_RARE:
        rare = rare_of(tcp, conn)
        memset(rare.congestion_state, 0, sizeof(rare.congestion_state))
    if control.start != NULL:
        control.start(tcp, conn)


cdef uint32_t congestion_named(const char *name) noexcept nogil:
    cdef uint32_t which
    if strcmp(name, b"newreno") == 0:
        return CONGESTION_NEWRENO
    for which in range(CONGESTION_CONTROLS):
        if strcmp(name, controls[which].name) == 0:
            return which
    return CONGESTION_CONTROLS


cdef uint32_t congestion_initial_window(uint32_t mss) noexcept nogil:
    return min(10 * mss, max(2 * mss, <uint32_t>14600))
