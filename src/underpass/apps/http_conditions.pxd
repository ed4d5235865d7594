"""Preconditions and ranges (RFC 9110 13, 14): which response a request for a file that is there gets."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from underpass.apps.http_request cimport Request

cdef struct Representation:     # the file as it is now
    const uint8_t *etag         # with its quotes; strong
    uint32_t etag_octets
    int64_t modified_s
    uint64_t size

cdef struct Selection:
    int status                  # 200, 206, 304, 412 or 416
    uint64_t first              # octets to send: first <= n < end
    uint64_t end

# `base` is where the request's first octet lies.
cdef Selection select(const Request *req, const uint8_t *base, const Representation *file,
                      int64_t now_s) noexcept nogil
