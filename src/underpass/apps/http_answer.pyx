"""Answering requests: the file that a path names, what the request's conditions make of it, and errors."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from underpass.apps.file_cache cimport DATE_AT, NO_ENTRY, Entry, cache_find
from underpass.apps.http_conditions cimport Representation, Selection, select
from underpass.apps.http_date cimport DATE_OCTETS
from underpass.apps.http_log cimport log_request
from underpass.apps.http_path cimport PATH_BAD, PATH_OCTETS, path_decode
from underpass.apps.http_request cimport (
    METHOD_GET, METHOD_REFUSED, REQUEST_CHUNKED, REQUEST_CONDITIONS, REQUEST_PLAIN_PATH, Request,
    request_persists,
)
from underpass.apps.http_response cimport (
    CLOSES, PERSISTS, PERSISTS_1_0, RESPONSE_ROOM, put_error, put_file, put_redirect,
)
from underpass.apps.http_state cimport HTTP_CLOSES, HTTP_LINGERS, Http, HttpConn, Output
from underpass.apps.http_text cimport Text, text_begin
from underpass.tcp.tcb cimport Tcp

cdef enum:
    SECOND_NS = 1000000000
    TOGETHER = 4096             # head and body up to this size are copied as one


cdef void http_answer(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const Request *req,
                      const uint8_t *at,
                 Output *out) noexcept nogil:
    """Decide on the response: its head into `out`, its part of a file into the connection."""
    cdef int persistence = persistence_of(http, it, req)
    it.entry = NO_ENTRY
    it.offset = it.end = it.body = 0
    it.requests += 1
    it.skip = req.content_length if persistence != CLOSES else 0
    it.flags = 0
    if persistence == CLOSES:
        it.flags = HTTP_CLOSES if not request_persists(req) else HTTP_CLOSES | HTTP_LINGERS
        if req.content_length or req.flags & REQUEST_CHUNKED:
            it.flags |= HTTP_LINGERS
    http.counters.requests += 1
    if req.method >= METHOD_REFUSED:
        answer_error(http, it, 405 if req.method == METHOD_REFUSED else 501, persistence, True, out)
    else:
        answer_path(tcp, http, it, req, at, persistence, out)
    if http.log != NULL:
        http.line_count = log_request(tcp, conn, http.log_date, at + req.line.at, req.line.count, it.status,
                                      http.line)


cdef int persistence_of(const Http *http, const HttpConn *it, const Request *req) noexcept nogil:
    """Whether the connection stays, and how that is said."""
    if not request_persists(req) or http.draining or req.content_length > http.limits.skip_octets:
        return CLOSES
    if http.limits.requests and it.requests + 1 >= http.limits.requests:
        return CLOSES
    return PERSISTS if req.minor >= 1 else PERSISTS_1_0


cdef void answer_error(Http *http, HttpConn *it, int status, int persistence, bint with_body,
                       Output *out) noexcept nogil:
    cdef Text text
    text_begin(&text, http.head, RESPONSE_ROOM)
    put_error(&text, status, http.date, persistence, with_body)
    it.status = <uint16_t>status
    out.head = http.head
    out.count = text.count


cdef void answer_path(Tcp *tcp, Http *http, HttpConn *it, const Request *req, const uint8_t *at,
                      int persistence,
                      Output *out) noexcept nogil:
    """GET and HEAD: find the file."""
    cdef const uint8_t *key = NULL
    cdef bint with_body = req.method == METHOD_GET
    cdef Text text
    cdef int32_t count = key_of(http, req, at, &key)
    cdef int status
    if count < 0:
        answer_error(http, it, 400 if count == PATH_BAD else 414, persistence, with_body, out)
        return
    status = cache_find(http.cache, key, <uint32_t>count, tcp.now_ns, <int64_t>tcp.now_ns + http.wall_ns,
                        &it.entry)
    if status == 200:
        answer_file(http, it, req, at, persistence, out)
    elif status == 301:
        text_begin(&text, http.head, RESPONSE_ROOM)
        put_redirect(&text, key, <uint32_t>count, at + req.query.at, req.query.count, http.date, persistence,
                     with_body)
        it.status = 301
        out.head = http.head
        out.count = text.count
    else:
        answer_error(http, it, status, persistence, with_body, out)


cdef int32_t key_of(Http *http, const Request *req, const uint8_t *at, const uint8_t **key) noexcept nogil:
    """The decoded path's octets, in the request itself where nothing is to be decoded; or PATH_BAD,
    PATH_LONG.
    """
    if req.flags & REQUEST_PLAIN_PATH and 0 < req.path.count <= PATH_OCTETS:
        key[0] = at + req.path.at + 1
        return req.path.count - 1
    key[0] = http.key
    return path_decode(at + req.path.at, req.path.count, http.key)


cdef void answer_file(Http *http, HttpConn *it, const Request *req, const uint8_t *at, int persistence,
                      Output *out) noexcept nogil:
    """A file that is there. The common case, the whole of it on a connection that stays, has its head ready.
    """
    cdef Entry *entry = &http.cache.entries[it.entry]
    cdef Selection choice
    cdef Text text
    choice.status = 200
    choice.first = 0
    choice.end = entry.identity.size
    if req.flags & REQUEST_CONDITIONS:
        choice = select_for(http, entry, req, at)
    it.status = <uint16_t>choice.status
    if req.method == METHOD_GET and (choice.status == 200 or choice.status == 206):
        it.offset = choice.first
        it.end = choice.end
        it.body = choice.end - choice.first
    if choice.status == 200 and persistence == PERSISTS:
        use_ready_head(http, it, entry, out)
        return
    text_begin(&text, http.head, RESPONSE_ROOM)
    put_file(&text, entry, &choice, http.date, persistence, req.method == METHOD_GET)
    out.head = http.head
    out.count = text.count


cdef Selection select_for(const Http *http, const Entry *entry, const Request *req,
                          const uint8_t *at) noexcept nogil:
    cdef Representation file
    file.etag = entry.head + entry.etag_at
    file.etag_octets = entry.etag_octets
    file.modified_s = entry.identity.modified_ns // SECOND_NS
    file.size = entry.identity.size
    return select(req, at, &file, http.now_s)


cdef inline void use_ready_head(const Http *http, HttpConn *it, Entry *entry, Output *out) noexcept nogil:
    """The entry's own head, its date brought up to date once a second; a small body lies right behind it."""
    if entry.dated_s != http.now_s:
        memcpy(entry.head + DATE_AT, http.date, DATE_OCTETS)
        entry.dated_s = http.now_s
    out.head = entry.head
    out.count = entry.head_octets
    if entry.body != NULL and it.end != 0 and it.end + entry.head_octets <= TOGETHER:
        out.count += <uint32_t>it.end
        it.offset = it.end


cdef void http_refuse(Tcp *tcp, uint32_t conn, Http *http, HttpConn *it, const uint8_t *at, uint32_t count,
                      int status,
                 Output *out) noexcept nogil:
    """What is no request is answered once; nothing behind it can be trusted to be one (RFC 9112 9.2)."""
    cdef uint32_t line = 0
    it.entry = NO_ENTRY
    it.offset = it.end = it.body = it.skip = 0
    it.flags = HTTP_CLOSES | HTTP_LINGERS
    http.counters.malformed += 1
    answer_error(http, it, status, CLOSES, True, out)
    if http.log != NULL:
        while line < count and at[line] != c"\r" and at[line] != c"\n":
            line += 1
        http.line_count = log_request(tcp, conn, http.log_date, at, line, it.status, http.line)
