"""NewReno (RFC 5681, RFC 6582), counting octets in congestion avoidance (RFC 3465 2.1)."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.control cimport congestion_floor, congestion_state, congestion_widen
from underpass.tcp.congestion.hystart cimport hystart_acked
from underpass.tcp.tcb cimport Tcb, Tcp

cdef void newreno_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef NewReno *newreno
    if tcb.cwnd < tcb.ssthresh:
        hystart_acked(tcp, conn, acked)
        return
    # One segment for each window's worth of octets; no ACK counts for more than one window.
    newreno = <NewReno *>congestion_state(tcp, conn)
    newreno.bytes_acked += min(acked, tcb.cwnd)
    if newreno.bytes_acked >= tcb.cwnd:
        newreno.bytes_acked -= tcb.cwnd
        congestion_widen(tcb, tcb.mss)


cdef void newreno_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.ssthresh = congestion_floor(tcb, flight // 2)
    tcb.cwnd = tcb.ssthresh
    (<NewReno *>congestion_state(tcp, conn)).bytes_acked = 0


cdef void newreno_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    newreno_lost(tcp, conn, flight)
    tcp.tcbs[conn].cwnd = tcp.tcbs[conn].mss
