"""SipHash (Aumasson and Bernstein, 2012): 2-4 for secrets that go on the wire, 1-3 for hash tables."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef struct SipKey:
    uint64_t k0
    uint64_t k1

cdef uint64_t siphash24(const SipKey *key, const uint8_t *data, uint32_t length) noexcept nogil
cdef uint64_t siphash13_words_and(const SipKey *key, const uint64_t *words, uint32_t count, uint64_t rest,
                                  uint32_t rest_bytes) noexcept nogil
cdef uint64_t siphash13_words(const SipKey *key, const uint64_t *words, uint32_t count) noexcept nogil
