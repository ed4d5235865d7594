"""An HTTP/1.1 client's reading of answers (RFC 9112): octets in any portions, memory of fixed size.

Only what a client must know to find an answer's end is kept: status, length, whether the connection stays.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RESPONSE_LINE_KEPT = 96         # of a line that comes in portions; the fields that matter are shorter
    RESPONSE_HEAD_LIMIT = 65536     # octets of status line and fields, and of each chunk's line

cdef enum ResponseState:
    RESPONSE_STATUS_LINE = 0
    RESPONSE_FIELDS = 1
    RESPONSE_BODY = 2               # `remaining` octets follow
    RESPONSE_UNTIL_CLOSE = 3        # all octets until the connection's end
    RESPONSE_CHUNK_LINE = 4
    RESPONSE_CHUNK = 5              # `remaining` octets follow
    RESPONSE_CHUNK_END = 6
    RESPONSE_TRAILERS = 7
    RESPONSE_DONE = 8
    RESPONSE_MALFORMED = 9

cdef enum ResponseFlags:
    RESPONSE_TO_HEAD = 1            # answers HEAD: no body
    RESPONSE_CLOSE = 2              # the connection does not stay open
    RESPONSE_CHUNKED = 4
    RESPONSE_LENGTH = 8             # Content-Length was there
    RESPONSE_ENCODED = 16           # a transfer coding that is not `chunked` alone

cdef struct Response:
    uint64_t remaining
    uint64_t body_bytes             # received so far
    uint32_t head_bytes
    uint16_t status
    uint8_t state                   # ResponseState
    uint8_t flags                   # ResponseFlags
    uint32_t line_bytes
    uint8_t[96] line

cdef void response_start(Response *response, bint to_head) noexcept nogil
# Take one line or one piece of the body from `length` octets; returns how many were used, 0 only when no more
# are wanted. The state before the call says which it was: with response_in_body they belong to the body.
cdef uint32_t response_take(Response *response, const uint8_t *octets, uint32_t length) noexcept nogil
# The peer sends no more: that ends an answer without a length, and cuts off every other.
cdef void response_end(Response *response) noexcept nogil


cdef inline bint response_in_body(const Response *response) noexcept nogil:
    return (response.state == RESPONSE_BODY or response.state == RESPONSE_CHUNK
            or response.state == RESPONSE_UNTIL_CLOSE)
