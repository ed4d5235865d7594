"""How connections end."""
from libc.errno cimport ECONNABORTED
from libc.stdint cimport uint32_t, uint64_t

from underpass.ip.network cimport NO_NEIGHBOUR, network_release
from underpass.tcp.block cimport block_drop_queue, block_touch
from underpass.tcp.demux cimport demux_remove
from underpass.tcp.output cimport output_control, output_flush, output_next
from underpass.tcp.rare cimport rare_of
from underpass.tcp.receive cimport receive_drop_out_of_order
from underpass.tcp.send cimport send_drop_queue
from underpass.tcp.sources cimport sources_remove
from underpass.tcp.tcb cimport (
    CLOSE_WAIT, CLOSED, CONN_ACK_NOW, CONN_COUNTED_HALF_OPEN, CONN_FIN_QUEUED, CONN_ORPHAN, CONN_STARVED, CONN_WANTS_ROOM,
    ESTABLISHED, EVENT_CLOSED, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, NO_LISTENER, SETTING_LINGER, SETTING_NO_FIN_WAIT_2,
    SYN_RECEIVED, SYN_SENT, TIME_WAIT, Settings, Tcb, Tcp,
)
from underpass.tcp.time_wait cimport time_wait_enter
from underpass.tcp.timers cimport timers_stop
from underpass.tcp.traits cimport TRAIT_FAST_OPEN_PENDING, TRAIT_SETTINGS
from underpass.wire.segment cimport ACK, RST

cdef enum:
    NS_PER_MS = 1000000
    RESETS_AT_ONCE = 64             # so many go to the device together, and hold frames until then


cdef void ending_handshake_over(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t listener = tcp.colds[conn].listener
    if not tcb.flags & CONN_COUNTED_HALF_OPEN:
        return
    tcb.flags &= ~<uint32_t>CONN_COUNTED_HALF_OPEN
    tcp.state.half_open -= 1
    if listener != NO_LISTENER:
        tcp.state.listeners[listener].half_open -= 1
        if tcb.traits & TRAIT_FAST_OPEN_PENDING:
            tcp.state.listeners[listener].fast_open_pending -= 1


cdef void ending_shutdown(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 9293 3.10.4 CLOSE call, for the sending side: ESTABLISHED to FIN-WAIT-1, CLOSE-WAIT to LAST-ACK."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_FIN_QUEUED:
        return
    if tcb.state == ESTABLISHED:
        tcb.state = FIN_WAIT_1
    elif tcb.state == CLOSE_WAIT:
        tcb.state = LAST_ACK
    elif tcb.state != SYN_RECEIVED:
        return
    tcb.flags |= CONN_FIN_QUEUED
    block_touch(tcp, conn)


cdef inline bint let_go(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The application's part is over, it waits for nothing. False: the connection was gone already, and its block is released."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    tcb.flags = (tcb.flags & ~<uint32_t>CONN_WANTS_ROOM) | CONN_ORPHAN
    if tcb.state == CLOSED or tcb.state == TIME_WAIT:
        ending_release(tcp, conn)
        return False
    tcp.state.orphans += 1
    return True


cdef inline bint resets_on_close(Tcp *tcp, uint32_t conn) noexcept nogil:
    """SO_LINGER with no time to linger; or data that nobody will read, and that must not look delivered (RFC 2525 2.17)."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef const Settings *settings
    if tcb.rcv_bytes != 0:
        return True
    if not tcb.traits & TRAIT_SETTINGS:
        return False
    settings = &rare_of(tcp, conn).settings
    return settings.flags & SETTING_LINGER and settings.linger_s == 0


cdef void ending_close(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not let_go(tcp, conn):
        return
    if tcb.state == SYN_SENT:
        ending_gone(tcp, conn, 0)
    elif resets_on_close(tcp, conn):
        ending_reset(tcp, conn, 0)
    elif tcp.state.orphans > tcp.state.limits.orphans:
        tcp.state.counters.orphan_limit += 1
        ending_reset(tcp, conn, 0)
    else:
        ending_shutdown(tcp, conn)
        ending_progress(tcp, conn)
        if tcb.state == FIN_WAIT_2:
            ending_fin_wait_2(tcp, conn)
        block_touch(tcp, conn)


cdef void ending_progress(Tcp *tcp, uint32_t conn) noexcept nogil:
    tcp.tcbs[conn].linger_at = tcp.now_ns + <uint64_t>tcp.state.limits.orphan_ms * NS_PER_MS


cdef void ending_fin_wait_2(Tcp *tcp, uint32_t conn) noexcept nogil:
    """RFC 9293 3.6 lets it wait for ever; nobody is there to wait any more. TCP_LINGER2 sets the time, or that there is none."""
    cdef uint32_t wait_ms = tcp.state.limits.fin_wait_2_ms
    cdef const Settings *settings
    if tcp.tcbs[conn].traits & TRAIT_SETTINGS:
        settings = &rare_of(tcp, conn).settings
        if settings.flags & SETTING_NO_FIN_WAIT_2:
            ending_reset(tcp, conn, 0)
            return
        if settings.linger2_ms:
            wait_ms = settings.linger2_ms
    tcp.tcbs[conn].linger_at = tcp.now_ns + <uint64_t>wait_ms * NS_PER_MS


cdef void ending_abort(Tcp *tcp, uint32_t conn) noexcept nogil:
    if let_go(tcp, conn):
        ending_reset(tcp, conn, ECONNABORTED)


cdef void ending_reset(Tcp *tcp, uint32_t conn, int error) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if SYN_RECEIVED <= tcb.state <= LAST_ACK:
        output_control(tcp, conn, output_next(tcb), RST | ACK)
        tcp.state.counters.resets_out += 1
    ending_gone(tcp, conn, error)


cdef uint32_t ending_reset_all(Tcp *tcp, int error) noexcept nogil:
    cdef uint32_t conn
    cdef uint32_t count = 0
    for conn in range(tcp.state.tcb_fresh):
        if tcp.tcbs[conn].state == CLOSED or tcp.tcbs[conn].state == TIME_WAIT:
            continue
        if tcp.tcbs[conn].state == FIN_WAIT_2 and tcp.tcbs[conn].flags & CONN_ORPHAN:
            # The peer has all, and may not have read it: on some systems a reset would take it away.
            ending_gone(tcp, conn, error)
            continue
        ending_reset(tcp, conn, error)
        count += 1
        if tcp.tx.tail - tcp.tx.head >= RESETS_AT_ONCE:
            output_flush(tcp)
    output_flush(tcp)
    return count


cdef void detach(Tcp *tcp, uint32_t conn) noexcept nogil:
    """What a block holds besides its place in the table and what was received."""
    cdef Tcb *tcb = &tcp.tcbs[conn]
    timers_stop(tcp, conn)
    if tcb.flags & CONN_ORPHAN:
        tcp.state.orphans -= 1
    send_drop_queue(tcp, conn)
    receive_drop_out_of_order(tcp, conn)
    ending_handshake_over(tcp, conn)
    sources_remove(tcp, conn)
    if tcb.neighbour != NO_NEIGHBOUR:
        network_release(tcp.network, tcb.neighbour)
        tcb.neighbour = NO_NEIGHBOUR
    if tcb.flags & CONN_STARVED:
        tcb.flags &= ~<uint32_t>CONN_STARVED
        tcp.starved -= 1


cdef void ending_gone(Tcp *tcp, uint32_t conn, int error) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.state == CLOSED:
        return
    demux_remove(tcp, tcb.hash, conn + 1)
    detach(tcp, conn)
    tcb.state = CLOSED
    tcp.colds[conn].error = error
    tcb.events |= EVENT_CLOSED
    block_touch(tcp, conn)


cdef void ending_time_wait(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if tcb.flags & CONN_ACK_NOW:            # the peer's FIN: after this nobody attends to the block's output
        output_control(tcp, conn, output_next(tcb), ACK)
    tcb.state = TIME_WAIT
    time_wait_enter(tcp, conn)
    detach(tcp, conn)
    tcb.events |= EVENT_CLOSED
    block_touch(tcp, conn)


cdef void ending_release(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    block_drop_queue(tcp, &tcb.rcv_head)
    tcb.rcv_bytes = 0
    tcb.events = EVENT_CLOSED
    tcb.flags |= CONN_ORPHAN
    block_touch(tcp, conn)              # freed when its turn comes: nobody then holds it in a list
