"""The Internet checksum (RFC 1071), summed in wide words without regard to byte order, and its update (RFC 1624)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.wire.address cimport Address

# A partial sum is carried as 64 bits in native byte order; `checksum_fold` makes 16 bits of it, to be stored as they are.
cdef uint64_t checksum_add(const uint8_t *data, uint32_t length, uint64_t total) noexcept nogil
cdef uint64_t checksum_pseudo(const Address *src, const Address *dst, uint32_t tcp_bytes) noexcept nogil
cdef uint16_t checksum_fold(uint64_t total) noexcept nogil              # not complemented
cdef uint16_t checksum_update(uint16_t checksum, uint16_t old, uint16_t new) noexcept nogil    # RFC 1624, equation 3
