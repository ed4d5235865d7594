"""Checksums in parts, against the sum taken word by word. The first octet says where the parts meet."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport abort

from driver cimport fuzz_target
from underpass.wire.checksum cimport checksum_add, checksum_fold, checksum_odd
from underpass.wire.octets cimport bswap_16


cdef uint32_t plain(const uint8_t *data, uint32_t size) noexcept nogil:
    """RFC 1071 1, as it stands there."""
    cdef uint32_t total = 0, i
    for i in range(size):
        total += <uint32_t>data[i] << (0 if i & 1 else 8)
        total = (total & 0xFFFF) + (total >> 16)
    return total


cdef void compare(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t first
    cdef uint64_t rest
    if size == 0:
        return
    first = min(<uint32_t>data[0], size - 1)
    data += 1
    rest = checksum_add(data + first, size - 1 - first, 0)
    total = checksum_add(data, first, 0) + (checksum_odd(rest) if first & 1 else rest)
    if bswap_16(checksum_fold(total)) != plain(data, size - 1):
        abort()


one = fuzz_target(compare)
SEEDS = [b"\0", b"\3abcdefg", b"\x20" + b"\xff" * 77]
