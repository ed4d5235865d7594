"""Ethernet II frames (RFC 894, RFC 2464).

    | destination 6 | source 6 | [tag 4] | type 2 | packet ... | padding up to 60 octets |
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.wire.octets cimport load16
from underpass.wire.reason cimport ACCEPTED, ETHERNET_SHORT, ETHERNET_TYPE, Reason
from underpass.wire.segment cimport NO_VLAN, Segment
from underpass.wire.vlan cimport TYPE_SERVICE_VLAN, TYPE_VLAN, vlan_parse

cdef enum:
    ETHERNET_BYTES = 14
    ETHERNET_AT_DESTINATION = 0
    ETHERNET_AT_SOURCE = 6
    ETHERNET_AT_TYPE = 12
    MAC_BYTES = 6
    TYPE_IPV4 = 0x0800
    TYPE_IPV6 = 0x86DD


cdef inline uint64_t mac_word(const uint8_t *mac) noexcept nogil:
    """The six octets as one word, for comparison."""
    cdef uint32_t low = 0
    cdef uint16_t high = 0
    memcpy(&low, mac, 4)
    memcpy(&high, mac + 4, 2)
    return <uint64_t>high << 32 | low


cdef inline Reason ethernet_parse(const uint8_t *data, uint32_t head_bytes, Segment *seg,
                                  uint16_t *ethertype) noexcept nogil:
    """Sets seg.vlan and seg.ip_offset; ethertype becomes TYPE_IPV4 or TYPE_IPV6."""
    cdef Reason reason
    if head_bytes < ETHERNET_BYTES:
        return ETHERNET_SHORT
    ethertype[0] = load16(data + ETHERNET_AT_TYPE)
    seg.vlan = NO_VLAN
    seg.ip_offset = ETHERNET_BYTES
    if ethertype[0] == TYPE_VLAN or ethertype[0] == TYPE_SERVICE_VLAN:
        reason = vlan_parse(data, head_bytes, seg, ethertype)
        if reason != ACCEPTED:
            return reason
    if ethertype[0] != TYPE_IPV4 and ethertype[0] != TYPE_IPV6:
        return ETHERNET_TYPE
    return ACCEPTED
