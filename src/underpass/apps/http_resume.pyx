"""Taking up HTTP connections."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from underpass.apps.file_cache cimport NO_ENTRY, Identity, NamedFile, cache_find, cache_pin, file_note
from underpass.apps.http_blocks cimport LOG_ROOM, NO_BLOCK, Block, blocks_begin, blocks_claim
from underpass.apps.http_memory cimport HttpMemory
from underpass.apps.http_path cimport PATH_OCTETS
from underpass.apps.http_request cimport HEAD_LIMIT
from underpass.apps.http_send cimport http_forget
from underpass.apps.http_state cimport HTTP_GONE, HTTP_HEAD, HTTP_LINGER, HTTP_SENDING, Http, HttpConn
from underpass.tcp.api cimport tcp_abort
from underpass.tcp.rebuild cimport rebuild_abort
from underpass.tcp.tcb cimport CLOSED, CONN_ANNOUNCED, CONN_ORPHAN, TIME_WAIT, Tcb, Tcp

cdef enum:
    FOUND = 200
    SECOND_NS = 1000000000

cdef str UNKNOWN = "the server knows nothing of it"
cdef str DAMAGED = "what the server knows of it cannot be"
cdef str CHANGED = "its file is no longer the same"


cdef inline bint is_ours(const Tcp *tcp, uint32_t conn, uint8_t app) noexcept:
    """Whether it is open, and the server has been told of it and has not let go of it."""
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    return conn < tcp.state.tcb_fresh and tcb.state != CLOSED and tcb.state != TIME_WAIT and tcb.app == app and \
        tcb.flags & (CONN_ANNOUNCED | CONN_ORPHAN) == CONN_ANNOUNCED


cdef bint block_can_be(Http *http, uint32_t conn, const HttpConn *it) noexcept:
    """Whether the connection may have its block: it is given to it then."""
    cdef const Block *block
    if it.block == NO_BLOCK:
        return True
    if it.block >= http.blocks.capacity or it.state not in (HTTP_HEAD, HTTP_SENDING):
        return False
    block = &http.blocks.blocks[it.block]
    if block.count > HEAD_LIMIT or block.sent > block.count or block.log_count > LOG_ROOM or block.request.parsed > block.count:
        return False
    return blocks_claim(&http.blocks, it.block, conn, it.state == HTTP_HEAD)


cdef bint can_be(Http *http, uint32_t conn, const HttpConn *it) noexcept:
    if it.state > HTTP_LINGER:
        return False
    if it.state == HTTP_SENDING and (it.offset > it.end or it.end - it.offset > it.body):
        return False
    if it.entry != NO_ENTRY and it.entry >= http.cache.capacity:
        return False
    return block_can_be(http, conn, it)


cdef bytes file_of(const NamedFile *it):
    return (<const char *>&it.identity)[:sizeof(Identity)] + (<const char *>it.path)[:min(it.path_octets, <uint32_t>PATH_OCTETS)]


cdef bint same_file(Tcp *tcp, Http *http, HttpConn *it, bytes noted) noexcept:
    """Whether the path still names the file that is being sent; it is pinned then."""
    cdef const uint8_t *octets = <const uint8_t *><const char *>noted
    cdef uint32_t entry = NO_ENTRY
    cdef uint32_t count = <uint32_t>len(noted) - <uint32_t>sizeof(Identity)
    if cache_find(http.cache, octets + sizeof(Identity), count, tcp.now_ns, <int64_t>tcp.now_ns + http.wall_ns, &entry) != FOUND:
        return False
    if memcmp(&http.cache.entries[entry].identity, octets, sizeof(Identity)) != 0:
        return False
    if http.cache.entries[entry].pins == 0:
        file_note(&http.files[entry], &http.cache.entries[entry])
    it.entry = entry
    cache_pin(http.cache, entry)
    return True


cdef int give_up(Tcp *tcp, Http *http, uint32_t conn, bint crashed, dict reasons, str why) except -1:
    reasons[why] = reasons.get(why, 0) + 1
    if http.conns[conn].state != HTTP_GONE:
        http_forget(tcp, http, &http.conns[conn])
    if crashed:
        rebuild_abort(tcp, conn)
    else:
        tcp_abort(tcp, conn)
    return 0


cdef dict look(Tcp *tcp, Http *http, uint8_t app, bint crashed, dict reasons):
    """Which connections there are, and what file each of them sends, where it does."""
    cdef HttpConn *it
    cdef uint32_t conn
    sending = {}
    for conn in range(min(http.capacity, tcp.state.tcb_fresh)):
        it = &http.conns[conn]
        if not is_ours(tcp, conn, app):
            it.state = HTTP_GONE
        elif it.state == HTTP_GONE:
            give_up(tcp, http, conn, crashed, reasons, UNKNOWN)
        elif not can_be(http, conn, it):
            it.state = HTTP_GONE
            give_up(tcp, http, conn, crashed, reasons, DAMAGED)
        else:
            http.open += 1
            http.high = conn + 1
            if it.state == HTTP_SENDING and it.entry != NO_ENTRY:
                sending[conn] = file_of(&http.files[it.entry])
                it.entry = NO_ENTRY
    return sending


cdef dict http_take_up(Tcp *tcp, Http *http, HttpMemory memory, uint8_t app, bint crashed):
    cdef bint believed = memory.header.taking_up == 0
    reasons = {}
    blocks_begin(&http.blocks)
    http.open = http.high = 0
    sending = look(tcp, http, app, crashed, reasons)
    memory.header.taking_up = 1
    for conn, noted in sending.items():
        if not believed or not same_file(tcp, http, &http.conns[<uint32_t>conn], noted):
            http.counters.truncated += 1
            give_up(tcp, http, conn, crashed, reasons, CHANGED)
    memory.header.taking_up = 0
    http.sweep_ns = tcp.now_ns + SECOND_NS
    return reasons
