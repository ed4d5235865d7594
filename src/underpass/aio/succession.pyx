"""Connections and listeners of an event loop that pass from one process to the next: see succession.pyi."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.aio.dispatch cimport Dispatcher, Endpoint
from underpass.aio.transport cimport StackTransport
from underpass.tcp.api cimport tcp_abort, tcp_readable, tcp_unlisten
from underpass.tcp.rebuild cimport rebuild_abort
from underpass.tcp.tcb cimport (
    CLOSED, CONN_ANNOUNCED, CONN_ORPHAN, EVENT_ACCEPTED, MAX_LISTENERS, NO_CONN, TIME_WAIT, Listener, Tcb,
)
from underpass.wire.address cimport address_to_text

cdef enum:
    SYN_OCTET = 1                   # of sequence space


def held(Dispatcher dispatcher not None):
    """See succession.pyi."""
    cdef uint32_t conn
    found = {}
    for conn in range(dispatcher.tcp.state.tcb_fresh):
        if dispatcher.endpoints[conn] != NULL:
            found[conn] = <object>dispatcher.endpoints[conn]
    return found


def was_accepted(Endpoint endpoint not None):
    """See succession.pyi."""
    return endpoint.conn != NO_CONN and endpoint.tcp.tcbs[endpoint.conn].user != 0      # a listener's word


def exchanged(Endpoint endpoint not None):
    """See succession.pyi."""
    cdef const Tcb *tcb
    if endpoint.conn == NO_CONN:
        return 0, 0
    tcb = &endpoint.tcp.tcbs[endpoint.conn]
    taken = endpoint.tcp.colds[endpoint.conn].bytes_received - tcp_readable(endpoint.tcp, endpoint.conn)
    return taken, <uint32_t>(tcb.snd_nxt - endpoint.tcp.colds[endpoint.conn].iss - SYN_OCTET)


def put_off(Dispatcher dispatcher not None):
    """See succession.pyi."""
    dispatcher.puts_off = True


def is_quiet(StackTransport transport not None, bint hushed):
    """See succession.pyi."""
    return transport.started and transport.conn != NO_CONN and transport.backlog_bytes == 0 and (
        hushed or not transport.reading_paused) and not (
        transport.closing or transport.eof_written or transport.eof_received or transport.empty_waiter is not None)


def hush(StackTransport transport not None):
    """See succession.pyi."""
    transport.reading_paused = True


def part(Endpoint endpoint not None):
    """See succession.pyi."""
    endpoint.part()


def end(Endpoint endpoint not None, bint reset):
    """See succession.pyi."""
    endpoint.release(reset)


def fresh(Dispatcher dispatcher not None):
    """See succession.pyi."""
    cdef uint32_t conn
    found = []
    for conn in range(dispatcher.tcp.state.tcb_fresh):
        if dispatcher.app.queue.pending[conn] & EVENT_ACCEPTED:
            found.append(conn)
    return found


cdef inline bint is_open(const Tcb *tcb, uint8_t app) noexcept:
    """Whether the application has been told of it, and has not let go of it."""
    return tcb.state != CLOSED and tcb.state != TIME_WAIT and tcb.app == app and \
        tcb.flags & (CONN_ANNOUNCED | CONN_ORPHAN) == CONN_ANNOUNCED


def inherit(Dispatcher dispatcher not None, dict left, resumed):
    """See succession.pyi."""
    cdef const Listener *listener
    cdef uint32_t conn, number
    reset = 0
    dispatcher.resumed = resumed
    for number in range(MAX_LISTENERS):
        listener = &dispatcher.tcp.state.listeners[number]
        if listener.used and listener.app == dispatcher.number:
            address = address_to_text(&listener.address)
            dispatcher.inherited[address, listener.port] = number
            dispatcher.words = max(dispatcher.words, listener.user)
    for conn in range(dispatcher.tcp.state.tcb_fresh):
        if not is_open(&dispatcher.tcp.tcbs[conn], dispatcher.number):
            continue
        if conn in left and dispatcher.is_awaited(conn):
            dispatcher.left[conn] = left[conn]
        else:
            reset += 1
            if dispatcher.stack.recovery is None:
                tcp_abort(dispatcher.tcp, conn)
            else:
                rebuild_abort(dispatcher.tcp, conn)
    return reset


def disinherit(Dispatcher dispatcher not None):
    """See succession.pyi."""
    cdef uint32_t conn, number
    for number in dispatcher.inherited.values():
        tcp_unlisten(dispatcher.tcp, number)
    services = list(dispatcher.inherited)
    left = list(dispatcher.left)
    dispatcher.inherited.clear()
    dispatcher.left.clear()
    for conn in left:
        if dispatcher.endpoints[conn] == NULL and is_open(&dispatcher.tcp.tcbs[conn], dispatcher.number):
            tcp_abort(dispatcher.tcp, conn)
    return services, len(left)
