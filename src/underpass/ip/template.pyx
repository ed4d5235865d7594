"""Writing the headers before TCP, from a connection's template or in answer to a segment."""
from libc.string cimport memcpy, memset

from underpass.wire.address cimport address_is_v4, address_octets
from underpass.wire.checksum cimport checksum_addresses, checksum_fold, checksum_update
from underpass.wire.ethernet cimport (ETHERNET_AT_SOURCE, ETHERNET_AT_TYPE, ETHERNET_BYTES, MAC_BYTES,
                                      TYPE_IPV4, TYPE_IPV6)
from underpass.wire.ipv4 cimport (IPV4_AT_CHECKSUM, IPV4_AT_DST, IPV4_AT_FRAGMENT, IPV4_AT_HOP_LIMIT,
                                  IPV4_AT_PROTOCOL, IPV4_AT_SRC, IPV4_AT_TOTAL_LENGTH, IPV4_AT_VERSION,
                                  IPV4_BYTES, IPV4_DONT_FRAGMENT, PROTOCOL_TCP, ipv4_sum)
from underpass.wire.ipv6 cimport (IPV6_AT_DST, IPV6_AT_HOP_LIMIT, IPV6_AT_NEXT_HEADER, IPV6_AT_PAYLOAD_LENGTH,
                                  IPV6_AT_SRC, IPV6_AT_VERSION, IPV6_BYTES, NEXT_TCP)
from underpass.wire.octets cimport bswap_16, load16, store16
from underpass.wire.segment cimport NO_VLAN
from underpass.wire.vlan cimport TYPE_VLAN, VLAN_AT_TCI, VLAN_AT_TYPE, VLAN_BYTES

cdef enum:
    ECT_0 = 2                       # RFC 3168 5
    IPV4_AT_CLASS = 1               # DSCP and ECN
    IPV6_AT_CLASS = 1               # its lower half, in the upper half of the octet
    HOP_LIMIT = 64                  # RFC 1700, RFC 4861: what hosts start with
    ONE_HEADER_V4 = ETHERNET_BYTES + IPV4_BYTES
    ONE_HEADER_V6 = ETHERNET_BYTES + IPV6_BYTES


cdef uint32_t make_ethernet(uint8_t *at, const Network *net, uint16_t ethertype,
                            uint16_t vlan) noexcept nogil:
    """All but the destination MAC; returns the octets of header and tag."""
    memcpy(at + ETHERNET_AT_SOURCE, net.mac, MAC_BYTES)
    if vlan == NO_VLAN:
        store16(at + ETHERNET_AT_TYPE, ethertype)
        return ETHERNET_BYTES
    store16(at + ETHERNET_AT_TYPE, TYPE_VLAN)
    store16(at + VLAN_AT_TCI, vlan)
    store16(at + VLAN_AT_TYPE, ethertype)
    return ETHERNET_BYTES + VLAN_BYTES


cdef void make_ipv4(uint8_t *at, const Address *src, const Address *dst) noexcept nogil:
    """Total length and checksum stay 0. DF set, so the ID may be 0 (RFC 6864 4.1)."""
    at[IPV4_AT_VERSION] = 4 << 4 | IPV4_BYTES // 4
    store16(at + IPV4_AT_FRAGMENT, IPV4_DONT_FRAGMENT)
    at[IPV4_AT_HOP_LIMIT] = HOP_LIMIT
    at[IPV4_AT_PROTOCOL] = PROTOCOL_TCP
    memcpy(at + IPV4_AT_SRC, address_octets(src), 4)
    memcpy(at + IPV4_AT_DST, address_octets(dst), 4)


cdef void make_ipv6(uint8_t *at, const Address *src, const Address *dst) noexcept nogil:
    """The payload length stays 0. Flow label 0: none (RFC 6437 2)."""
    at[IPV6_AT_VERSION] = 6 << 4
    at[IPV6_AT_NEXT_HEADER] = NEXT_TCP
    at[IPV6_AT_HOP_LIMIT] = HOP_LIMIT
    memcpy(at + IPV6_AT_SRC, src, sizeof(Address))
    memcpy(at + IPV6_AT_DST, dst, sizeof(Address))


cdef void template_make(HeaderTemplate *template, const Network *net, const Address *src, const Address *dst,
                        uint16_t vlan) noexcept nogil:
    cdef bint v4 = address_is_v4(dst)
    memset(template, 0, sizeof(HeaderTemplate))
    template.pseudo = checksum_addresses(src, dst)
    template.ip_offset = <uint8_t>make_ethernet(template.octets, net, TYPE_IPV4 if v4 else TYPE_IPV6, vlan)
    if v4:
        make_ipv4(template.octets + template.ip_offset, src, dst)
        template.ip_sum = checksum_fold(ipv4_sum(template.octets + template.ip_offset))
        template.length = template.ip_offset + IPV4_BYTES
    else:
        make_ipv6(template.octets + template.ip_offset, src, dst)
        template.length = template.ip_offset + IPV6_BYTES


cdef void template_set(HeaderTemplate *template, uint8_t traffic_class, uint8_t hop_limit) noexcept nogil:
    cdef uint8_t *ip = template.octets + template.ip_offset
    if template.length - template.ip_offset == IPV4_BYTES:
        ip[IPV4_AT_CLASS] = traffic_class
        ip[IPV4_AT_HOP_LIMIT] = hop_limit if hop_limit else HOP_LIMIT
        template.ip_sum = checksum_fold(ipv4_sum(ip))
    else:
        ip[IPV6_AT_VERSION] = 6 << 4 | traffic_class >> 4
        ip[IPV6_AT_CLASS] = <uint8_t>(traffic_class << 4)
        ip[IPV6_AT_HOP_LIMIT] = hop_limit if hop_limit else HOP_LIMIT


cdef inline void finish_ipv4(uint8_t *ip, uint32_t tcp_bytes, uint64_t ip_sum) noexcept nogil:
    """Total length, and the checksum made from that of the rest (RFC 1624: only one word differs)."""
    cdef uint16_t length = bswap_16(<uint16_t>(IPV4_BYTES + tcp_bytes))
    cdef uint16_t checksum = ~checksum_fold(ip_sum + length)
    memcpy(ip + IPV4_AT_TOTAL_LENGTH, &length, 2)
    memcpy(ip + IPV4_AT_CHECKSUM, &checksum, 2)


cdef uint8_t *template_write(const HeaderTemplate *template, const uint8_t *mac, uint8_t *tcp,
                             uint32_t tcp_bytes) noexcept nogil:
    cdef uint8_t *at = tcp - template.length
    # Constant lengths for the usual two, so that the copy is a few moves.
    if template.length == ONE_HEADER_V4:
        memcpy(at, template.octets, ONE_HEADER_V4)
    elif template.length == ONE_HEADER_V6:
        memcpy(at, template.octets, ONE_HEADER_V6)
    else:
        memcpy(at, template.octets, template.length)
    memcpy(at, mac, MAC_BYTES)
    if template.length - template.ip_offset == IPV4_BYTES:
        finish_ipv4(at + template.ip_offset, tcp_bytes, template.ip_sum)
    else:
        store16(at + template.ip_offset + IPV6_AT_PAYLOAD_LENGTH, <uint16_t>tcp_bytes)
    return at


cdef void template_lengthen(const HeaderTemplate *template, uint8_t *packet, uint32_t tcp_bytes) noexcept nogil:
    cdef uint8_t *ip = packet + template.ip_offset
    cdef uint16_t before
    if template.length - template.ip_offset != IPV4_BYTES:
        store16(ip + IPV6_AT_PAYLOAD_LENGTH, <uint16_t>tcp_bytes)
        return
    before = load16(ip + IPV4_AT_TOTAL_LENGTH)
    store16(ip + IPV4_AT_TOTAL_LENGTH, <uint16_t>(IPV4_BYTES + tcp_bytes))
    store16(ip + IPV4_AT_CHECKSUM, checksum_update(load16(ip + IPV4_AT_CHECKSUM), before,
                                                   <uint16_t>(IPV4_BYTES + tcp_bytes)))


cdef void template_mark(const HeaderTemplate *template, uint8_t *packet) noexcept nogil:
    cdef uint8_t *ip = packet + template.ip_offset
    cdef uint16_t checksum
    if template.length - template.ip_offset != IPV4_BYTES:
        ip[IPV6_AT_CLASS] |= ECT_0 << 4         # the class lies across two octets
        return
    ip[IPV4_AT_CLASS] |= ECT_0
    memcpy(&checksum, ip + IPV4_AT_CHECKSUM, 2)
    checksum = ~checksum_fold(<uint16_t>~checksum + <uint64_t>bswap_16(ECT_0))     # RFC 1624 3
    memcpy(ip + IPV4_AT_CHECKSUM, &checksum, 2)


cdef uint8_t *template_answer(const Network *net, const Segment *seg, uint8_t *tcp,
                              uint32_t tcp_bytes) noexcept nogil:
    cdef HeaderTemplate template
    template_make(&template, net, &seg.dst, &seg.src, seg.vlan)
    return template_write(&template, seg.packet + ETHERNET_AT_SOURCE, tcp, tcp_bytes)
