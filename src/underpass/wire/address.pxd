"""IP addresses: 16 octets in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), compared as two words."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    V4_PREFIX = 0xFFFF0000          # the octets 00 00 ff ff as a little-endian word

cdef struct Address:
    uint64_t high
    uint64_t low


cdef inline Address address_v6(const uint8_t *octets) noexcept nogil:
    cdef Address address
    memcpy(&address, octets, 16)
    return address


cdef inline Address address_v4(const uint8_t *octets) noexcept nogil:
    cdef Address address
    cdef uint32_t v4
    memcpy(&v4, octets, 4)
    address.high = 0
    address.low = <uint64_t>V4_PREFIX | (<uint64_t>v4 << 32)
    return address


cdef inline bint address_is_v4(const Address *address) noexcept nogil:
    return address.high == 0 and <uint32_t>address.low == <uint32_t>V4_PREFIX


cdef inline bint address_equal(const Address *one, const Address *other) noexcept nogil:
    return one.high == other.high and one.low == other.low


cdef inline bint address_is_any(const Address *address) noexcept nogil:
    """0.0.0.0 or ::"""
    return address.high == 0 and (address.low == 0 or address.low == <uint64_t>V4_PREFIX)


cdef inline const uint8_t *address_octets(const Address *address) noexcept nogil:
    """The 4 octets of an IPv4 address or the 16 of an IPv6 one."""
    return <const uint8_t *>address + (12 if address_is_v4(address) else 0)
