"""The urgent pointer."""
from libc.stdint cimport uint16_t

from underpass.tcp.block cimport block_touch
from underpass.tcp.rare cimport TcbRare, rare_of
from underpass.tcp.tcb cimport CONN_FIN_RECEIVED, EVENT_URGENT, Tcb
from underpass.tcp.traits cimport TRAIT_URGENT_IN, TRAIT_URGENT_OUT
from underpass.wire.octets cimport load16, store16
from underpass.wire.segment cimport URG
from underpass.wire.seq cimport seq_after
from underpass.wire.tcp cimport TCP_AT_FLAGS, TCP_AT_URGENT

cdef enum:
    FARTHEST = 65535                # what the field holds; whatever is more urgent follows


cdef inline seq_t unread(const Tcb *tcb) noexcept nogil:
    """The first octet that the application has not read."""
    return tcb.rcv_nxt - ((tcb.flags & CONN_FIN_RECEIVED) != 0) - tcb.rcv_bytes


cdef void urgent_arrives(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil:
    """RCV.UP <- max(RCV.UP, SEG.UP); the application hears of it whenever that moves on (MUST-32)."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t up = seg.seq + load16(seg.packet + seg.tcp_offset + TCP_AT_URGENT)
    cdef TcbRare *rare
    tcp.state.counters.urgent_in += 1
    if not seq_after(up, unread(tcb)):
        return
    rare = rare_of(tcp, conn)
    if tcb.traits & TRAIT_URGENT_IN and not seq_after(up, rare.rcv_up):
        return
    rare.rcv_up = up
    tcb.traits |= TRAIT_URGENT_IN
    tcb.events |= EVENT_URGENT
    block_touch(tcp, conn)


cdef uint32_t urgent_left(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    return rare_of(tcp, conn).rcv_up - unread(tcb) if tcb.traits & TRAIT_URGENT_IN else 0


cdef void urgent_consumed(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not seq_after(rare_of(tcp, conn).rcv_up, unread(tcb)):
        tcb.traits &= ~<uint32_t>TRAIT_URGENT_IN


cdef void urgent_queue(Tcp *tcp, uint32_t conn) noexcept nogil:
    rare_of(tcp, conn).snd_up = tcp.tcbs[conn].snd_end
    tcp.tcbs[conn].traits |= TRAIT_URGENT_OUT


cdef void urgent_mark(Tcp *tcp, uint32_t conn, uint8_t *header, seq_t seq) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef seq_t up = rare_of(tcp, conn).snd_up
    if not seq_after(up, tcb.snd_una):
        tcb.traits &= ~<uint32_t>TRAIT_URGENT_OUT
    elif seq_after(up, seq):
        header[TCP_AT_FLAGS] |= URG
        store16(header + TCP_AT_URGENT, <uint16_t>min(up - seq, <uint32_t>FARTHEST))
