"""Paths of request targets: from octets of a request to a file's name below the directory, and back."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef enum:
    PATH_OCTETS = 1023          # the longest decoded path that is served
    PATH_BAD = -1               # 400: a broken escape, NUL, or more `..` than there are segments
    PATH_LONG = -2              # 414

# Decode `path` (it starts with a slash) into `into` (room for PATH_OCTETS): no leading slash, no empty or dot
# segment. Returns its octets, PATH_BAD or PATH_LONG. Empty, or ending in a slash: a directory.
cdef int32_t path_decode(const uint8_t *path, uint32_t count, uint8_t *into) noexcept nogil
# The other way, for Location; `into` has room for 3 * count. Returns octets written.
cdef uint32_t path_encode(const uint8_t *key, uint32_t count, uint8_t *into) noexcept nogil
