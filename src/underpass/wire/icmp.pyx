"""Parsing of ICMP errors."""
from libc.errno cimport (
    EACCES, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, ENONET, ENOPROTOOPT, EOPNOTSUPP, EPROTO,
)
from libc.stdint cimport uint64_t

from underpass.wire.address cimport address_is_v4, address_v4, address_v6
from underpass.wire.checksum cimport CHECKSUM_GOOD, checksum_add, checksum_fold, checksum_pseudo
from underpass.wire.ipv4 cimport (
    IPV4_AT_DST, IPV4_AT_FRAGMENT, IPV4_AT_PROTOCOL, IPV4_AT_SRC, IPV4_AT_TOTAL_LENGTH, IPV4_BYTES, PROTOCOL_TCP,
)
from underpass.wire.ipv6 cimport (
    IPV6_AT_DST, IPV6_AT_NEXT_HEADER, IPV6_AT_PAYLOAD_LENGTH, IPV6_AT_SRC, IPV6_BYTES, NEXT_TCP,
)
from underpass.wire.octets cimport bswap_16, load16, load32
from underpass.wire.reason cimport ACCEPTED, ICMP_CHECKSUM, ICMP_QUOTE, ICMP_SHORT, ICMP_TYPE

cdef enum:
    UNREACHABLE = 3                 # RFC 792
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12
    FRAGMENTATION_NEEDED = 4        # a code of UNREACHABLE
    UNREACHABLE_V6 = 1              # RFC 4443 3
    TOO_BIG_V6 = 2
    TIME_EXCEEDED_V6 = 3
    PARAMETER_PROBLEM_V6 = 4
    QUOTED_TCP = 8                  # ports and sequence number: all that an IPv4 router must quote (RFC 792)
    IPV4_OFFSET = 0x1FFF
    CODES = 16
    CODES_V6 = 7

# By code: net, host, protocol, port, (too big), source route, net unknown, host unknown, isolated, net prohibited,
# host prohibited, net and host for this type of service, administratively prohibited, precedence (RFC 1122 3.2.2.1).
cdef int[CODES] ERRORS = [
    ENETUNREACH, EHOSTUNREACH, ENOPROTOOPT, ECONNREFUSED, EMSGSIZE, EOPNOTSUPP, ENETUNREACH, EHOSTDOWN, ENONET,
    ENETUNREACH, EHOSTUNREACH, ENETUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH]
# RFC 1122 4.2.3.9: codes 2 to 4 are hard. Those after 5 were defined later; as in Linux, all are but 11 and 12.
cdef uint8_t[CODES] HARD = [0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1]
# No route, prohibited, beyond scope, address, port, source policy, route to reject (RFC 4443 3.1).
cdef int[CODES_V6] ERRORS_V6 = [ENETUNREACH, EACCES, EHOSTUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES, EACCES]
cdef uint8_t[CODES_V6] HARD_V6 = [0, 1, 0, 0, 1, 1, 1]


cdef inline Reason _mean(IcmpError *error, IcmpKind kind, int number) noexcept nogil:
    error.kind = kind
    error.error = number
    return ACCEPTED


cdef Reason _classify_v4(uint8_t kind, uint8_t code, IcmpError *error) noexcept nogil:
    if kind == TIME_EXCEEDED:
        return _mean(error, ICMP_PASSING, EHOSTUNREACH)
    if kind == PARAMETER_PROBLEM:
        return _mean(error, ICMP_PASSING, EPROTO)
    if kind != UNREACHABLE or code >= CODES:
        return ICMP_TYPE
    if code == FRAGMENTATION_NEEDED:
        return _mean(error, ICMP_TOO_BIG, EMSGSIZE)
    return _mean(error, ICMP_REFUSED if HARD[code] else ICMP_UNREACHABLE, ERRORS[code])


cdef Reason _classify_v6(uint8_t kind, uint8_t code, IcmpError *error) noexcept nogil:
    if kind == TOO_BIG_V6:
        return _mean(error, ICMP_TOO_BIG, EMSGSIZE)
    if kind == TIME_EXCEEDED_V6:
        return _mean(error, ICMP_PASSING, EHOSTUNREACH)
    if kind == PARAMETER_PROBLEM_V6:
        return _mean(error, ICMP_PASSING, EPROTO)
    if kind != UNREACHABLE_V6 or code >= CODES_V6:
        return ICMP_TYPE
    return _mean(error, ICMP_REFUSED if HARD_V6[code] else ICMP_UNREACHABLE, ERRORS_V6[code])


cdef Reason _quoted_tcp(const uint8_t *tcp, IcmpError *error) noexcept nogil:
    error.local_port = load16(tcp)
    error.remote_port = load16(tcp + 2)
    error.seq = load32(tcp + 4)
    return ACCEPTED


cdef Reason _quoted_v4(const uint8_t *ip, uint32_t bytes, IcmpError *error) noexcept nogil:
    cdef uint32_t header_bytes
    if bytes < IPV4_BYTES:
        return ICMP_SHORT
    header_bytes = (ip[0] & 15) * 4
    if ip[0] >> 4 != 4 or header_bytes < IPV4_BYTES or ip[IPV4_AT_PROTOCOL] != PROTOCOL_TCP:
        return ICMP_QUOTE
    if load16(ip + IPV4_AT_FRAGMENT) & IPV4_OFFSET:
        return ICMP_QUOTE
    if bytes < header_bytes + QUOTED_TCP:
        return ICMP_SHORT
    error.local = address_v4(ip + IPV4_AT_SRC)
    error.remote = address_v4(ip + IPV4_AT_DST)
    error.quoted_bytes = load16(ip + IPV4_AT_TOTAL_LENGTH)
    return _quoted_tcp(ip + header_bytes, error)


cdef Reason _quoted_v6(const uint8_t *ip, uint32_t bytes, IcmpError *error) noexcept nogil:
    """This stack sends no extension headers, so none stand in what it sent."""
    if bytes < IPV6_BYTES + QUOTED_TCP:
        return ICMP_SHORT
    if ip[0] >> 4 != 6 or ip[IPV6_AT_NEXT_HEADER] != NEXT_TCP:
        return ICMP_QUOTE
    error.local = address_v6(ip + IPV6_AT_SRC)
    error.remote = address_v6(ip + IPV6_AT_DST)
    if address_is_v4(&error.local) or address_is_v4(&error.remote):
        return ICMP_QUOTE
    error.quoted_bytes = IPV6_BYTES + load16(ip + IPV6_AT_PAYLOAD_LENGTH)
    return _quoted_tcp(ip + IPV6_BYTES, error)


cdef inline bint _checksum_holds(const Address *src, const Address *dst, const uint8_t *data,
                                 uint32_t bytes) noexcept nogil:
    """RFC 792: over the message alone. RFC 4443 2.3: with a pseudo-header, whose next header is 58, not TCP's 6."""
    cdef uint64_t total = 0
    if not address_is_v4(src):
        total = checksum_pseudo(src, dst, bytes) - bswap_16(NEXT_TCP) + bswap_16(NEXT_ICMP)
    return checksum_fold(checksum_add(data, bytes, total)) == CHECKSUM_GOOD


cdef Reason icmp_parse(const Address *src, const Address *dst, const uint8_t *data, uint32_t bytes,
                       IcmpError *error) noexcept nogil:
    cdef bint v4 = address_is_v4(src)
    cdef Reason reason
    if bytes < ICMP_BYTES:
        return ICMP_SHORT
    if not _checksum_holds(src, dst, data, bytes):
        return ICMP_CHECKSUM
    reason = _classify_v4(data[0], data[1], error) if v4 else _classify_v6(data[0], data[1], error)
    if reason != ACCEPTED:
        return reason
    error.mtu = 0
    if error.kind == ICMP_TOO_BIG:
        # RFC 1191 4: the lower half of the word; the upper is unused, and need not be zero.
        error.mtu = load16(data + 6) if v4 else load32(data + 4)
    if v4:
        return _quoted_v4(data + ICMP_BYTES, bytes - ICMP_BYTES, error)
    return _quoted_v6(data + ICMP_BYTES, bytes - ICMP_BYTES, error)
