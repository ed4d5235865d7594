"""Putting down and taking up the HTTP server's connections."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from underpass.apps.file_cache cimport NO_ENTRY, Entry, Identity, cache_find, cache_pin
from underpass.apps.http_blocks cimport NO_BLOCK, Block, block_take
from underpass.apps.http_send cimport http_abort
from underpass.apps.http_state cimport HTTP_GONE, HTTP_HEAD, HTTP_SENDING, Http, HttpConn
from underpass.tcp.tcb cimport Tcp

cdef enum:
    FOUND = 200
    SECOND_NS = 1000000000

LAYOUT = (sizeof(Parked) << 40) + (sizeof(ParkedHeader) << 24) + sizeof(Block)


cdef bytes http_park(Http *http):
    cdef ParkedHeader header
    cdef uint32_t conn
    memset(&header, 0, sizeof(header))
    header.layout = LAYOUT
    header.counters = http.counters
    rows = []
    for conn in range(http.high):
        if http.conns[conn].state != HTTP_GONE:
            rows.append(parked(http, conn))
            header.count += 1
    return (<const char *>&header)[:sizeof(header)] + b"".join(rows)


cdef bytes parked(Http *http, uint32_t conn):
    cdef Parked row
    cdef Entry *entry = NULL
    memset(&row, 0, sizeof(row))
    row.conn = conn
    row.it = http.conns[conn]
    path = block = b""
    if row.it.state == HTTP_SENDING and row.it.entry != NO_ENTRY:
        entry = &http.cache.entries[row.it.entry]
        path = (<const char *>entry.path)[:entry.path_octets]
        row.identity = entry.identity
    if row.it.block != NO_BLOCK:
        block = (<const char *>&http.blocks.blocks[row.it.block])[:sizeof(Block)]
    row.path_octets, row.block_octets = <uint32_t>len(path), <uint32_t>len(block)
    return (<const char *>&row)[:sizeof(row)] + path + block


cdef int http_take_up(Tcp *tcp, Http *http, const unsigned char[::1] octets) except -1:
    cdef ParkedHeader header
    cdef Parked row
    cdef uint64_t at = sizeof(header)
    cdef uint64_t number, behind
    if <uint64_t>octets.shape[0] < at:
        raise ValueError(f"{octets.shape[0]} octets are no parked connections")
    memcpy(&header, &octets[0], sizeof(header))
    if header.layout != LAYOUT:
        raise ValueError("the connections were parked by another version of the HTTP server")
    http.counters = header.counters
    for number in range(header.count):
        behind = at + sizeof(row)
        if behind > <uint64_t>octets.shape[0]:
            raise ValueError(f"the parked connections end at {octets.shape[0]} octets, within one")
        memcpy(&row, &octets[at], sizeof(row))
        at = behind + row.path_octets + row.block_octets
        if at > <uint64_t>octets.shape[0] or row.conn >= http.capacity or row.block_octets not in (0, sizeof(Block)):
            raise ValueError(f"parked connection {number} is damaged")
        take_up(tcp, http, &row, &octets[0] + behind)
    return 0


cdef void take_up(Tcp *tcp, Http *http, const Parked *row, const uint8_t *behind) noexcept:
    cdef HttpConn *it = &http.conns[row.conn]
    it[0] = row.it
    it.entry = NO_ENTRY
    it.block = NO_BLOCK
    http.open += 1
    http.high = max(http.high, row.conn + 1)
    http.sweep_ns = tcp.now_ns + SECOND_NS
    if row.block_octets:
        it.block = block_take(&http.blocks, row.conn, it.state == HTTP_HEAD)
        if it.block != NO_BLOCK:
            memcpy(&http.blocks.blocks[it.block], behind + row.path_octets, sizeof(Block))
    if row.path_octets and not same_file(tcp, http, it, row, behind):
        http.counters.truncated += 1
        http_abort(tcp, row.conn, http, it)


cdef bint same_file(Tcp *tcp, Http *http, HttpConn *it, const Parked *row, const uint8_t *path) noexcept:
    """Whether the path still names the file that is being sent; it is pinned then."""
    cdef uint32_t entry = NO_ENTRY
    if cache_find(http.cache, path, row.path_octets, tcp.now_ns, <int64_t>tcp.now_ns + http.wall_ns, &entry) != FOUND:
        return False
    if memcmp(&http.cache.entries[entry].identity, &row.identity, sizeof(Identity)) != 0:
        return False
    it.entry = entry
    cache_pin(http.cache, entry)
    return True
