"""The chain of IPv6 extension headers (RFC 8200 4).

    | IPv6 | hop-by-hop (only here) | destination options | routing | destination options | TCP |

Each starts with the type of the next header and its own length in units of eight octets, the first eight not
counted.
"""
from underpass.wire.reason cimport IP_PROTOCOL, IPV6_EXTENSION, IPV6_FRAGMENT

cdef enum NextHeader:
    NEXT_HOP_BY_HOP = 0
    NEXT_ROUTING = 43
    NEXT_FRAGMENT = 44
    NEXT_DESTINATION = 60

cdef enum:
    # RFC 8504 5.3 lets a host bound the chain. These bounds are beyond any chain in use.
    MAX_EXTENSION_HEADERS = 6
    MAX_EXTENSION_BYTES = 256
    OPTION_PAD1 = 0
    OPTION_MUST_KNOW = 0xC0         # RFC 8200 4.2: 00 skip if unknown, else discard the packet
    ROUTING_AT_SEGMENTS_LEFT = 3


cdef bint options_allow(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Whether every option of a hop-by-hop or destination options header may be skipped (RFC 8200 4.2)."""
    while at < end:
        if at[0] == OPTION_PAD1:
            at += 1
            continue
        if end - at < 2 or at[1] > end - at - 2 or at[0] & OPTION_MUST_KNOW:
            return False
        at += 2 + at[1]
    return True


cdef bint header_allows(uint8_t kind, const uint8_t *at, uint32_t length, bint first) noexcept nogil:
    """Whether one extension header may be stepped over."""
    if kind == NEXT_ROUTING:
        # RFC 8200 4.4: with segments left the packet has yet to be forwarded, which a host does not do.
        return at[ROUTING_AT_SEGMENTS_LEFT] == 0
    if kind == NEXT_HOP_BY_HOP and not first:
        return False
    return options_allow(at + 2, at + length)


cdef Reason ipv6_parse_extensions(uint8_t protocol, const uint8_t *data, uint32_t bound,
                                  uint32_t *header_bytes) noexcept nogil:
    cdef uint32_t at = IPV6_BYTES, length, count = 0
    cdef uint8_t next_header = data[IPV6_AT_NEXT_HEADER]
    while next_header != protocol:
        if next_header == NEXT_FRAGMENT:
            return IPV6_FRAGMENT
        if next_header != NEXT_HOP_BY_HOP and next_header != NEXT_ROUTING and next_header != NEXT_DESTINATION:
            return IP_PROTOCOL
        if count == MAX_EXTENSION_HEADERS or bound - at < 8:
            return IPV6_EXTENSION
        length = (<uint32_t>data[at + 1] + 1) * 8
        if length > bound - at or at + length - IPV6_BYTES > MAX_EXTENSION_BYTES:
            return IPV6_EXTENSION
        if not header_allows(next_header, data + at, length, count == 0):
            return IPV6_EXTENSION
        next_header = data[at]
        at += length
        count += 1
    header_bytes[0] = at
    return ACCEPTED
