"""What the bulk application does when TCP calls."""
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from underpass.tcp.api cimport tcp_at_end, tcp_close, tcp_connect, tcp_consume, tcp_peek, tcp_shutdown, tcp_write
from underpass.tcp.congestion.control cimport congestion_begin
from underpass.tcp.tcb cimport NO_CONN, App, Tcp
from underpass.wire.address cimport Address

cdef enum:
    PIECE = 1048576                 # octets that lie together in the pattern from any phase


cdef bint bulk_over(const Bulk *bulk) noexcept nogil:
    return bulk.completed + bulk.failed >= bulk.total


cdef inline const uint8_t *_piece(const Bulk *bulk, uint64_t at, bint of_server) noexcept nogil:
    """What stands at `at` of a stream; at least PIECE octets of it."""
    return bulk.pattern + (at + (SERVER_PHASE if of_server else 0)) % PATTERN_PERIOD


cdef inline void _put64(uint8_t *into, uint64_t value) noexcept nogil:
    cdef uint32_t i
    for i in range(8):
        into[i] = <uint8_t>(value >> (56 - 8 * i))


cdef inline uint64_t _get64(const uint8_t *octets) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t i
    for i in range(8):
        value = value << 8 | octets[i]
    return value


# --- one connection ---

cdef void _give(Bulk *bulk, Tcp *tcp, uint32_t conn) noexcept nogil:
    """Send the head, then what is to be sent, as far as there is room, then the end."""
    cdef Flow *flow = &bulk.flows[conn]
    cdef uint64_t wanted
    cdef uint32_t taken
    if not flow.serves and flow.head_bytes < HEAD_BYTES:
        flow.head_bytes += <uint8_t>tcp_write(tcp, conn, flow.head + flow.head_bytes, HEAD_BYTES - flow.head_bytes)
        if flow.head_bytes < HEAD_BYTES:
            return
    while flow.given < flow.give:
        wanted = min(flow.give - flow.given, <uint64_t>PIECE)
        taken = tcp_write(tcp, conn, _piece(bulk, flow.given, flow.serves), <uint32_t>wanted)
        flow.given += taken
        bulk.octets_out += taken
        if taken < wanted:
            return
    if not flow.ended:
        flow.ended = True
        tcp_shutdown(tcp, conn)


cdef void _take_head(Bulk *bulk, Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Flow *flow = &bulk.flows[conn]
    cdef const uint8_t *octets = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &octets)
    cdef uint32_t i
    while count and flow.head_bytes < HEAD_BYTES:
        count = min(count, <uint32_t>HEAD_BYTES - flow.head_bytes)
        for i in range(count):
            flow.head[flow.head_bytes + i] = octets[i]
        flow.head_bytes += <uint8_t>count
        tcp_consume(tcp, conn, count)
        count = tcp_peek(tcp, conn, &octets)
    if flow.head_bytes == HEAD_BYTES:
        flow.take, flow.give = _get64(flow.head), _get64(flow.head + 8)
        flow.waits = flow.head[16] & FLAG_WAIT
        flow.state = MOVING


cdef void _take(Bulk *bulk, Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Flow *flow = &bulk.flows[conn]
    cdef const uint8_t *octets = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &octets)
    while count:
        if bulk.verify and memcmp(octets, _piece(bulk, flow.taken, not flow.serves), count) != 0:
            bulk.mismatched += 1
        flow.taken += count
        bulk.octets_in += count
        tcp_consume(tcp, conn, count)
        count = tcp_peek(tcp, conn, &octets)


cdef void _go_on(Bulk *bulk, Tcp *tcp, uint32_t conn) noexcept nogil:
    """Do whatever can be done now for a connection."""
    cdef Flow *flow = &bulk.flows[conn]
    cdef bint at_end
    if flow.state == ASKED:
        _take_head(bulk, tcp, conn)
    if flow.state == MOVING:
        _take(bulk, tcp, conn)
    at_end = tcp_at_end(tcp, conn)
    if flow.state == MOVING and (at_end or not flow.waits):
        _give(bulk, tcp, conn)
    if at_end and (flow.ended or flow.state == ASKED):
        if flow.taken != flow.take or flow.state == ASKED:
            bulk.cut_short += 1
        bulk.completed += 1
        _over(bulk, tcp, conn)
        tcp_close(tcp, conn)


cdef void _over(Bulk *bulk, Tcp *tcp, uint32_t conn) noexcept nogil:
    bulk.flows[conn].state = VACANT
    bulk.end_ns = tcp.now_ns
    bulk.open -= 1
    _open_missing(bulk, tcp)


cdef Flow *_begin(Bulk *bulk, Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Flow *flow = &bulk.flows[conn]
    memset(flow, 0, sizeof(Flow))
    if bulk.start_ns == 0:
        bulk.start_ns = tcp.now_ns
    bulk.open += 1
    return flow


# --- a client's plan ---

cdef void _open_missing(Bulk *bulk, Tcp *tcp) noexcept nogil:
    while bulk.opened < bulk.total and bulk.open < bulk.at_a_time:
        bulk.opened += 1
        _open_one(bulk, tcp)
    if bulk.total and bulk_over(bulk):
        bulk.total = 0                  # the plan is carried out: said once
        bulk.stopping[0] = True


cdef void _open_one(Bulk *bulk, Tcp *tcp) noexcept nogil:
    cdef Address anywhere
    cdef Flow *flow
    cdef int error = 0
    cdef uint32_t conn
    memset(&anywhere, 0, sizeof(anywhere))
    conn = tcp_connect(tcp, &anywhere, 0, &bulk.remote, bulk.port, bulk.app, 0, &error)
    if conn == NO_CONN:
        bulk.last_errno = error
        bulk.failed += 1
        return
    flow = _begin(bulk, tcp, conn)
    flow.state = OPENING
    flow.give, flow.take = bulk.up, bulk.down
    _put64(flow.head, bulk.up)
    _put64(flow.head + 8, bulk.down)
    flow.head[16] = FLAG_WAIT if bulk.wait else 0
    congestion_begin(tcp, conn, bulk.congestion)


# --- what TCP calls ---

cdef void on_accepted(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    cdef Flow *flow = _begin(<Bulk *>self, tcp, conn)
    flow.state = ASKED
    flow.serves = True
    congestion_begin(tcp, conn, (<Bulk *>self).congestion)


cdef void on_connected(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    (<Bulk *>self).flows[conn].state = MOVING
    _go_on(<Bulk *>self, tcp, conn)


cdef void on_moved(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    if (<Bulk *>self).flows[conn].state != VACANT:
        _go_on(<Bulk *>self, tcp, conn)


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    """Reset or timed out. A close in order ends in _go_on, and is not told."""
    cdef Bulk *bulk = <Bulk *>self
    if bulk.flows[conn].state == VACANT:
        return
    bulk.failed += 1
    bulk.last_errno = error
    _over(bulk, tcp, conn)


cdef uint64_t on_tick(Tcp *tcp, void *self) noexcept nogil:
    _open_missing(<Bulk *>self, tcp)
    return UINT64_MAX


cdef App bulk_app(Bulk *bulk) noexcept nogil:
    cdef App app
    memset(&app, 0, sizeof(App))
    app.self = bulk
    app.accepted = on_accepted
    app.connected = on_connected
    app.readable = app.writable = on_moved
    app.closed = on_closed
    app.tick = on_tick
    return app
