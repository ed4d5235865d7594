"""IP addresses: 16 octets in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), compared as words."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    V4_PREFIX = 0xFFFF0000          # the octets 00 00 ff ff as a little-endian word
    V4_BROADCAST = 0xFFFFFFFF
    V4_LINK_LOCAL = 0xFEA9          # the octets 169 254, likewise

cdef struct Address:
    uint64_t high
    uint64_t low


cdef inline Address address_v6(const uint8_t *octets) noexcept nogil:
    cdef Address address
    memcpy(&address, octets, 16)
    return address


cdef inline Address address_v4(const uint8_t *octets) noexcept nogil:
    cdef Address address
    cdef uint32_t v4 = 0
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


cdef inline uint8_t address_first_octet(const Address *address) noexcept nogil:
    return <uint8_t>(address.low >> 32 if address_is_v4(address) else address.high)


cdef inline bint address_is_loopback(const Address *address) noexcept nogil:
    """127.0.0.0/8 (RFC 1122 3.2.1.3) or ::1."""
    if address_is_v4(address):
        return address_first_octet(address) == 127
    return address.high == 0 and address.low == <uint64_t>1 << 56


cdef inline bint address_is_group(const Address *address) noexcept nogil:
    """224.0.0.0/4, the limited broadcast 255.255.255.255, or ff00::/8."""
    if address_is_v4(address):
        return address_first_octet(address) >> 4 == 14 or <uint32_t>(address.low >> 32) == V4_BROADCAST
    return address_first_octet(address) == 0xFF


cdef inline bint address_is_link_local(const Address *address) noexcept nogil:
    """169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 2.5.6)."""
    if address_is_v4(address):
        return <uint16_t>(address.low >> 32) == V4_LINK_LOCAL
    return (address.high & 0xC0FF) == 0x80FE


# From text, "10.0.0.1" or "fe80::1%eth0" (the scope is left out of the result); raises ValueError.
cdef int address_from_text(str text, Address *address) except -1
# IPv4 as dotted quad, IPv6 in the form of RFC 5952.
cdef str address_to_text(const Address *address)
