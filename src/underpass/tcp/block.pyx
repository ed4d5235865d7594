"""The pool of connection blocks. Blocks never used are zero pages that cost no memory."""
from libc.stdint cimport uint32_t
from libc.string cimport memset

from underpass.link.frames cimport NO_FRAME, frame_unref
from underpass.tcp.tcb cimport NO_CONN, NO_LISTENER, Tcb, TcbCold, Tcp, TcpState
from underpass.tcp.trace cimport trace_freed
from underpass.ip.network cimport NO_NEIGHBOUR


cdef uint32_t block_take(Tcp *tcp) noexcept nogil:
    cdef TcpState *state = tcp.state
    cdef uint32_t conn = state.tcb_free
    if conn != NO_CONN:
        state.tcb_free = tcp.tcbs[conn].touched_next
    elif state.tcb_fresh < state.limits.connections:
        conn = state.tcb_fresh
        state.tcb_fresh += 1
    else:
        return NO_CONN
    state.tcb_used += 1
    block_at_work(tcp, conn)
    block_clear(tcp, conn)
    return conn


cdef void block_clear(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    cdef uint32_t generation = tcb.generation + 1
    memset(tcb, 0, sizeof(Tcb))
    memset(cold, 0, sizeof(TcbCold))
    tcb.generation = generation
    tcb.touched_next = NO_CONN
    tcb.rcv_head = tcb.rcv_tail = tcb.ooo_head = NO_FRAME
    tcb.snd_head = tcb.snd_tail = tcb.snd_unsent = NO_FRAME
    tcb.neighbour = NO_NEIGHBOUR
    cold.listener = NO_LISTENER
    cold.sack_hint = NO_FRAME
    cold.peer = NO_CONN


cdef void block_free(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcp.trace != NULL:
        trace_freed(tcp, conn)
    tcb.state = 0
    tcb.flags = 0
    tcb.generation += 1
    tcb.touched_next = tcp.state.tcb_free
    tcp.state.tcb_free = conn
    tcp.state.tcb_used -= 1


cdef void block_drop_queue(Tcp *tcp, uint32_t *head) noexcept nogil:
    cdef uint32_t frame = head[0]
    cdef uint32_t following
    while frame != NO_FRAME:
        following = tcp.pool.frames[frame].next
        frame_unref(tcp.pool, frame)
        frame = following
    head[0] = NO_FRAME
