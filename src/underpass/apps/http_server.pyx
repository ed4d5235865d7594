"""The HTTP server's way from octets received to octets sent, without Python, locks or allocation."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from underpass.apps.file_cache cimport NO_ENTRY
from underpass.apps.http_answer cimport http_answer, http_refuse
from underpass.apps.http_blocks cimport NO_BLOCK, Block, block_release
from underpass.apps.http_date cimport date_format, date_format_log
from underpass.apps.http_request cimport (
    HEAD_LIMIT, REQUEST_DONE, REQUEST_MORE, Request, request_begin, request_parse,
)
from underpass.apps.http_send cimport (
    http_abort, http_block, http_close, http_forget, http_linger, http_resume, http_send,
)
from underpass.apps.http_state cimport (
    HTTP_GONE, HTTP_HEAD, HTTP_IDLE, HTTP_LINGER, HTTP_SENDING, Http, HttpConn, Output,
)
from underpass.link.link cimport NEVER
from underpass.tcp.api cimport tcp_at_end, tcp_consume, tcp_peek, tcp_readable
from underpass.tcp.block cimport block_at_work
from underpass.tcp.tcb cimport NO_CONN, Tcp

cdef enum:
    SECOND_NS = 1000000000


# The application's callbacks

cdef void http_accepted(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """A connection begins."""
    cdef Http *http = <Http *>self
    cdef HttpConn *it = &http.conns[conn]
    memset(it, 0, sizeof(HttpConn))
    it.state = HTTP_IDLE
    it.entry = NO_ENTRY
    it.block = NO_BLOCK
    it.since_ns = tcp.now_ns
    http.open += 1
    http.counters.connections += 1
    if conn >= http.high:
        http.high = conn + 1
    if http.sweep_ns == NEVER:
        http.sweep_ns = tcp.now_ns + SECOND_NS


cdef void http_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """Octets came, or the end of the peer's stream."""
    cdef Http *http = <Http *>self
    cdef HttpConn *it = &http.conns[conn]
    if tcp.now_ns >= http.second_ends_ns:
        refresh_dates(http, tcp.now_ns)
    if it.state == HTTP_IDLE or it.state == HTTP_HEAD:
        take_requests(tcp, conn, http, it)
    elif it.state == HTTP_LINGER:
        http_linger(tcp, conn, http, it)


cdef void http_writable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """There is room in the send queue again: go on with the response, then with the requests behind it."""
    cdef Http *http = <Http *>self
    cdef HttpConn *it = &http.conns[conn]
    if it.state != HTTP_SENDING:
        return
    if tcp.now_ns >= http.second_ends_ns:
        refresh_dates(http, tcp.now_ns)
    http_resume(tcp, conn, http, it)
    if it.state == HTTP_IDLE or it.state == HTTP_HEAD:
        take_requests(tcp, conn, http, it)


cdef void http_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    """TCP is done with the connection: by reset, by timeout, or both sides have closed."""
    cdef Http *http = <Http *>self
    if http.conns[conn].state == HTTP_GONE:
        return
    if error != 0:
        http.counters.resets += 1
    http_forget(tcp, http, &http.conns[conn])


# Requests

cdef void take_requests(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    """Answer every request that is here whole, until a response has to wait for room."""
    cdef const uint8_t *at = NULL
    cdef uint32_t count
    while it.state == HTTP_IDLE or it.state == HTTP_HEAD:
        count = tcp_peek(tcp, conn, &at)
        if count == 0:
            if tcp_at_end(tcp, conn):
                http_close(tcp, conn, http, it)
            return
        if it.skip:
            skip_body(tcp, conn, it, count)
        elif it.block != NO_BLOCK:
            take_more(tcp, conn, http, it, at, count)
        else:
            take_request(tcp, conn, http, it, at, count)


cdef void take_request(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const uint8_t *at,
                       uint32_t count) noexcept nogil:
    """A request that begins in this frame: mostly it ends there too and is read in place."""
    cdef Request req
    cdef Output out
    cdef int result
    request_begin(&req)
    result = request_parse(&req, at, count)
    it.began_ns = tcp.now_ns
    if result == REQUEST_DONE:
        http_answer(tcp, conn, http, it, &req, at, &out)
        http_send(tcp, conn, http, it, &out, req.parsed)
    elif result == REQUEST_MORE:
        gather(tcp, conn, http, it, &req, at, count)
    else:
        http_refuse(tcp, conn, http, it, at, count, result, &out)
        http_send(tcp, conn, http, it, &out, 0)


cdef void gather(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const Request *req, const uint8_t *at,
                 uint32_t count) noexcept nogil:
    """The request goes on in another frame: keep its octets in a block, so that this frame becomes free."""
    cdef uint32_t which = http_block(tcp, http, conn, True)
    cdef Block *block
    if which == NO_BLOCK:
        http_abort(tcp, conn, http, it)
        return
    block = &http.blocks.blocks[which]
    memcpy(block.octets, at, count)                     # with HEAD_LIMIT octets the parser would have decided
    block.count = count
    block.request = req[0]
    it.block = which
    it.state = HTTP_HEAD
    it.since_ns = tcp.now_ns
    http.counters.gathered += 1
    tcp_consume(tcp, conn, count)


cdef void take_more(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const uint8_t *at,
                    uint32_t count) noexcept nogil:
    """More octets of a request that is being gathered; what follows it stays in the frame."""
    cdef uint32_t which = it.block
    cdef Block *block = &http.blocks.blocks[which]
    cdef uint32_t before = block.count
    cdef uint32_t taken = min(count, <uint32_t>HEAD_LIMIT - before)
    cdef Output out
    cdef int result
    memcpy(block.octets + before, at, taken)
    block.count += taken
    result = request_parse(&block.request, block.octets, block.count)
    if result == REQUEST_MORE:
        tcp_consume(tcp, conn, taken)
        return
    it.block = NO_BLOCK
    if result == REQUEST_DONE:
        http_answer(tcp, conn, http, it, &block.request, block.octets, &out)
        taken = block.request.parsed - before
    else:
        http_refuse(tcp, conn, http, it, block.octets, block.count, result, &out)
        taken = 0
    block_release(&http.blocks, which)
    http_send(tcp, conn, http, it, &out, taken)


cdef void skip_body(Tcp *tcp, uint32_t conn, HttpConn *it, uint32_t count) noexcept nogil:
    """Throw octets of a request's body away."""
    cdef uint32_t taken = <uint32_t>min(<uint64_t>count, it.skip)
    tcp_consume(tcp, conn, taken)
    it.skip -= taken
    if it.skip == 0:
        it.state = HTTP_IDLE
        it.since_ns = tcp.now_ns


# Time

cdef void refresh_dates(Http *http, uint64_t now_ns) noexcept nogil:
    """Once a second: the dates of responses and of the log."""
    cdef int64_t wall_ns = <int64_t>now_ns + http.wall_ns
    http.now_s = wall_ns // SECOND_NS
    http.second_ends_ns = now_ns + SECOND_NS - <uint64_t>(wall_ns % SECOND_NS)
    date_format(http.now_s, http.date)
    date_format_log(http.now_s, http.log_date)


cdef uint64_t http_tick(Tcp *tcp, void *self) noexcept nogil:
    """About once a second, while there are connections: look for those that have been waiting too long."""
    cdef Http *http = <Http *>self
    cdef uint32_t conn
    if tcp.now_ns < http.sweep_ns:
        return http.sweep_ns
    if tcp.now_ns >= http.second_ends_ns:
        refresh_dates(http, tcp.now_ns)
    for conn in range(http.high):                       # 64 octets each, in order: 1 ms for 100,000
        if http.conns[conn].state != HTTP_GONE:
            check_timeout(tcp, conn, http, &http.conns[conn])
    http.sweep_ns = tcp.now_ns + SECOND_NS if http.open else <uint64_t>NEVER
    return http.sweep_ns


cdef void check_timeout(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    cdef uint64_t waited = tcp.now_ns - it.since_ns
    block_at_work(tcp, conn)
    if it.state == HTTP_HEAD or (it.state == HTTP_IDLE and it.requests == 0):
        if waited >= http.limits.header_ns:
            http.counters.header_timeouts += 1
            time_out_request(tcp, conn, http, it)
    elif it.state == HTTP_IDLE:
        if waited >= http.limits.idle_ns:
            http.counters.idle_timeouts += 1
            http_close(tcp, conn, http, it)
    elif it.state == HTTP_SENDING:
        if waited >= http.limits.send_ns:
            http.counters.send_timeouts += 1
            http_abort(tcp, conn, http, it)
    elif waited >= http.limits.linger_ns:
        http.counters.linger_timeouts += 1
        http_close(tcp, conn, http, it)


cdef void time_out_request(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    """408 to a request of which a part came (RFC 9110 15.5.9); no word to who sent none."""
    cdef Block *block
    cdef uint32_t which = it.block
    cdef Output out
    if which == NO_BLOCK:
        http_close(tcp, conn, http, it)
        return
    block = &http.blocks.blocks[which]
    it.block = NO_BLOCK
    http_refuse(tcp, conn, http, it, block.octets, block.count, 408, &out)
    block_release(&http.blocks, which)
    http_send(tcp, conn, http, it, &out, 0)


cdef void http_drain(Tcp *tcp, Http *http) noexcept nogil:
    """See http_server.pxd."""
    cdef uint32_t conn
    http.draining = True
    for conn in range(http.high):
        if http.conns[conn].state == HTTP_IDLE and tcp_readable(tcp, conn) == 0:
            block_at_work(tcp, conn)
            http_close(tcp, conn, http, &http.conns[conn])
    block_at_work(tcp, NO_CONN)
