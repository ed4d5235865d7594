"""VLAN tags (IEEE 802.1Q 9.6), which stand where the Ethernet type would: type 2, tag control information 2.

One customer tag is taken, and answered with the same. A second tag, or a service tag (802.1ad), is refused:
that is traffic of a bridge between provider and customer, which no host answers.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.wire.octets cimport load16
from underpass.wire.reason cimport ACCEPTED, ETHERNET_SHORT, ETHERNET_VLAN_DEPTH, Reason
from underpass.wire.segment cimport Segment

cdef enum:
    VLAN_BYTES = 4
    VLAN_AT_TCI = 14                # both from the start of the frame
    VLAN_AT_TYPE = 16
    TYPE_VLAN = 0x8100
    TYPE_SERVICE_VLAN = 0x88A8


cdef inline Reason vlan_parse(const uint8_t *data, uint32_t head_bytes, Segment *seg,
                              uint16_t *ethertype) noexcept nogil:
    """The tag of a frame whose type says that there is one."""
    if ethertype[0] == TYPE_SERVICE_VLAN:
        return ETHERNET_VLAN_DEPTH
    if head_bytes < VLAN_AT_TYPE + 2:
        return ETHERNET_SHORT
    seg.vlan = load16(data + VLAN_AT_TCI)
    seg.ip_offset = VLAN_AT_TYPE + 2
    ethertype[0] = load16(data + VLAN_AT_TYPE)
    if ethertype[0] == TYPE_VLAN or ethertype[0] == TYPE_SERVICE_VLAN:
        return ETHERNET_VLAN_DEPTH
    return ACCEPTED
