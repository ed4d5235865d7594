"""IPv4 headers (RFC 791 3.1)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.wire.address cimport address_v4
from underpass.wire.checksum cimport CHECKSUM_GOOD, checksum_fold
from underpass.wire.octets cimport load16
from underpass.wire.reason cimport (ACCEPTED, IP_PROTOCOL, IPV4_CHECKSUM, IPV4_FRAGMENT, IPV4_HEADER_LENGTH,
                                    IPV4_SHORT, IPV4_TOTAL_LENGTH, IPV4_VERSION, Reason)
from underpass.wire.segment cimport Segment

cdef enum:
    IPV4_BYTES = 20
    IPV4_AT_VERSION = 0             # and header length in words
    IPV4_AT_TRAFFIC_CLASS = 1
    IPV4_AT_TOTAL_LENGTH = 2
    IPV4_AT_ID = 4
    IPV4_AT_FRAGMENT = 6            # flags and offset
    IPV4_AT_HOP_LIMIT = 8
    IPV4_AT_PROTOCOL = 9
    IPV4_AT_CHECKSUM = 10
    IPV4_AT_SRC = 12
    IPV4_AT_DST = 16
    IPV4_DONT_FRAGMENT = 0x4000
    IPV4_MORE_OR_OFFSET = 0x3FFF    # any of these bits set: a fragment
    PROTOCOL_TCP = 6

# The options of a header longer than 20 octets: checksum over all, then each option.
cdef Reason ipv4_parse_options(const uint8_t *data, uint32_t header_bytes) noexcept nogil


cdef inline uint64_t ipv4_sum(const uint8_t *data) noexcept nogil:
    """Partial checksum of a header without options."""
    cdef uint32_t[5] words
    memcpy(words, data, IPV4_BYTES)
    return <uint64_t>words[0] + words[1] + words[2] + words[3] + words[4]


cdef inline Reason ipv4_check_header(const uint8_t *data, uint32_t header_bytes) noexcept nogil:
    """RFC 1122 3.2.1.2: the checksum of every header is verified."""
    if header_bytes == IPV4_BYTES:
        return ACCEPTED if checksum_fold(ipv4_sum(data)) == CHECKSUM_GOOD else IPV4_CHECKSUM
    return ipv4_parse_options(data, header_bytes)


cdef inline Reason ipv4_parse_for(uint8_t protocol, const uint8_t *data, uint32_t head_bytes, uint32_t total_bytes,
                                  Segment *seg) noexcept nogil:
    """The header at data, of a packet of that protocol, which begins at seg.tcp_offset then; seg.ip_offset stands.
    Sets the IP fields, cuts padding off seg.total_bytes.
    """
    cdef uint32_t header_bytes, packet_bytes
    cdef Reason reason
    if head_bytes < IPV4_BYTES:
        return IPV4_SHORT
    if data[IPV4_AT_VERSION] >> 4 != 4:
        return IPV4_VERSION
    header_bytes = (data[IPV4_AT_VERSION] & 15) * 4
    if header_bytes < IPV4_BYTES or header_bytes > head_bytes:
        return IPV4_HEADER_LENGTH
    packet_bytes = load16(data + IPV4_AT_TOTAL_LENGTH)
    if packet_bytes < header_bytes or packet_bytes > total_bytes:
        return IPV4_TOTAL_LENGTH
    reason = ipv4_check_header(data, header_bytes)
    if reason != ACCEPTED:
        return reason
    if load16(data + IPV4_AT_FRAGMENT) & IPV4_MORE_OR_OFFSET:
        return IPV4_FRAGMENT
    if data[IPV4_AT_PROTOCOL] != protocol:
        return IP_PROTOCOL
    seg.traffic_class = data[IPV4_AT_TRAFFIC_CLASS]
    seg.hop_limit = data[IPV4_AT_HOP_LIMIT]
    seg.src = address_v4(data + IPV4_AT_SRC)
    seg.dst = address_v4(data + IPV4_AT_DST)
    seg.tcp_offset = <uint16_t>(seg.ip_offset + header_bytes)
    seg.total_bytes = seg.ip_offset + packet_bytes
    return ACCEPTED


cdef inline Reason ipv4_parse(const uint8_t *data, uint32_t head_bytes, uint32_t total_bytes,
                              Segment *seg) noexcept nogil:
    """The header of a TCP segment's packet."""
    return ipv4_parse_for(PROTOCOL_TCP, data, head_bytes, total_bytes, seg)
