"""Events to applications, output, timers: once for each connection touched in a step."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.block cimport block_at_work, block_drop_queue, block_free, block_next_touched, block_touch
from underpass.tcp.fast_open cimport fast_open_go
from underpass.tcp.send cimport send_output
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ACTIVE, CONN_ANNOUNCED, CONN_HELD, CONN_ORPHAN, CONN_STARVED, CONN_TOUCHED, CONN_WANTS_ROOM, EVENT_ACCEPTED,
    EVENT_CLOSED, EVENT_CONNECTED, EVENT_READABLE, EVENT_TROUBLE, EVENT_URGENT, EVENT_WRITABLE, NO_CONN, TIME_WAIT, App,
    Tcb, Tcp,
)
from underpass.tcp.timers cimport timers_arm
from underpass.tcp.traits cimport TRAIT_FAST_OPEN_PENDING

cdef enum:
    STARVED_SEARCH = 4096           # connections looked at a step
    STARVED_WAKE = 64               # connections woken a step, where so many frames are free
    STARVED_SHIFT = 4               # or this part of a small pool


cdef inline void tell(Tcp *tcp, uint32_t conn, uint8_t events) noexcept nogil:
    """Call the application; it may let go of the connection in any of the calls."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef App *app = &tcp.apps[tcb.app]
    if events & (EVENT_ACCEPTED | EVENT_CONNECTED):
        tcb.flags |= CONN_ANNOUNCED
        if events & EVENT_ACCEPTED:
            app.accepted(tcp, conn, app.self)
        else:
            app.connected(tcp, conn, app.self)
    if events & EVENT_READABLE and not tcb.flags & CONN_ORPHAN:
        app.readable(tcp, conn, app.self)
    if events & EVENT_WRITABLE and tcb.flags & CONN_WANTS_ROOM and not tcb.flags & CONN_ORPHAN:
        tcb.flags &= ~<uint32_t>CONN_WANTS_ROOM
        app.writable(tcp, conn, app.self)
    if events & (EVENT_URGENT | EVENT_TROUBLE) and app.noticed != NULL and not tcb.flags & CONN_ORPHAN:
        app.noticed(tcp, conn, events & (EVENT_URGENT | EVENT_TROUBLE), app.self)


cdef void bury(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The connection is gone: the last word to the application, then the block is free, unless the application
    holds it.
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef App *app = &tcp.apps[tcb.app]
    if tcb.flags & (CONN_ANNOUNCED | CONN_ACTIVE) and not tcb.flags & CONN_ORPHAN:
        tcb.flags |= CONN_TOUCHED
        app.closed(tcp, conn, tcp.colds[conn].error, app.self)
        tcb.flags &= ~<uint32_t>CONN_TOUCHED
        if tcb.flags & CONN_HELD and not tcb.flags & CONN_ORPHAN:
            return
    block_drop_queue(tcp, &tcb.rcv_head)
    block_free(tcp, conn)


cdef void attend(Tcp *tcp, uint32_t conn) noexcept nogil:
    """One connection, which is off the list but still marked: what its own callbacks do is seen here, not in
    another turn of the list.
    """
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint8_t events = tcb.events
    block_at_work(tcp, conn)
    tcb.events = 0
    if events and not tcb.flags & CONN_ORPHAN:
        tell(tcp, conn, events)
    tcb.flags &= ~<uint32_t>CONN_TOUCHED
    if tcb.state == CLOSED or tcb.state == TIME_WAIT:
        if (events | tcb.events) & EVENT_CLOSED:
            tcb.events = 0
            bury(tcp, conn)
        return
    if tcb.traits & TRAIT_FAST_OPEN_PENDING:
        fast_open_go(tcp, conn)
    send_output(tcp, conn)
    timers_arm(tcp, conn)
    if tcb.events & EVENT_CLOSED or (tcb.events and not tcb.flags & CONN_ORPHAN):
        block_touch(tcp, conn)              # raised by its own callbacks, and somebody is there to hear of it


cdef bint attend_all(Tcp *tcp) noexcept nogil:
    cdef uint32_t before = tcp.attended
    cdef uint32_t conn = block_next_touched(tcp)
    while conn != NO_CONN:
        attend(tcp, conn)
        tcp.attended += 1
        conn = block_next_touched(tcp)
    block_at_work(tcp, NO_CONN)
    return tcp.attended != before


cdef void attend_starved(Tcp *tcp) noexcept nogil:
    cdef uint32_t conn
    cdef uint32_t enough = min(<uint32_t>STARVED_WAKE, tcp.pool.state.count >> STARVED_SHIFT)
    cdef uint32_t searched = 0
    cdef uint32_t woken = 0
    cdef Tcb *tcb
    if tcp.pool.state.free <= tcp.pool.state.reserve + enough:
        return
    while searched < STARVED_SEARCH and woken < STARVED_WAKE and tcp.starved != 0:
        searched += 1
        conn = tcp.starved_cursor
        tcp.starved_cursor = conn + 1 if conn + 1 < tcp.state.tcb_fresh else 0
        tcb = &tcp.tcbs[conn]
        if tcb.flags & CONN_STARVED:
            tcb.flags &= ~<uint32_t>CONN_STARVED
            tcp.starved -= 1
            tcb.events |= EVENT_WRITABLE
            block_touch(tcp, conn)
            woken += 1
