"""The Internet checksum (RFC 1071), summed in wide words in native byte order, and its update (RFC 1624).

A partial sum is carried as 64 bits in native byte order and stays far below 2^40, so that partial sums may be
added with `+`; `checksum_fold` makes 16 bits of it, to be stored as they are. A part that starts at an odd
octet is swapped before it is added (`checksum_odd`, RFC 1071 2 (B)).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.octets cimport bswap_16

cdef enum:
    CHECKSUM_GOOD = 0xFFFF          # what a sum over octets that contain their own checksum folds to

cdef uint64_t checksum_add(const uint8_t *data, uint32_t length, uint64_t total) noexcept nogil


cdef inline uint64_t checksum_halve(uint64_t total) noexcept nogil:
    """The same sum in 33 bits."""
    return <uint64_t><uint32_t>total + (total >> 32)


cdef inline uint16_t checksum_fold(uint64_t total) noexcept nogil:
    """The sum in 16 bits, not complemented."""
    total = checksum_halve(checksum_halve(total))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return <uint16_t>((total & 0xFFFF) + (total >> 16))


cdef inline uint64_t checksum_length(uint32_t octets) noexcept nogil:
    """The sum of a length as it stands in a pseudo-header: 16 bits in IPv4, 32 in IPv6, big-endian."""
    return <uint64_t>bswap_16(<uint16_t>octets) + bswap_16(<uint16_t>(octets >> 16))


cdef inline uint64_t checksum_addresses(const Address *src, const Address *dst) noexcept nogil:
    """The pseudo-header without the length: addresses and protocol 6 (RFC 9293 3.1, RFC 8200 8.1)."""
    cdef uint64_t total = bswap_16(6)
    if address_is_v4(src):
        return total + (src.low >> 32) + (dst.low >> 32)
    total += checksum_halve(src.high) + checksum_halve(src.low)
    return total + checksum_halve(dst.high) + checksum_halve(dst.low)


cdef inline uint64_t checksum_pseudo(const Address *src, const Address *dst,
                                     uint32_t tcp_bytes) noexcept nogil:
    return checksum_addresses(src, dst) + checksum_length(tcp_bytes)


cdef inline uint64_t checksum_odd(uint64_t part) noexcept nogil:
    """The sum of a part that starts at an odd octet (RFC 1071 2 (B): swapped octets make a swapped sum)."""
    return bswap_16(checksum_fold(part))


cdef inline uint16_t checksum_update(uint16_t checksum, uint16_t old, uint16_t new) noexcept nogil:
    """The checksum after a word changed from old to new (RFC 1624 3, equation 3), all in one byte order."""
    return ~checksum_fold(<uint64_t><uint16_t>~checksum + <uint16_t>~old + new)
