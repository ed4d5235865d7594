"""Big-endian loads and stores at any alignment."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<byteswap.h>" nogil:
    uint16_t bswap_16(uint16_t)
    uint32_t bswap_32(uint32_t)


cdef inline uint16_t load16(const uint8_t *at) noexcept nogil:
    cdef uint16_t value = 0
    memcpy(&value, at, 2)
    return bswap_16(value)


cdef inline uint32_t load32(const uint8_t *at) noexcept nogil:
    cdef uint32_t value = 0
    memcpy(&value, at, 4)
    return bswap_32(value)


cdef inline void store16(uint8_t *at, uint16_t value) noexcept nogil:
    value = bswap_16(value)
    memcpy(at, &value, 2)


cdef inline void store32(uint8_t *at, uint32_t value) noexcept nogil:
    value = bswap_32(value)
    memcpy(at, &value, 4)
