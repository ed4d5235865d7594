"""Summing octets for the Internet checksum."""
from libc.string cimport memcpy


cdef inline uint64_t word64(const uint8_t *at) noexcept nogil:
    cdef uint64_t word = 0
    memcpy(&word, at, 8)
    return word


cdef inline uint64_t with_carry(uint64_t one, uint64_t other) noexcept nogil:
    """Ones' complement addition: what overflows comes in again at the low end (RFC 1071 2 (C))."""
    one += other
    return one + (one < other)


cdef inline uint64_t tail(const uint8_t *data, uint32_t length) noexcept nogil:
    """Up to seven octets in one word, even ones at even places; padded with zero (RFC 1071 1)."""
    cdef uint64_t word = 0
    if length & 4:
        memcpy(&word, data, 4)
        data += 4
    if length & 2:
        word |= <uint64_t>data[0] << 32 | <uint64_t>data[1] << 40
        data += 2
    if length & 1:
        word |= <uint64_t>data[0] << 48
    return word


cdef uint64_t checksum_add(const uint8_t *data, uint32_t length, uint64_t total) noexcept nogil:
    """total and the sum of the octets. Two chains of additions run side by side."""
    cdef uint64_t even = 0, odd = 0
    while length >= 32:
        even = with_carry(with_carry(even, word64(data)), word64(data + 16))
        odd = with_carry(with_carry(odd, word64(data + 8)), word64(data + 24))
        data += 32
        length -= 32
    while length >= 8:
        even = with_carry(even, word64(data))
        data += 8
        length -= 8
    odd = with_carry(odd, tail(data, length))
    return total + checksum_halve(with_carry(even, odd))
