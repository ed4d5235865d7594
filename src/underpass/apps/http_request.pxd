"""The request parser (RFC 9112): total, bounded, incremental, on the octets where they lie.

`request_parse` is given the octets of a request from its first one; with more of them it is called again and
goes on where it stopped. Everything it found is told as offsets from that first octet, so the octets may be
moved between two calls.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    LINE_LIMIT = 8192           # octets of the request line with its CRLF; more: 414
    FIELDS_LIMIT = 16384        # of the header section; more: 431
    FIELD_COUNT_LIMIT = 100     # more: 431
    BLANK_LIMIT = 2             # empty lines before the request line (RFC 9112 2.2); more: 400
    HEAD_LIMIT = LINE_LIMIT + FIELDS_LIMIT + 2 * BLANK_LIMIT    # with these the parser has decided

cdef enum ParseResult:          # or the status code of an error, after which the connection is to be closed
    REQUEST_MORE = 0            # more octets are needed
    REQUEST_DONE = 1            # `parsed` octets are the request's head

cdef enum Method:
    METHOD_GET = 1
    METHOD_HEAD = 2
    METHOD_REFUSED = 3          # one of RFC 9110 9 or RFC 5789 that a file does not have: 405
    METHOD_UNKNOWN = 4          # 501

cdef enum RequestFlags:
    REQUEST_PLAIN_PATH = 1      # no escape, no empty or dot segment: the path behind its slash is the name
    REQUEST_CLOSE = 2           # Connection: close
    REQUEST_KEEP_ALIVE = 4      # Connection: keep-alive
    REQUEST_CHUNKED = 8         # Transfer-Encoding: chunked
    REQUEST_LENGTH = 16         # Content-Length
    REQUEST_CONDITIONS = 32     # at least one of the fields below
    REQUEST_REPEATED = 64       # one of them more than once

cdef enum ConditionField:
    IF_MATCH = 0
    IF_UNMODIFIED_SINCE = 1
    IF_NONE_MATCH = 2
    IF_MODIFIED_SINCE = 3
    IF_RANGE = 4
    RANGE = 5
    CONDITION_FIELDS = 6

cdef struct Span:
    uint16_t at
    uint16_t count              # 0: not there

cdef struct Request:
    uint32_t parsed             # octets of the lines that are complete
    uint32_t scanned            # octets known to hold no end of the line after these
    uint32_t fields_at          # where the header section starts; 0: the request line is not complete
    uint16_t fields
    uint8_t hosts
    uint8_t blanks
    uint8_t method
    uint8_t minor               # HTTP/1.minor
    uint16_t flags              # RequestFlags
    uint64_t content_length
    Span line                   # the request line without its CRLF
    Span path                   # starts with a slash; or empty: the root, or a method that is not served
    Span query                  # behind the question mark
    Span[6] conditions          # by ConditionField

cdef void request_begin(Request *req) noexcept nogil
cdef int request_parse(Request *req, const uint8_t *at, uint32_t count) noexcept nogil


cdef inline bint request_persists(const Request *req) noexcept nogil:
    """Whether the connection stays open after the response (RFC 9112 9.3)."""
    if req.flags & (REQUEST_CLOSE | REQUEST_CHUNKED):
        return False
    return req.minor >= 1 or (req.flags & REQUEST_KEEP_ALIVE) != 0
