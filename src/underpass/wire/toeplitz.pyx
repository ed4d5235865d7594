"""The Toeplitz hash."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from underpass.wire.address cimport Address, address_is_v4, address_octets


cdef inline uint32_t window_at(const uint8_t *key, uint32_t bit) noexcept nogil:
    """The 32 bits of the key that begin at a bit."""
    cdef uint32_t octet = bit >> 3
    cdef uint64_t wide = 0
    cdef uint32_t i
    for i in range(5):
        wide = wide << 8 | key[octet + i]
    return <uint32_t>(wide >> (8 - (bit & 7)))


cdef void toeplitz_init(Toeplitz *it, const uint8_t *key, uint32_t key_bytes) noexcept nogil:
    cdef uint8_t[TOEPLITZ_KEY_BYTES] whole
    cdef uint32_t place, value, bit
    memset(whole, 0, TOEPLITZ_KEY_BYTES)
    memcpy(whole, key, min(key_bytes, <uint32_t>TOEPLITZ_KEY_BYTES))
    for place in range(2 * TOEPLITZ_INPUT):
        for value in range(16):
            it.halves[16 * place + value] = 0
            for bit in range(4):
                if value >> (3 - bit) & 1:
                    it.halves[16 * place + value] ^= window_at(whole, 4 * place + bit)


cdef inline uint32_t octets_hash(const Toeplitz *it, uint32_t at, const uint8_t *octets, uint32_t count) noexcept nogil:
    cdef const uint32_t *place = it.halves + 32 * at
    cdef uint32_t found = 0
    cdef uint32_t i
    for i in range(count):
        found ^= place[32 * i + (octets[i] >> 4)] ^ place[32 * i + 16 + (octets[i] & 15)]
    return found


cdef uint32_t toeplitz_base(const Toeplitz *it, const Address *src, const Address *dst,
                            uint16_t src_port) noexcept nogil:
    cdef uint32_t bytes = 4 if address_is_v4(src) else 16
    return (octets_hash(it, 0, address_octets(src), bytes) ^ octets_hash(it, bytes, address_octets(dst), bytes)
            ^ toeplitz_port(it, 2 * bytes, src_port))
