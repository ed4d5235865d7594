"""ICMP errors. The first octet says of which family, and whether the checksum is made right."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy, memset

from driver cimport fuzz_target
from underpass.wire.address cimport Address, address_is_v4, address_v4, address_v6
from underpass.wire.checksum cimport checksum_add, checksum_fold, checksum_pseudo
from underpass.wire.icmp cimport ICMP_BYTES, ICMP_REFUSED, ICMP_TOO_BIG, IcmpError, icmp_parse
from underpass.wire.octets cimport bswap_16
from underpass.wire.reason cimport ACCEPTED, REASONS

from underpass.testing.icmp import icmp_error
from underpass.testing.packets import TcpSegment

cdef enum:
    V6 = 1
    MADE_RIGHT = 2


cdef void fill_checksum(const Address *one, const Address *other, uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint16_t checksum
    if not address_is_v4(one):
        total = checksum_pseudo(one, other, size) - bswap_16(6) + bswap_16(58)
    memset(data + 2, 0, 2)
    checksum = ~checksum_fold(checksum_add(data, size, total))
    memcpy(data + 2, &checksum, 2)


cdef void parse(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint8_t[32] octets
    cdef Address one, other
    cdef IcmpError error
    cdef uint8_t *message
    if size == 0:
        return
    memset(octets, 7, sizeof(octets))
    one = address_v6(octets) if data[0] & V6 else address_v4(octets)
    other = address_v6(octets + 16) if data[0] & V6 else address_v4(octets + 16)
    message = <uint8_t *>malloc(size)                   # of just its size: what is read beyond it is seen
    memcpy(message, data + 1, size - 1)
    if data[0] & MADE_RIGHT and size - 1 >= ICMP_BYTES:
        fill_checksum(&one, &other, message, size - 1)
    reason = icmp_parse(&one, &other, message, size - 1, &error)
    free(message)
    if reason >= REASONS:
        abort()
    if reason != ACCEPTED:
        return
    if error.kind > ICMP_REFUSED or error.error <= 0 or (error.mtu != 0 and error.kind != ICMP_TOO_BIG):
        abort()
    if address_is_v4(&error.local) != address_is_v4(&one) or address_is_v4(&error.remote) != address_is_v4(&one):
        abort()


one = fuzz_target(parse)
SENT = TcpSegment(), TcpSegment(src="2001:db8::1", dst="2001:db8::2")
SEEDS = [b"\2" + icmp_error(SENT[0], kind, code, mtu=1400)[34:] for kind, code in ((3, 4), (3, 1), (11, 0))]
SEEDS += [b"\3" + icmp_error(SENT[1], kind, code, mtu=1400)[54:] for kind, code in ((2, 0), (1, 4), (3, 0))]
