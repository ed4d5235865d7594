"""SipHash (Aumasson and Bernstein, 2012), as the paper's section 2 states it."""
from libc.string cimport memcpy

cdef struct SipState:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept nogil:
    return word << bits | word >> (64 - bits)


cdef inline void sip_init(SipState *s, const SipKey *key) noexcept nogil:
    """Section 2.1: the key, and the constants that spell 'somepseudorandomlygeneratedbytes'."""
    s.v0 = key.k0 ^ <uint64_t>0x736F6D6570736575
    s.v1 = key.k1 ^ <uint64_t>0x646F72616E646F6D
    s.v2 = key.k0 ^ <uint64_t>0x6C7967656E657261
    s.v3 = key.k1 ^ <uint64_t>0x7465646279746573


cdef inline void sip_round(SipState *s) noexcept nogil:
    """Figure 2.1."""
    s.v0 += s.v1
    s.v2 += s.v3
    s.v1 = rotated(s.v1, 13) ^ s.v0
    s.v3 = rotated(s.v3, 16) ^ s.v2
    s.v0 = rotated(s.v0, 32)
    s.v2 += s.v1
    s.v0 += s.v3
    s.v1 = rotated(s.v1, 17) ^ s.v2
    s.v3 = rotated(s.v3, 21) ^ s.v0
    s.v2 = rotated(s.v2, 32)


cdef inline void sip_word24(SipState *s, uint64_t word) noexcept nogil:
    s.v3 ^= word
    sip_round(s)
    sip_round(s)
    s.v0 ^= word


cdef inline void sip_word13(SipState *s, uint64_t word) noexcept nogil:
    s.v3 ^= word
    sip_round(s)
    s.v0 ^= word


cdef inline uint64_t sip_end(SipState *s, int rounds) noexcept nogil:
    """Section 2.3."""
    s.v2 ^= 0xFF
    while rounds:
        sip_round(s)
        rounds -= 1
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3


cdef uint64_t siphash24(const SipKey *key, const uint8_t *data, uint32_t length) noexcept nogil:
    """SipHash-2-4 of the octets."""
    cdef SipState s
    cdef uint32_t left = length
    cdef uint64_t word = 0
    sip_init(&s, key)
    while left >= 8:
        memcpy(&word, data, 8)
        sip_word24(&s, word)
        data += 8
        left -= 8
    word = 0
    memcpy(&word, data, left)
    # Section 2.2: the last word ends in the length modulo 256.
    sip_word24(&s, word | <uint64_t>length << 56)
    return sip_end(&s, 4)


cdef uint64_t siphash13_words(const SipKey *key, const uint64_t *words, uint32_t count) noexcept nogil:
    """SipHash-1-3 of `count` words, for hash tables: one round a word, three at the end."""
    return siphash13_words_and(key, words, count, 0, 0)


cdef uint64_t siphash13_words_and(const SipKey *key, const uint64_t *words, uint32_t count, uint64_t rest,
                                  uint32_t rest_bytes) noexcept nogil:
    """The same of `count` words and fewer than eight octets more, the low ones of `rest`: they fit the last word."""
    cdef SipState s
    cdef uint32_t i
    sip_init(&s, key)
    for i in range(count):
        sip_word13(&s, words[i])
    sip_word13(&s, rest | <uint64_t>(count * 8 + rest_bytes) << 56)
    return sip_end(&s, 3)
