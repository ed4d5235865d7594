"""Prefixes of addresses: lengths 0..128, those of IPv4 counted as 96 + n."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.wire.address cimport Address, address_is_v4

cdef extern from "<byteswap.h>" nogil:
    uint64_t bswap_64(uint64_t)

cdef extern from * nogil:
    int leading_zeros "__builtin_clzll"(unsigned long long)


cdef inline uint64_t prefix_mask(uint32_t bits) noexcept nogil:
    """The first 0..64 bits of a word, as they lie in memory in network order."""
    if bits == 0:
        return 0
    return ~<uint64_t>0 if bits >= 64 else bswap_64(~<uint64_t>0 << (64 - bits))


cdef inline uint32_t prefix_common(const Address *one, const Address *other) noexcept nogil:
    """How many leading bits two addresses share: RFC 6724 2.2, CommonPrefixLen."""
    if one.high != other.high:
        return leading_zeros(bswap_64(one.high ^ other.high))
    if one.low != other.low:
        return 64 + leading_zeros(bswap_64(one.low ^ other.low))
    return 128


cdef inline bint prefix_covers(const Address *prefix, uint32_t bits, const Address *address) noexcept nogil:
    """Whether the address lies in the prefix. ::/0 does not cover IPv4."""
    if address_is_v4(address) != address_is_v4(prefix):
        return False
    return prefix_common(prefix, address) >= bits


cdef inline Address prefix_last(const Address *address, uint32_t bits) noexcept nogil:
    """The last address of the subnet that the address lies in: all host bits one."""
    cdef Address last
    last.high = address.high | ~prefix_mask(bits)
    last.low = address.low | ~prefix_mask(bits - 64 if bits > 64 else 0)
    return last
