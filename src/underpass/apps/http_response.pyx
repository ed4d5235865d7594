"""Heads of responses (RFC 9112 4, RFC 9110 15)."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, strlen

from underpass.apps.file_cache cimport DATE_AT, Entry
from underpass.apps.http_conditions cimport Selection
from underpass.apps.http_date cimport DATE_OCTETS
from underpass.apps.http_path cimport PATH_OCTETS, path_encode
from underpass.apps.http_text cimport Text, text_number, text_put


cdef const char *reason_of(int status) noexcept nogil:
    """The status line's text (RFC 9110 15)."""
    if status == 206:
        return b"206 Partial Content"
    if status == 301:
        return b"301 Moved Permanently"
    if status == 304:
        return b"304 Not Modified"
    if status == 400:
        return b"400 Bad Request"
    if status == 403:
        return b"403 Forbidden"
    if status == 404:
        return b"404 Not Found"
    if status == 405:
        return b"405 Method Not Allowed"
    if status == 408:
        return b"408 Request Timeout"
    if status == 412:
        return b"412 Precondition Failed"
    if status == 414:
        return b"414 URI Too Long"
    if status == 416:
        return b"416 Range Not Satisfiable"
    if status == 431:
        return b"431 Request Header Fields Too Large"
    if status == 501:
        return b"501 Not Implemented"
    if status == 503:
        return b"503 Service Unavailable"
    return b"505 HTTP Version Not Supported"


cdef inline void put(Text *text, const char *octets) noexcept nogil:
    text_put(text, octets, <uint32_t>strlen(octets))


cdef void put_start(Text *text, int status, const uint8_t *date) noexcept nogil:
    put(text, b"HTTP/1.1 ")
    put(text, reason_of(status))
    put(text, b"\r\nDate: ")
    text_put(text, date, DATE_OCTETS)
    put(text, b"\r\n")


cdef void put_end(Text *text, int persistence) noexcept nogil:
    """What becomes of the connection (RFC 9112 9.3, 9.6), and the empty line."""
    if persistence == CLOSES:
        put(text, b"Connection: close\r\n")
    elif persistence == PERSISTS_1_0:
        put(text, b"Connection: keep-alive\r\n")
    put(text, b"\r\n")


cdef void put_text_body(Text *text, int status, int persistence, bint with_body) noexcept nogil:
    """The reason once more, for people."""
    cdef const char *reason = reason_of(status)
    put(text, b"Server: underpass\r\nContent-Type: text/plain\r\nContent-Length: ")
    text_number(text, strlen(reason) + 1)
    put(text, b"\r\n")
    put_end(text, persistence)
    if with_body:
        put(text, reason)
        put(text, b"\n")


cdef void put_error(Text *text, int status, const uint8_t *date, int persistence,
                    bint with_body) noexcept nogil:
    """See http_response.pxd."""
    put_start(text, status, date)
    if status == 405:
        put(text, b"Allow: GET, HEAD\r\n")              # RFC 9110 15.5.6
    put_text_body(text, status, persistence, with_body)


cdef void put_redirect(Text *text, const uint8_t *key, uint32_t count, const uint8_t *query,
                       uint32_t query_count,
                       const uint8_t *date, int persistence, bint with_body) noexcept nogil:
    """See http_response.pxd. The path is written anew from what was looked up, so that //host does not become
    a host.
    """
    cdef uint8_t[3 * PATH_OCTETS] path
    cdef uint32_t octets = path_encode(key, count, path)
    put_start(text, 301, date)
    put(text, b"Location: /")
    text_put(text, path, octets)
    put(text, b"/")
    if query_count and query_count < text.room - text.count - 512:
        put(text, b"?")
        text_put(text, query, query_count)
    put(text, b"\r\n")
    put_text_body(text, 301, persistence, with_body)


cdef void put_file(Text *text, const Entry *entry, const Selection *choice, const uint8_t *date,
                   int persistence,
                   bint with_body) noexcept nogil:
    """See http_response.pxd."""
    if choice.status == 200:
        text_put(text, entry.head, entry.head_octets - 2)
        memcpy(text.octets + DATE_AT, date, DATE_OCTETS)
        put_end(text, persistence)
        return
    put_start(text, choice.status, date)
    if choice.status == 206:
        put_range(text, entry, choice)
        text_put(text, entry.head + entry.fields_at, entry.head_octets - entry.fields_at - 2)
        put_end(text, persistence)
    elif choice.status == 304:                          # RFC 9110 15.4.5: the validators, no content
        put(text, b"ETag: ")
        text_put(text, entry.head + entry.etag_at, entry.etag_octets)
        put(text, b"\r\n")
        put_end(text, persistence)
    else:
        if choice.status == 416:
            put(text, b"Content-Range: bytes */")       # RFC 9110 14.4
            text_number(text, entry.identity.size)
            put(text, b"\r\n")
        put_text_body(text, choice.status, persistence, with_body)


cdef void put_range(Text *text, const Entry *entry, const Selection *choice) noexcept nogil:
    """RFC 9110 14.4, 15.3.7.1"""
    put(text, b"Content-Length: ")
    text_number(text, choice.end - choice.first)
    put(text, b"\r\nContent-Range: bytes ")
    text_number(text, choice.first)
    put(text, b"-")
    text_number(text, choice.end - 1)
    put(text, b"/")
    text_number(text, entry.identity.size)
    put(text, b"\r\n")
