"""The parts of the HTTP server, one by one, for tests."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from underpass.apps.file_cache cimport FileCache, cache_find, cache_pin, cache_read, cache_unpin
from underpass.apps.http_conditions cimport Representation, Selection, select as choose
from underpass.apps.http_date cimport DATE_OCTETS, LOG_DATE_OCTETS, date_format, date_format_log, date_parse
from underpass.apps.http_path cimport PATH_OCTETS, path_decode, path_encode
from underpass.apps.http_request cimport (
    HEAD_LIMIT as LIMIT, REQUEST_DONE, REQUEST_MORE, Request, Span, request_begin, request_parse,
    request_persists,
)
from underpass.apps.mime cimport mime_type

MORE = REQUEST_MORE
DONE = REQUEST_DONE
HEAD_LIMIT = LIMIT


cdef int feed(Request *req, bytes octets) except? -1:
    """Parse from a copy of exactly this size, so that a sanitizer sees each octet read behind it."""
    cdef uint32_t count = <uint32_t>len(octets)
    cdef uint8_t *copy = <uint8_t *>malloc(count or 1)
    memcpy(copy, <const uint8_t *>octets, count)
    cdef int result = request_parse(req, copy, count)
    free(copy)
    return result


cdef bytes cut(bytes octets, Span where):
    return octets[where.at:where.at + where.count]


def parse(pieces):
    """See probe_http.pyi."""
    cdef Request req
    cdef int result = REQUEST_MORE
    cdef bytes octets = b""
    request_begin(&req)
    for piece in pieces:
        octets += piece
        result = feed(&req, octets)
        if result != REQUEST_MORE:
            break
    return result, {
        "parsed": req.parsed, "method": req.method, "minor": req.minor, "flags": req.flags,
        "fields": req.fields,
        "content_length": req.content_length, "line": cut(octets, req.line), "path": cut(octets, req.path),
        "query": cut(octets, req.query), "persists": request_persists(&req),
        "conditions": [cut(octets, req.conditions[i]) for i in range(6)],
    }


def decode_path(bytes path):
    """See probe_http.pyi."""
    cdef uint8_t[PATH_OCTETS] into
    cdef int32_t count = path_decode(path, <uint32_t>len(path), into)
    return into[:count] if count >= 0 else count


def encode_path(bytes path):
    """See probe_http.pyi."""
    cdef uint8_t[3 * PATH_OCTETS] into
    if len(path) > PATH_OCTETS:
        raise ValueError(f"a path has at most {PATH_OCTETS} octets")
    cdef uint32_t count = path_encode(path, <uint32_t>len(path), into)
    return into[:count]


def format_date(int64_t seconds):
    """See probe_http.pyi."""
    cdef uint8_t[DATE_OCTETS] into
    date_format(seconds, into)
    return into[:DATE_OCTETS].decode()


def format_log_date(int64_t seconds):
    """See probe_http.pyi."""
    cdef uint8_t[LOG_DATE_OCTETS] into
    date_format_log(seconds, into)
    return into[:LOG_DATE_OCTETS].decode()


def parse_date(bytes text, int64_t now_s=0):
    """See probe_http.pyi."""
    return date_parse(text, <uint32_t>len(text), now_s)


def select(bytes request, bytes etag, int64_t modified_s, uint64_t size, int64_t now_s):
    """See probe_http.pyi."""
    cdef Request req
    cdef Representation file
    cdef Selection choice
    request_begin(&req)
    if request_parse(&req, request, <uint32_t>len(request)) != REQUEST_DONE:
        raise ValueError(f"not a request: {request!r}")
    file.etag = etag
    file.etag_octets = <uint32_t>len(etag)
    file.modified_s = modified_s
    file.size = size
    choice = choose(&req, request, &file, now_s)
    return choice.status, choice.first, choice.end


def media_type(bytes path):
    """See probe_http.pyi."""
    return (<bytes>mime_type(path, <uint32_t>len(path))).decode()


cdef class CacheProbe:
    """See probe_http.pyi."""
    cdef readonly FileCache cache

    def __init__(self, FileCache cache):
        self.cache = cache

    def find(self, bytes path, uint64_t now_ns=0, int64_t wall_ns=1 << 62):
        """Look a path up as a request does."""
        cdef uint32_t entry = 0
        cdef int status = cache_find(&self.cache.cache, path, <uint32_t>len(path), now_ns, wall_ns, &entry)
        return status, entry

    def head(self, uint32_t entry):
        """The whole head of a 200 response."""
        return self.cache.cache.entries[entry].head[:self.cache.cache.entries[entry].head_octets]

    def fields(self, uint32_t entry):
        """The part of the head that a 206 response has too."""
        return self.head(entry)[self.cache.cache.entries[entry].fields_at:].removesuffix(b"\r\n")

    def etag(self, uint32_t entry):
        """The entity tag, with its quotes."""
        cdef uint32_t at = self.cache.cache.entries[entry].etag_at
        return self.head(entry)[at:at + self.cache.cache.entries[entry].etag_octets]

    def in_memory(self, uint32_t entry):
        """Whether the body is kept."""
        return self.cache.cache.entries[entry].body != NULL

    def read(self, uint32_t entry, uint64_t offset, uint32_t count):
        """Octets of the body."""
        count = <uint32_t>min(count, self.cache.cache.entries[entry].identity.size - offset)
        if self.in_memory(entry):
            return self.cache.cache.entries[entry].body[offset:offset + count]
        cdef uint8_t *into = <uint8_t *>malloc(count or 1)
        cdef uint32_t got = cache_read(&self.cache.cache.entries[entry], offset, into, count)
        octets = into[:got]
        free(into)
        return octets

    def pin(self, uint32_t entry):
        """As a transfer that begins."""
        cache_pin(&self.cache.cache, entry)

    def unpin(self, uint32_t entry):
        """As a transfer that ends."""
        cache_unpin(&self.cache.cache, entry)
