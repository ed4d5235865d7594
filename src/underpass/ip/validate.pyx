"""From the octets of a frame to a validated Segment: each layer in turn, the cheap checks first."""
from libc.stdint cimport uint16_t, uint64_t
from libc.string cimport memcpy

from underpass.ip.policy cimport policy_allows_destination, policy_allows_source
from underpass.wire.checksum cimport (CHECKSUM_GOOD, checksum_add, checksum_fold, checksum_odd,
                                      checksum_pseudo)
from underpass.wire.ethernet cimport ETHERNET_AT_DESTINATION, TYPE_IPV4, ethernet_parse, mac_word
from underpass.wire.ipv4 cimport ipv4_parse
from underpass.wire.ipv6 cimport ipv6_parse
from underpass.wire.reason cimport (ACCEPTED, ETHERNET_NOT_OURS, IP_DESTINATION, IP_SOURCE, TCP_CHECKSUM,
                                    TCP_SHORT)
from underpass.wire.tcp cimport TCP_AT_CHECKSUM, TCP_BYTES, tcp_parse


cdef Reason parse_ip(const uint8_t *packet, uint32_t head_bytes, uint32_t total_bytes,
                     Segment *seg) noexcept nogil:
    """Ethernet, tag and IP. Fills in all that lies before TCP."""
    cdef uint16_t ethertype = 0
    cdef Reason reason = ethernet_parse(packet, head_bytes, seg, &ethertype)
    if reason != ACCEPTED:
        return reason
    packet += seg.ip_offset
    head_bytes -= seg.ip_offset
    total_bytes -= seg.ip_offset
    if ethertype == TYPE_IPV4:
        return ipv4_parse(packet, head_bytes, total_bytes, seg)
    return ipv6_parse(packet, head_bytes, total_bytes, seg)


cdef uint64_t sum_rest(const Chunk *rest, uint32_t rest_count, uint32_t left, bint odd) noexcept nogil:
    """Partial checksum of the next `left` octets, in later chunks; `odd`: they start at an odd octet."""
    cdef uint64_t total = 0, part
    cdef uint32_t i, length
    for i in range(rest_count):
        length = min(rest[i].length, left)
        part = checksum_add(rest[i].data, length, 0)
        total += checksum_odd(part) if odd else part
        odd ^= length & 1
        left -= length
    return total


cdef bint checksum_holds(const uint8_t *tcp, uint32_t head_bytes, uint32_t tcp_bytes, const Chunk *rest,
                         uint32_t rest_count, bint partial_ok, Segment *seg) noexcept nogil:
    """Whether the TCP checksum is right, or with partial_ok was left to the device (CHECKSUM_PARTIAL)."""
    cdef uint64_t total = checksum_pseudo(&seg.src, &seg.dst, tcp_bytes)
    cdef uint16_t field = 0
    seg.checksum_partial = 0
    if partial_ok:
        memcpy(&field, tcp + TCP_AT_CHECKSUM, 2)
        if field == checksum_fold(total):
            seg.checksum_partial = 1
            return True
    total = checksum_add(tcp, head_bytes, total)
    if head_bytes < tcp_bytes:
        total += sum_rest(rest, rest_count, tcp_bytes - head_bytes, head_bytes & 1)
    return checksum_fold(total) == CHECKSUM_GOOD


cdef inline Reason check_addresses(const Network *net, const Segment *seg, bint own) noexcept nogil:
    if mac_word(seg.packet + ETHERNET_AT_DESTINATION) != mac_word(net.mac):
        return ETHERNET_NOT_OURS
    if not own and not policy_allows_source(net, &seg.src):
        return IP_SOURCE
    if not policy_allows_destination(&seg.dst):
        return IP_DESTINATION
    return ACCEPTED


cdef Reason ip_receive(const Network *net, const uint8_t *packet, uint32_t head_bytes, const Chunk *rest,
                       uint32_t rest_count, bint partial_ok, bint own, Segment *seg) noexcept nogil:
    cdef uint32_t i, tcp_head, tcp_bytes
    cdef Reason reason
    seg.packet = packet
    seg.total_bytes = head_bytes
    for i in range(rest_count):
        seg.total_bytes += rest[i].length
    reason = parse_ip(packet, head_bytes, seg.total_bytes, seg)
    if reason != ACCEPTED:
        return reason
    reason = check_addresses(net, seg, own)
    if reason != ACCEPTED:
        return reason
    # Ethernet padding is cut off (RFC 894), in the first chunk as in later ones.
    head_bytes = min(head_bytes, seg.total_bytes)
    seg.head_bytes = <uint16_t>head_bytes
    tcp_head = head_bytes - seg.tcp_offset
    tcp_bytes = seg.total_bytes - seg.tcp_offset
    if tcp_head < TCP_BYTES:
        return TCP_SHORT
    packet += seg.tcp_offset
    partial_ok = partial_ok and not net.strict_checksum
    if not checksum_holds(packet, tcp_head, tcp_bytes, rest, rest_count, partial_ok, seg):
        return TCP_CHECKSUM
    return tcp_parse(packet, tcp_head, tcp_bytes, seg)
