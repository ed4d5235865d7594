"""Media types by file name."""
from libc.stdint cimport uint8_t, uint32_t

# The Content-Type for a path by its extension, NUL-terminated; application/octet-stream for what is not
# known.
cdef const char *mime_type(const uint8_t *path, uint32_t count) noexcept nogil
