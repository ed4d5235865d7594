"""IPv6 headers (RFC 8200 3)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.wire.address cimport address_is_v4, address_v6
from underpass.wire.octets cimport load16
from underpass.wire.reason cimport (ACCEPTED, IP_DESTINATION, IP_SOURCE, IPV6_PAYLOAD_LENGTH, IPV6_SHORT,
                                    IPV6_VERSION, Reason)
from underpass.wire.segment cimport Segment

cdef enum:
    IPV6_BYTES = 40
    IPV6_AT_VERSION = 0             # 4 bits, then traffic class 8 and flow label 20
    IPV6_AT_PAYLOAD_LENGTH = 4
    IPV6_AT_NEXT_HEADER = 6
    IPV6_AT_HOP_LIMIT = 7
    IPV6_AT_SRC = 8
    IPV6_AT_DST = 24
    NEXT_TCP = 6

# Step over the extension headers behind the IPv6 header at data; sets header_bytes to where that protocol begins.
# Nothing beyond `bound` octets from data is read.
cdef Reason ipv6_parse_extensions(uint8_t protocol, const uint8_t *data, uint32_t bound,
                                  uint32_t *header_bytes) noexcept nogil


cdef inline Reason ipv6_parse_for(uint8_t protocol, const uint8_t *data, uint32_t head_bytes, uint32_t total_bytes,
                                  Segment *seg) noexcept nogil:
    """The header at data, of a packet of that protocol, which begins at seg.tcp_offset then; seg.ip_offset stands.
    Sets the IP fields, cuts padding off seg.total_bytes.
    """
    cdef uint32_t packet_bytes, header_bytes = IPV6_BYTES
    cdef Reason reason
    if head_bytes < IPV6_BYTES:
        return IPV6_SHORT
    if data[IPV6_AT_VERSION] >> 4 != 6:
        return IPV6_VERSION
    packet_bytes = IPV6_BYTES + load16(data + IPV6_AT_PAYLOAD_LENGTH)
    if packet_bytes > total_bytes:
        return IPV6_PAYLOAD_LENGTH
    if data[IPV6_AT_NEXT_HEADER] != protocol:
        reason = ipv6_parse_extensions(protocol, data, min(head_bytes, packet_bytes), &header_bytes)
        if reason != ACCEPTED:
            return reason
    seg.traffic_class = <uint8_t>(load16(data) >> 4)
    seg.hop_limit = data[IPV6_AT_HOP_LIMIT]
    seg.src = address_v6(data + IPV6_AT_SRC)
    seg.dst = address_v6(data + IPV6_AT_DST)
    # An IPv4-mapped address stands for IPv4 here; from an IPv6 packet it would pass for what it is not.
    if address_is_v4(&seg.src):
        return IP_SOURCE
    if address_is_v4(&seg.dst):
        return IP_DESTINATION
    seg.tcp_offset = <uint16_t>(seg.ip_offset + header_bytes)
    seg.total_bytes = seg.ip_offset + packet_bytes
    return ACCEPTED


cdef inline Reason ipv6_parse(const uint8_t *data, uint32_t head_bytes, uint32_t total_bytes,
                              Segment *seg) noexcept nogil:
    """The header of a TCP segment's packet."""
    return ipv6_parse_for(NEXT_TCP, data, head_bytes, total_bytes, seg)
