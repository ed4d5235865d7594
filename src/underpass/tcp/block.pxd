"""Connection blocks: taking one from the pool, giving it back, and the list of those to attend to in this step."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport CONN_TOUCHED, NO_CONN, Tcb, TcbCold, Tcp

cdef extern from * nogil:
    void __builtin_prefetch(const void *at)
    void signal_fence "__atomic_signal_fence"(int order)
    enum: SEQ_CST "__ATOMIC_SEQ_CST"

# A cleared block in state CLOSED, or NO_CONN at the limit. Its generation differs from all handles given out for it before.
cdef uint32_t block_take(Tcp *tcp) noexcept nogil
# Give a block back: it is in no table, holds no frame, and no timer runs.
cdef void block_free(Tcp *tcp, uint32_t conn) noexcept nogil
# Release all frames of a queue (linked by `next`).
cdef void block_drop_queue(Tcp *tcp, uint32_t *head) noexcept nogil


cdef inline void block_prefetch(const Tcp *tcp, uint32_t conn) noexcept nogil:
    """Have what every segment touches of a connection come to the cache."""
    cdef const char *hot = <const char *>&tcp.tcbs[conn]
    cdef const char *cold = <const char *>&tcp.colds[conn]
    __builtin_prefetch(hot)
    __builtin_prefetch(hot + 64)
    __builtin_prefetch(hot + 128)
    __builtin_prefetch(hot + 192)
    __builtin_prefetch(cold)
    __builtin_prefetch(cold + 64)
    __builtin_prefetch(cold + 128)
    __builtin_prefetch(&tcp.timers[conn])


cdef inline void block_at_work(Tcp *tcp, uint32_t conn) noexcept nogil:
    """From now on this connection is changed, or (NO_CONN) none: should the process die, it alone is in doubt."""
    tcp.state.at_work = conn
    signal_fence(SEQ_CST)


cdef inline void block_touch(Tcp *tcp, uint32_t conn) noexcept nogil:
    """Have the connection attended to before this step ends: events, output, timers."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_TOUCHED:
        return
    tcb.flags |= CONN_TOUCHED
    tcb.touched_next = NO_CONN
    if tcp.touched == NO_CONN:
        tcp.touched = conn
    else:
        tcp.tcbs[tcp.touched_tail].touched_next = conn
    tcp.touched_tail = conn


cdef inline uint32_t block_next_touched(Tcp *tcp) noexcept nogil:
    """Take the first connection off the list; NO_CONN: nothing is left to do. Its mark stays: see attend."""
    cdef uint32_t conn = tcp.touched
    if conn != NO_CONN:
        tcp.touched = tcp.tcbs[conn].touched_next
    return conn
