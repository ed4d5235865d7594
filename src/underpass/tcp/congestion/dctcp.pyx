"""DCTCP (RFC 8257 3.3). Growth and the answer to losses are NewReno's (RFC 8257 3.4, 3.5)."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.control cimport congestion_floor, congestion_state
from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.seq cimport seq_upto

cdef double G = 1 / 16.0            # RFC 8257 4.2: the gain of the estimate


cdef void dctcp_start(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Dctcp *dctcp = <Dctcp *>congestion_state(tcp, conn)
    dctcp.alpha = 1                 # RFC 8257 3.3: the first mark halves the window
    dctcp.window_end = tcp.tcbs[conn].snd_nxt


cdef void dctcp_echoed(Tcp *tcp, uint32_t conn, uint32_t octets, bint marked) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Dctcp *dctcp = <Dctcp *>congestion_state(tcp, conn)
    dctcp.acked += octets
    if marked:
        dctcp.marked += octets
    if not seq_upto(dctcp.window_end, tcb.snd_una) or dctcp.acked == 0:
        return
    dctcp.alpha = <float>(dctcp.alpha * (1 - G) + G * dctcp.marked / dctcp.acked)
    dctcp.acked = 0
    dctcp.marked = 0
    dctcp.window_end = tcb.snd_nxt


cdef void dctcp_marked(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil:
    """RFC 8257 3.3: cwnd = cwnd * (1 - alpha / 2)"""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef Dctcp *dctcp = <Dctcp *>congestion_state(tcp, conn)
    tcb.ssthresh = congestion_floor(tcb, <uint32_t>(tcb.cwnd * (1 - dctcp.alpha / 2)))
    tcb.cwnd = tcb.ssthresh
    dctcp.newreno.bytes_acked = 0
