"""What the load generator does when TCP calls: connections, requests, answers, and the schedule."""
from libc.errno cimport EADDRNOTAVAIL, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, errno
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.unistd cimport write

from underpass.apps.histogram cimport histogram_record
from underpass.apps.load_response cimport (
    RESPONSE_CLOSE,
    RESPONSE_DONE,
    RESPONSE_MALFORMED,
    Response,
    response_end,
    response_in_body,
    response_start,
    response_take,
)
from underpass.tcp.api cimport (
    tcp_abort,
    tcp_at_end,
    tcp_close,
    tcp_connect,
    tcp_consume,
    tcp_peek,
    tcp_write,
)
from underpass.tcp.tcb cimport NO_CONN, App, Tcp
from underpass.wire.address cimport Address


cdef inline uint64_t failed(const Load *load) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint32_t kind
    for kind in range(FAILURES):
        total += load.failures[kind]
    return total


cdef inline bint may_issue(const Load *load) noexcept nogil:
    return not load.over and (load.request_limit == 0 or load.issued < load.request_limit)


cdef inline uint64_t due_at(const Load *load) noexcept nogil:
    """When the next request of the schedule is due."""
    return load.start_ns + <uint64_t>(load.period_ns * load.issued)


cdef void finish(Load *load, uint64_t now_ns) noexcept nogil:
    if not load.over:
        load.over = True
        load.end_ns = now_ns
    load.stopping[0] = True


cdef void finish_if_done(Load *load, uint64_t now_ns) noexcept nogil:
    if load.request_limit and load.answered + failed(load) >= load.request_limit:
        finish(load, now_ns)


# --- connections ---

cdef void open_missing(Load *load, Tcp *tcp) noexcept nogil:
    """Keep as many connections open as were asked for; where they do not stay open, one for each request."""
    while (load.open < load.connections and load.opening < MAX_OPENING and may_issue(load)
           and tcp.now_ns >= load.retry_ns):
        if not load.keep_alive and load.period_ns > 0 and due_at(load) > tcp.now_ns:
            return
        if load.keep_alive and load.request_limit and load.open >= load.request_limit - load.issued:
            return
        if not open_one(load, tcp):
            return


cdef bint open_one(Load *load, Tcp *tcp) noexcept nogil:
    cdef int error = 0
    cdef uint32_t conn
    cdef Exchange *exchange
    cdef Address *source = &load.sources[load.source_next]
    load.source_next = (load.source_next + 1) % load.source_count
    conn = tcp_connect(tcp, source, 0, &load.remote, load.port, load.app, 0, &error)
    if conn == NO_CONN:
        connect_failed(load, tcp, error)
        return False
    exchange = &load.exchanges[conn]
    exchange.state = OPENING
    exchange.due_ns = tcp.now_ns
    load.open += 1
    load.opening += 1
    if not load.keep_alive:                         # its request begins with the connection
        if load.period_ns > 0:
            exchange.due_ns = due_at(load)
        load.issued += 1
    return True


cdef void connect_failed(Load *load, Tcp *tcp, int error) noexcept nogil:
    if error == ECONNREFUSED or error == ECONNRESET:
        load.failures[FAILED_REFUSED] += 1
    elif error == EHOSTUNREACH or error == ENETUNREACH or error == ETIMEDOUT:
        load.failures[FAILED_UNREACHABLE] += 1
    elif error == EADDRNOTAVAIL:
        load.failures[FAILED_NO_PORT] += 1
    else:
        load.failures[FAILED_CONNECT] += 1
    load.last_errno = error
    load.retry_ns = tcp.now_ns + RETRY_NS
    if load.established == 0 and failed(load) >= load.connections:
        finish(load, tcp.now_ns)                    # nobody is there: say so instead of trying on
    finish_if_done(load, tcp.now_ns)


cdef void vacate(Load *load, uint32_t conn) noexcept nogil:
    """The connection is gone, or about to be."""
    if load.exchanges[conn].state == OPENING:
        load.opening -= 1
    elif load.exchanges[conn].state == IDLE:
        unlist_idle(load, conn)
    load.exchanges[conn].state = VACANT
    load.open -= 1


cdef void list_idle(Load *load, uint32_t conn) noexcept nogil:
    """At the end, so that an open loop uses all connections in turn."""
    cdef Exchange *exchange = &load.exchanges[conn]
    exchange.state = IDLE
    exchange.idle_next = NO_CONN
    exchange.idle_prev = load.idle_tail
    if load.idle_tail != NO_CONN:
        load.exchanges[load.idle_tail].idle_next = conn
    else:
        load.idle_head = conn
    load.idle_tail = conn


cdef void unlist_idle(Load *load, uint32_t conn) noexcept nogil:
    cdef const Exchange *exchange = &load.exchanges[conn]
    if exchange.idle_prev != NO_CONN:
        load.exchanges[exchange.idle_prev].idle_next = exchange.idle_next
    else:
        load.idle_head = exchange.idle_next
    if exchange.idle_next != NO_CONN:
        load.exchanges[exchange.idle_next].idle_prev = exchange.idle_prev
    else:
        load.idle_tail = exchange.idle_prev


# --- requests ---

cdef void send_request(Load *load, Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Exchange *exchange = &load.exchanges[conn]
    exchange.state = BUSY
    exchange.sent = 0
    response_start(&exchange.response, load.to_head)
    send_rest(load, tcp, conn)


cdef void send_rest(Load *load, Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Exchange *exchange = &load.exchanges[conn]
    if exchange.sent < load.request_bytes:
        exchange.sent += tcp_write(tcp, conn, load.request + exchange.sent,
                                   load.request_bytes - exchange.sent)


cdef void next_request(Load *load, Tcp *tcp, uint32_t conn) noexcept nogil:
    """The connection is free: send what is due on it, or let it wait for the schedule."""
    if not may_issue(load):
        vacate(load, conn)
        tcp_close(tcp, conn)
    elif load.period_ns > 0 and due_at(load) > tcp.now_ns:
        list_idle(load, conn)
    else:
        load.exchanges[conn].due_ns = due_at(load) if load.period_ns > 0 else tcp.now_ns
        load.issued += 1
        send_request(load, tcp, conn)


cdef void send_due(Load *load, Tcp *tcp) noexcept nogil:
    """Open loop: what the schedule asks for, on connections that are free."""
    cdef uint32_t conn
    while load.idle_head != NO_CONN and may_issue(load) and due_at(load) <= tcp.now_ns:
        conn = load.idle_head
        unlist_idle(load, conn)
        load.exchanges[conn].state = BUSY
        next_request(load, tcp, conn)


cdef void request_failed(Load *load, Tcp *tcp, uint32_t conn, uint32_t kind) noexcept nogil:
    load.failures[kind] += 1
    vacate(load, conn)
    tcp_abort(tcp, conn)
    finish_if_done(load, tcp.now_ns)
    open_missing(load, tcp)


cdef void answer_complete(Load *load, Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Exchange *exchange = &load.exchanges[conn]
    histogram_record(&load.latency, tcp.now_ns - exchange.due_ns)
    load.answered += 1
    load.statuses[min(exchange.response.status // 100, 5)] += 1
    finish_if_done(load, tcp.now_ns)
    if load.keep_alive and not exchange.response.flags & RESPONSE_CLOSE and not tcp_at_end(tcp, conn):
        next_request(load, tcp, conn)
        return
    vacate(load, conn)
    tcp_close(tcp, conn)
    open_missing(load, tcp)


# --- answers ---

cdef bint put_out(Load *load, const uint8_t *octets, uint32_t count) noexcept nogil:
    """Write to the output, all of it."""
    cdef ssize_t done
    while count:
        done = write(load.output, octets, count)
        if done < 0:
            load.last_errno = errno
            return False
        octets += done
        count -= <uint32_t>done
    return True


cdef uint32_t take_octets(Load *load, Response *response, const uint8_t *octets,
                          uint32_t count) noexcept nogil:
    """Give one run of octets to the answer; returns how many belong to it."""
    cdef uint32_t at = 0
    cdef uint32_t used
    cdef bint body
    while at < count:
        body = response_in_body(response)
        used = response_take(response, octets + at, count - at)
        if used == 0:
            break
        if body and load.output >= 0 and not put_out(load, octets + at, used):
            load.failures[FAILED_OUTPUT] += 1
            load.over = load.stopping[0] = True
        at += used
    return at


cdef void on_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    cdef Load *load = <Load *>self
    cdef Exchange *exchange = &load.exchanges[conn]
    cdef const uint8_t *octets = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &octets)
    while count:
        if exchange.state != BUSY:                  # octets that no request asked for
            request_failed(load, tcp, conn, FAILED_MALFORMED)
            return
        load.octets += count
        count = take_octets(load, &exchange.response, octets, count)
        tcp_consume(tcp, conn, count)
        if exchange.response.state == RESPONSE_MALFORMED:
            request_failed(load, tcp, conn, FAILED_MALFORMED)
            return
        if exchange.response.state == RESPONSE_DONE:
            answer_complete(load, tcp, conn)
            if exchange.state == VACANT or exchange.state == OPENING:
                return                              # closed; the index may already be another connection's
        count = tcp_peek(tcp, conn, &octets)
    if tcp_at_end(tcp, conn):
        on_end(load, tcp, conn)


cdef void on_end(Load *load, Tcp *tcp, uint32_t conn) noexcept nogil:
    """The server sends no more."""
    cdef Exchange *exchange = &load.exchanges[conn]
    if exchange.state == BUSY:
        response_end(&exchange.response)
        if exchange.response.state == RESPONSE_DONE:
            answer_complete(load, tcp, conn)
        else:
            request_failed(load, tcp, conn, FAILED_CUT_OFF)
    elif exchange.state == IDLE:
        vacate(load, conn)
        tcp_close(tcp, conn)
        open_missing(load, tcp)


# --- what TCP tells ---

cdef void on_accepted(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """Never: it does not listen."""


cdef void on_connected(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    cdef Load *load = <Load *>self
    load.opening -= 1
    load.established += 1
    load.exchanges[conn].state = BUSY
    histogram_record(&load.connecting, tcp.now_ns - load.exchanges[conn].due_ns)
    if load.keep_alive:
        next_request(load, tcp, conn)
    else:
        send_request(load, tcp, conn)
    open_missing(load, tcp)


cdef void on_writable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    cdef Load *load = <Load *>self
    if load.exchanges[conn].state == BUSY:
        send_rest(load, tcp, conn)


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    """Reset or timed out, by the peer or by TCP."""
    cdef Load *load = <Load *>self
    cdef uint8_t before = load.exchanges[conn].state
    if before == VACANT:
        return
    vacate(load, conn)
    if before == OPENING:
        connect_failed(load, tcp, error)
    elif before == BUSY:
        load.last_errno = error
        load.failures[FAILED_TIMEOUT if error == ETIMEDOUT else FAILED_RESET] += 1
        finish_if_done(load, tcp.now_ns)
    open_missing(load, tcp)


cdef uint64_t on_tick(Tcp *tcp, void *self) noexcept nogil:
    cdef Load *load = <Load *>self
    if load.over:
        return UINT64_MAX
    if not load.started:
        load.started = True
        load.start_ns = tcp.now_ns
        load.end_ns = tcp.now_ns + load.duration_ns if load.duration_ns else UINT64_MAX
        load.scan_ns = tcp.now_ns + SCAN_NS
    if tcp.now_ns >= load.end_ns:
        finish(load, tcp.now_ns)
        return UINT64_MAX
    open_missing(load, tcp)
    if load.period_ns > 0:
        send_due(load, tcp)
    if tcp.now_ns >= load.scan_ns:
        time_out(load, tcp)
    return next_tick(load, tcp)


cdef uint64_t next_tick(const Load *load, const Tcp *tcp) noexcept nogil:
    """When the schedule, the end, or a connection to be tried again wants a turn. What happens later in this
    turn may free a connection, so a request that is due soon counts whether or not there is one for it now.
    """
    cdef uint64_t at = min(load.end_ns, tcp.now_ns + RETRY_NS)
    cdef uint64_t due_ns = due_at(load) if load.period_ns > 0 else 0
    return due_ns if tcp.now_ns < due_ns < at else at


cdef void time_out(Load *load, Tcp *tcp) noexcept nogil:
    """Give up what has taken longer than the limit."""
    cdef uint32_t conn
    cdef uint8_t state
    load.scan_ns = tcp.now_ns + SCAN_NS
    for conn in range(load.exchange_count):
        state = load.exchanges[conn].state
        if state == VACANT or state == IDLE or tcp.now_ns < load.exchanges[conn].due_ns + load.timeout_ns:
            continue
        if state == BUSY:
            request_failed(load, tcp, conn, FAILED_TIMEOUT)
        else:
            vacate(load, conn)
            tcp_abort(tcp, conn)
            connect_failed(load, tcp, ETIMEDOUT)


cdef App load_app(Load *load) noexcept nogil:
    cdef App app
    memset(&app, 0, sizeof(App))
    app.self = load
    app.accepted = on_accepted
    app.connected = on_connected
    app.readable = on_readable
    app.writable = on_writable
    app.closed = on_closed
    app.tick = on_tick
    return app


cdef void load_close(Load *load, Tcp *tcp) noexcept nogil:
    cdef uint32_t conn
    load.over = True
    for conn in range(load.exchange_count):
        if load.exchanges[conn].state == IDLE:
            tcp_close(tcp, conn)
        elif load.exchanges[conn].state != VACANT:
            tcp_abort(tcp, conn)
        load.exchanges[conn].state = VACANT
    load.open = load.opening = 0
    load.idle_head = load.idle_tail = NO_CONN
