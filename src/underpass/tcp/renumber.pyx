"""Connections of addresses that went, or came back."""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from underpass.ip.network cimport NO_NEIGHBOUR, network_is_local, network_next_hop, network_release
from underpass.tcp.block cimport block_at_work, block_touch
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport CLOSED, CONN_STRANDED, NO_CONN, TIME_WAIT, Tcb, TcbCold, Tcp


cdef void strand(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Take away where it sends to."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    memcpy(rare_of(tcp, conn).stranded_mac, cold.reply_mac, 6)
    memset(cold.reply_mac, 0, 6)
    if tcb.neighbour != NO_NEIGHBOUR:
        network_release(tcp.network, tcb.neighbour)
        tcb.neighbour = NO_NEIGHBOUR
    tcb.flags |= CONN_STRANDED


cdef void recover(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    memcpy(tcp.colds[conn].reply_mac, rare_of(tcp, conn).stranded_mac, 6)
    tcb.neighbour = network_next_hop(tcp.network, &tcb.remote, tcp.now_ns)
    tcb.flags &= ~<uint32_t>CONN_STRANDED
    block_touch(tcp, conn)                  # an acknowledgment may be due, or what was never sent


cdef void renumber(Tcp *tcp) noexcept nogil:
    cdef Tcb *tcb
    cdef bint ours
    cdef uint32_t conn
    for conn in range(tcp.state.tcb_fresh):
        tcb = &tcp.tcbs[conn]
        if tcb.state == CLOSED or tcb.state == TIME_WAIT:
            continue
        ours = network_is_local(tcp.network, &tcb.local)
        if ours == (tcb.flags & CONN_STRANDED == 0):
            continue
        block_at_work(tcp, conn)
        if ours:
            recover(tcp, conn)
        else:
            strand(tcp, conn)
    block_at_work(tcp, NO_CONN)
