"""ICMP errors: the layers below them are those of segments."""
from libc.stdint cimport uint16_t

from underpass.ip.network cimport network_is_local
from underpass.ip.policy cimport policy_allows_source
from underpass.wire.ethernet cimport ETHERNET_AT_DESTINATION, TYPE_IPV4, ethernet_parse, mac_word
from underpass.wire.icmp cimport NEXT_ICMP, PROTOCOL_ICMP, icmp_parse
from underpass.wire.ipv4 cimport ipv4_parse_for
from underpass.wire.ipv6 cimport ipv6_parse_for
from underpass.wire.reason cimport ACCEPTED, ETHERNET_NOT_OURS, ICMP_QUOTE, IP_DESTINATION, IP_SOURCE
from underpass.wire.segment cimport Segment


cdef Reason ip_receive_error(const Network *net, const uint8_t *packet, uint32_t bytes,
                             IcmpError *error) noexcept nogil:
    cdef Segment outer                  # what a segment's headers say, up to where TCP would begin
    cdef uint16_t ethertype = 0
    cdef const uint8_t *ip
    cdef Reason reason
    outer.total_bytes = bytes
    reason = ethernet_parse(packet, bytes, &outer, &ethertype)
    if reason != ACCEPTED:
        return reason
    ip = packet + outer.ip_offset
    bytes -= outer.ip_offset
    if ethertype == TYPE_IPV4:
        reason = ipv4_parse_for(PROTOCOL_ICMP, ip, bytes, bytes, &outer)
    else:
        reason = ipv6_parse_for(NEXT_ICMP, ip, bytes, bytes, &outer)
    if reason != ACCEPTED:
        return reason
    if mac_word(packet + ETHERNET_AT_DESTINATION) != mac_word(net.mac):
        return ETHERNET_NOT_OURS
    if not policy_allows_source(net, &outer.src):
        return IP_SOURCE
    if not network_is_local(net, &outer.dst):
        return IP_DESTINATION
    reason = icmp_parse(&outer.src, &outer.dst, packet + outer.tcp_offset, outer.total_bytes - outer.tcp_offset, error)
    if reason != ACCEPTED:
        return reason
    # RFC 5927 4: an error comes to the address that the packet came from.
    return ACCEPTED if network_is_local(net, &error.local) else ICMP_QUOTE
