"""HTTP requests, in two parts: the first octets say where the cut is. Then what a server does with what was found."""
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memchr, memcmp, memcpy

from driver cimport fuzz_target
from underpass.apps.http_conditions cimport Representation, Selection, select
from underpass.apps.http_path cimport PATH_OCTETS, path_decode, path_encode
from underpass.apps.http_request cimport (
    HEAD_LIMIT, REQUEST_DONE, REQUEST_MORE, REQUEST_PLAIN_PATH, Request, Span, request_begin, request_parse,
)


cdef void check_span(Span span, uint32_t within) noexcept nogil:
    if <uint32_t>span.at + span.count > within:
        abort()


cdef void check_path(const Request *req, const uint8_t *at) noexcept nogil:
    """A plain path is its own decoding; no decoded path climbs; encoding goes back."""
    cdef uint8_t[PATH_OCTETS] decoded
    cdef uint8_t[3 * PATH_OCTETS] encoded
    cdef int32_t count = path_decode(at + req.path.at, req.path.count, decoded)
    if count < 0:
        return
    if count > PATH_OCTETS or path_encode(decoded, <uint32_t>count, encoded) > 3 * <uint32_t>count:
        abort()
    if count >= 3 and memcmp(decoded, b"../", 3) == 0:
        abort()
    if memchr(decoded, 0, count) != NULL:
        abort()
    if req.flags & REQUEST_PLAIN_PATH and req.path.count > 0:
        if count != req.path.count - 1 or memcmp(decoded, at + req.path.at + 1, count) != 0:
            abort()


cdef void check_found(const Request *req, const uint8_t *at, uint32_t size) noexcept nogil:
    cdef Representation file
    cdef Selection choice
    cdef uint32_t i
    if req.parsed > size or req.parsed > HEAD_LIMIT:
        abort()
    check_span(req.line, req.parsed)
    check_span(req.path, req.parsed)
    check_span(req.query, req.parsed)
    for i in range(6):
        check_span(req.conditions[i], req.parsed)
    check_path(req, at)
    file.etag = b'"a"'
    file.etag_octets = 3
    file.modified_s = 784111777
    file.size = 100
    choice = select(req, at, &file, 1700000000)
    if choice.first > choice.end or choice.end > 100:
        abort()


cdef int parse_copy(Request *req, const uint8_t *data, uint32_t size) noexcept nogil:
    """From memory of just that size."""
    cdef uint8_t *copy = <uint8_t *>malloc(size if size else 1)
    cdef int result
    if copy == NULL:
        abort()
    memcpy(copy, data, size)
    result = request_parse(req, copy, size)
    if result == REQUEST_DONE:
        check_found(req, copy, size)
    free(copy)
    return result


cdef void parse(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef Request whole
    cdef Request parts
    cdef uint32_t cut
    cdef int at_once, in_parts
    if size < 2 or size > 2 + HEAD_LIMIT:
        return
    cut = (<uint32_t>data[0] << 8 | data[1]) % (size - 1)
    data += 2
    size -= 2
    request_begin(&whole)
    at_once = parse_copy(&whole, data, size)
    request_begin(&parts)
    in_parts = parse_copy(&parts, data, cut)
    if in_parts == REQUEST_MORE:
        in_parts = parse_copy(&parts, data, size)
    if at_once == REQUEST_DONE and (in_parts != REQUEST_DONE or whole.parsed != parts.parsed):
        abort()
    if in_parts == REQUEST_DONE and at_once != REQUEST_DONE:
        abort()
    if size >= HEAD_LIMIT and at_once == REQUEST_MORE:
        abort()


one = fuzz_target(parse)
SEEDS = [
    b"\0\5GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\0\x20GET http://h/%2e./a?b HTTP/1.0\r\nConnection: close, keep-alive\r\nContent-Length: 5\r\n\r\nabcde",
    b'\0\x40HEAD /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: W/"x", "a"\r\nIf-Match: *\r\nRange: bytes=1-\r\n\r\n',
    b"\1\0GET / HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nRange: bytes=-5\r\n"
    b'If-Range: "a"\r\nTransfer-Encoding: chunked\r\n\r\n',
]
