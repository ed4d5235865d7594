"""Copying responses into the send queue, as room allows, and ending connections so that the peer gets all of
them.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.apps.file_cache cimport NO_ENTRY, Entry, cache_pin, cache_read, cache_unpin, file_note
from underpass.apps.http_blocks cimport NO_BLOCK, Block, block_release, block_take, blocks_oldest
from underpass.apps.http_log cimport log_finish
from underpass.apps.http_state cimport (
    HTTP_CLOSES, HTTP_GONE, HTTP_HEAD, HTTP_IDLE, HTTP_LINGER, HTTP_LINGERS, HTTP_SENDING, STAGE, Http, HttpConn,
    HttpCounters, Output,
)
from underpass.link.link cimport NEVER
from underpass.tcp.api cimport (
    tcp_abort, tcp_at_end, tcp_close, tcp_commit, tcp_consume, tcp_readable, tcp_reserve, tcp_room,
    tcp_shutdown,
)
from underpass.tcp.tcb cimport Tcp

cdef enum Pushed:
    PUSHED_ALL = 0
    PUSHED_SOME = 1             # the send queue is full
    PUSH_FAILED = 2             # the file has become shorter than the response said


cdef void http_send(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, Output *out,
                    uint32_t taken) noexcept nogil:
    """See http_send.pxd."""
    cdef int pushed = push(tcp, conn, http, it, out)
    if taken:
        tcp_consume(tcp, conn, taken)
    if pushed != PUSHED_SOME:
        finish(tcp, conn, http, it, pushed)
        return
    it.state = HTTP_SENDING
    it.since_ns = tcp.now_ns
    http.counters.deferred += 1
    if it.entry != NO_ENTRY:
        if http.cache.entries[it.entry].pins == 0:
            file_note(&http.files[it.entry], &http.cache.entries[it.entry])
        cache_pin(http.cache, it.entry)
    if out.count or http.log != NULL:
        defer(tcp, conn, http, it, out)


cdef void http_resume(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    """See http_send.pxd."""
    cdef Output out
    cdef Block *block = NULL
    cdef int pushed
    out.head = NULL
    out.count = 0
    if it.block != NO_BLOCK:
        block = &http.blocks.blocks[it.block]
        out.head = block.octets + block.sent
        out.count = block.count - block.sent
    pushed = push(tcp, conn, http, it, &out)
    it.since_ns = tcp.now_ns
    if pushed != PUSHED_SOME:
        finish(tcp, conn, http, it, pushed)
    elif block != NULL:
        block.sent = block.count - out.count


cdef void defer(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const Output *out) noexcept nogil:
    """Keep what is left of the head, and the log's line, in a block."""
    cdef uint32_t which = http_block(tcp, http, conn, False)
    cdef Block *block
    if which == NO_BLOCK:
        if out.count:
            http_abort(tcp, conn, http, it)
        return
    block = &http.blocks.blocks[which]
    memcpy(block.octets, out.head, out.count)
    block.count = out.count
    if http.log != NULL:
        memcpy(block.log, http.line, http.line_count)
        block.log_count = http.line_count
    it.block = which


cdef int push(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, Output *out) noexcept nogil:
    """Fill the send queue with the head's rest and the file's, segment by segment."""
    cdef uint8_t *at = NULL
    cdef uint32_t room, filled
    out.staged_count = 0
    while out.count or it.offset < it.end:
        room = tcp_reserve(tcp, conn, &at)
        if room == 0:
            return PUSHED_SOME
        filled = fill(tcp, conn, http, it, out, at, room)
        tcp_commit(tcp, conn, filled)
        if filled == 0:
            return PUSH_FAILED
    return PUSHED_ALL


cdef inline uint32_t fill(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, Output *out, uint8_t *at,
                          uint32_t room) noexcept nogil:
    """Octets written at `at`; 0: the file gave fewer than it should."""
    cdef uint32_t filled = min(out.count, room)
    cdef uint32_t body
    memcpy(at, out.head, filled)
    out.head += filled
    out.count -= filled
    body = <uint32_t>min(<uint64_t>(room - filled), it.end - it.offset)
    if body == 0:
        return filled
    body = fill_body(tcp, conn, http, it, out, at + filled, body)
    if body == 0:
        http.counters.truncated += 1
        return 0
    it.offset += body
    return filled + body


cdef uint32_t fill_body(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, Output *out, uint8_t *at,
                        uint32_t count) noexcept nogil:
    """Up to `count` octets of the file; 0: it has become shorter."""
    cdef const Entry *entry = &http.cache.entries[it.entry]
    if entry.body != NULL:
        memcpy(at, entry.body + it.offset, count)
        return count
    if out.staged_count == 0 and not stage(tcp, conn, http, it, out):
        return 0
    count = min(count, out.staged_count)
    memcpy(at, out.staged, count)
    out.staged += count
    out.staged_count -= count
    return count


cdef bint stage(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, Output *out) noexcept nogil:
    """One read for all the segments that the send queue takes now: a read costs more than copying a segment."""
    cdef uint64_t wanted = min(min(<uint64_t>tcp_room(tcp, conn), <uint64_t>STAGE), it.end - it.offset)
    out.staged = http.stage
    out.staged_count = <uint32_t>wanted
    return cache_read(&http.cache.entries[it.entry], it.offset, http.stage, out.staged_count) == wanted


cdef void finish(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, int pushed) noexcept nogil:
    """The response is in the send queue, or cannot be completed: then the peer must see that (RFC 9112 8)."""
    settle(tcp, http, it)
    if pushed == PUSH_FAILED:
        http_abort(tcp, conn, http, it)
    elif it.flags & HTTP_CLOSES or (http.draining and tcp_readable(tcp, conn) == 0):
        end(tcp, conn, http, it)        # a response promised more before the server was to stop
    else:
        it.state = HTTP_HEAD if it.skip else HTTP_IDLE
        it.since_ns = tcp.now_ns


cdef void settle(Tcp *tcp, Http *http, HttpConn *it) noexcept nogil:
    """Count and log a response, as far as it went, and give back what it held."""
    cdef uint64_t sent = it.body - (it.end - it.offset)
    cdef bint was_deferred = it.state == HTTP_SENDING
    http.counters.body_bytes += sent
    count_status(http.counters, it.status)
    if http.log != NULL:
        log_settled(tcp, http, it, sent, was_deferred)
    if was_deferred:
        if it.block != NO_BLOCK:
            block_release(&http.blocks, it.block)
            it.block = NO_BLOCK
        if it.entry != NO_ENTRY:
            cache_unpin(http.cache, it.entry)
    it.entry = NO_ENTRY
    it.state = HTTP_IDLE


cdef void log_settled(Tcp *tcp, Http *http, HttpConn *it, uint64_t sent, bint was_deferred) noexcept nogil:
    """The line is with the request in work, or was put aside with the response. Without a block it is lost:
    counted.
    """
    cdef uint64_t took_us = (tcp.now_ns - it.began_ns) // 1000
    cdef Block *block
    if not was_deferred:
        log_finish(http.log, http.line, http.line_count, sent, took_us)
    elif it.block != NO_BLOCK:
        block = &http.blocks.blocks[it.block]
        log_finish(http.log, block.log, block.log_count, sent, took_us)
    else:
        http.log.dropped += 1


cdef inline void count_status(HttpCounters *counters, uint16_t status) noexcept nogil:
    if status < 300:
        counters.responses_2xx += 1
    elif status < 400:
        counters.responses_3xx += 1
    elif status < 500:
        counters.responses_4xx += 1
    else:
        counters.responses_5xx += 1


# Endings

cdef void end(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    """After the last response. Where the peer may still be sending, wait for it: a reset for octets that
    nobody reads could take the response away from it (RFC 9112 9.6).
    """
    it.skip = 0
    if not it.flags & HTTP_LINGERS and tcp_readable(tcp, conn) == 0:
        http_close(tcp, conn, http, it)
        return
    tcp_shutdown(tcp, conn)
    it.state = HTTP_LINGER
    it.since_ns = tcp.now_ns
    http_linger(tcp, conn, http, it)


cdef void http_linger(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    """Throw away what comes."""
    cdef uint32_t waiting = tcp_readable(tcp, conn)
    if waiting:
        tcp_consume(tcp, conn, waiting)
    if tcp_at_end(tcp, conn):
        http_close(tcp, conn, http, it)


cdef void http_close(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    http_forget(tcp, http, it)
    tcp_close(tcp, conn)


cdef void http_abort(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it) noexcept nogil:
    http_forget(tcp, http, it)
    tcp_abort(tcp, conn)


cdef void http_forget(Tcp *tcp, Http *http, HttpConn *it) noexcept nogil:
    """The connection is no longer ours: give back what it held."""
    if it.state == HTTP_SENDING:
        settle(tcp, http, it)
    elif it.block != NO_BLOCK:
        block_release(&http.blocks, it.block)
    it.state = HTTP_GONE
    it.block = NO_BLOCK
    http.open -= 1
    if http.open == 0:
        http.high = 0
        http.sweep_ns = NEVER


cdef uint32_t http_block(Tcp *tcp, Http *http, uint32_t conn, bint gathering) noexcept nogil:
    """A block; where all are in use, the one of the slowest request, whose connection is given up for it."""
    cdef uint32_t block = block_take(&http.blocks, conn, gathering)
    if block != NO_BLOCK:
        return block
    http.counters.no_block += 1
    cdef uint32_t slowest = blocks_oldest(&http.blocks)
    if slowest == NO_BLOCK:
        return NO_BLOCK
    http_abort(tcp, slowest, http, &http.conns[slowest])
    return block_take(&http.blocks, conn, gathering)
