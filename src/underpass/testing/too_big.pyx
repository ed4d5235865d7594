"""What a router says of a packet that is too big: ICMP 'fragmentation needed' (RFC 792, RFC 1191 4) and
ICMPv6 'packet too big' (RFC 4443 3.2), with as much of the packet as the error has room for.

Packets are never fragmented, DF or not: the engine sends none without DF.
"""
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from underpass.testing.parcel cimport Parcel, parcel_new, parcel_octets
from underpass.wire.checksum cimport checksum_add, checksum_fold
from underpass.wire.ethernet cimport ETHERNET_AT_TYPE, ETHERNET_BYTES, TYPE_IPV4, TYPE_IPV6
from underpass.wire.octets cimport load16, store16, store32

cdef enum:
    IPV4_BYTES = 20
    IPV6_BYTES = 40
    ICMP_BYTES = 8
    ICMPV4_LONGEST = 576            # RFC 1812 4.3.2.3
    ICMPV6_LONGEST = 1280           # RFC 4443 3.2
    PROTOCOL_ICMP = 1
    PROTOCOL_ICMPV6 = 58
    UNREACHABLE = 3
    FRAGMENTATION_NEEDED = 4
    PACKET_TOO_BIG = 2
    HOP_LIMIT = 64


cdef Parcel *too_big_new(Parcel *packet, uint8_t number, uint64_t mtu) noexcept nogil:
    cdef const uint8_t *from_ip = parcel_octets(packet) + ETHERNET_BYTES
    cdef uint16_t kind = load16(parcel_octets(packet) + ETHERNET_AT_TYPE)
    cdef uint64_t header = IPV4_BYTES if kind == TYPE_IPV4 else IPV6_BYTES
    cdef uint64_t longest = ICMPV4_LONGEST if kind == TYPE_IPV4 else ICMPV6_LONGEST
    cdef uint64_t quoted = min(packet.octets - ETHERNET_BYTES, longest - header - ICMP_BYTES)
    cdef Parcel *made
    cdef uint8_t *ip
    if kind != TYPE_IPV4 and kind != TYPE_IPV6:
        return NULL
    made = parcel_new(ETHERNET_BYTES + header + ICMP_BYTES + quoted)
    if made == NULL:
        return NULL
    memset(parcel_octets(made), 0, ETHERNET_BYTES + header + ICMP_BYTES)
    address_ethernet(parcel_octets(made), parcel_octets(packet), number)
    ip = parcel_octets(made) + ETHERNET_BYTES
    memcpy(ip + header + ICMP_BYTES, from_ip, quoted)
    if kind == TYPE_IPV4:
        fill_v4(ip, from_ip, number, <uint16_t>mtu, <uint16_t>(IPV4_BYTES + ICMP_BYTES + quoted))
    else:
        fill_v6(ip, from_ip, number, <uint16_t>mtu, <uint16_t>(ICMP_BYTES + quoted))
    return made


cdef void address_ethernet(uint8_t *made, const uint8_t *packet, uint8_t number) noexcept nogil:
    """Back to where the packet came from, from the router's own address."""
    memcpy(made, packet + 6, 6)
    made[6] = 2
    made[11] = number
    memcpy(made + ETHERNET_AT_TYPE, packet + ETHERNET_AT_TYPE, 2)


cdef void fill_v4(uint8_t *ip, const uint8_t *from_ip, uint8_t number, uint16_t mtu,
                  uint16_t total) noexcept nogil:
    cdef uint8_t *icmp = ip + IPV4_BYTES
    cdef uint16_t sum
    ip[0] = 0x45
    store16(ip + 2, total)
    ip[8] = HOP_LIMIT
    ip[9] = PROTOCOL_ICMP
    memcpy(ip + 12, b"\x0a\0\0", 3)
    ip[15] = number
    memcpy(ip + 16, from_ip + 12, 4)
    sum = ~checksum_fold(checksum_add(ip, IPV4_BYTES, 0))
    memcpy(ip + 10, &sum, 2)
    icmp[0] = UNREACHABLE
    icmp[1] = FRAGMENTATION_NEEDED
    store16(icmp + 6, mtu)
    sum = ~checksum_fold(checksum_add(icmp, total - IPV4_BYTES, 0))
    memcpy(icmp + 2, &sum, 2)


cdef void fill_v6(uint8_t *ip, const uint8_t *from_ip, uint8_t number, uint16_t mtu,
                  uint16_t length) noexcept nogil:
    cdef uint8_t *icmp = ip + IPV6_BYTES
    cdef uint8_t[8] pseudo
    cdef uint16_t sum
    ip[0] = 0x60
    store16(ip + 4, length)
    ip[6] = PROTOCOL_ICMPV6
    ip[7] = HOP_LIMIT
    ip[8] = 0xFD
    ip[23] = number
    memcpy(ip + 24, from_ip + 8, 16)
    icmp[0] = PACKET_TOO_BIG
    store32(icmp + 4, mtu)
    memset(pseudo, 0, sizeof(pseudo))
    store16(pseudo + 2, length)
    pseudo[7] = PROTOCOL_ICMPV6
    sum = ~checksum_fold(checksum_add(ip + 8, 32, checksum_add(pseudo, 8, checksum_add(icmp, length, 0))))
    memcpy(icmp + 2, &sum, 2)
