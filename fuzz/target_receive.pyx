"""Whole frames through `ip_receive`, in one to three chunks, with checksums made right where asked.

    | how 1 | first cut 1 | second cut 1 | frame ... |

`how`: bit 0 the link gives partial checksums, bit 1 fill in the IPv4 checksum and make TCP's a partial one. A
cut of n is at 4 * n octets.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport abort, calloc, free, malloc
from libc.string cimport memcpy, memset

from driver cimport fuzz_target
from underpass.ip.network cimport LocalAddress, Network, network_init, network_set_addresses
from underpass.ip.validate cimport Chunk, ip_receive
from underpass.wire.address cimport address_from_text
from underpass.wire.checksum cimport checksum_add, checksum_fold, checksum_pseudo
from underpass.wire.ipv4 cimport IPV4_AT_CHECKSUM
from underpass.wire.reason cimport ACCEPTED, IPV4_CHECKSUM, REASONS, TCP_CHECKSUM, Reason
from underpass.wire.segment cimport MAX_SACK_BLOCKS, Segment
from underpass.wire.siphash cimport SipKey
from underpass.wire.tcp cimport MAX_WINDOW_SCALE, TCP_AT_CHECKSUM

from underpass.testing.packets import Flags, TcpSegment, extension_header

cdef enum How:
    PARTIAL_OK = 1
    FILL_IN = 2

cdef Network *net = <Network *>calloc(1, sizeof(Network))


cdef int prepare() except -1:
    cdef SipKey key = [1, 2]
    cdef LocalAddress[2] own
    memset(own, 0, sizeof(own))
    address_from_text("10.0.0.2", &own[0].address)
    address_from_text("2001:db8::2", &own[1].address)
    own[0].prefix, own[1].prefix = 96 + 24, 64
    network_init(net, &key)
    network_set_addresses(net, own, 2)
    memcpy(net.mac, b"\2\0\0\0\0\2", 6)
    return 0


cdef void check(const Segment *seg, uint32_t frame_bytes) noexcept nogil:
    """What everything above relies on in a segment that was accepted."""
    if seg.total_bytes > frame_bytes or seg.head_bytes > seg.total_bytes:
        abort()
    if seg.payload_offset > seg.head_bytes or seg.payload_offset + seg.payload_bytes != seg.total_bytes:
        abort()
    if not seg.ip_offset < seg.tcp_offset < seg.payload_offset:
        abort()
    if seg.sack_count > MAX_SACK_BLOCKS or seg.window_scale > MAX_WINDOW_SCALE:
        abort()


cdef Reason fill_in(uint8_t *head, uint32_t head_bytes, const Chunk *rest, uint32_t count,
                    Segment *seg) noexcept nogil:
    """Make the checksums right that the frame was refused for, one after the other."""
    cdef Reason reason = ip_receive(net, head, head_bytes, rest, count, True, False, seg)
    cdef uint8_t *ip = head + seg.ip_offset
    cdef uint16_t checksum
    if reason == IPV4_CHECKSUM:
        memset(ip + IPV4_AT_CHECKSUM, 0, 2)
        checksum = ~checksum_fold(checksum_add(ip, (ip[0] & 15) * 4, 0))
        memcpy(ip + IPV4_AT_CHECKSUM, &checksum, 2)
        reason = ip_receive(net, head, head_bytes, rest, count, True, False, seg)
    if reason == TCP_CHECKSUM:
        checksum = checksum_fold(checksum_pseudo(&seg.src, &seg.dst, seg.total_bytes - seg.tcp_offset))
        memcpy(head + seg.tcp_offset + TCP_AT_CHECKSUM, &checksum, 2)
        reason = ip_receive(net, head, head_bytes, rest, count, True, False, seg)
    return reason


cdef uint8_t *copied(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint8_t *copy = <uint8_t *>malloc(size if size else 1)
    memcpy(copy, data, size)
    return copy


cdef void receive(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef Chunk[2] rest
    cdef Segment seg
    cdef uint32_t first, second
    cdef uint8_t *head
    cdef Reason reason
    if size < 3:
        return
    frame, size = data + 3, size - 3
    first = min(<uint32_t>data[1] * 4, size) if data[1] else size
    second = min(<uint32_t>data[2] * 4, size - first)
    head = copied(frame, first)
    rest[0].data, rest[0].length = copied(frame + first, second), second
    frame, size_left = frame + first + second, size - first - second
    rest[1].data, rest[1].length = copied(frame, size_left), size_left
    memset(&seg, 0, sizeof(seg))
    if data[0] & FILL_IN:
        reason = fill_in(head, first, rest, 2, &seg)
    else:
        reason = ip_receive(net, head, first, rest, 2, data[0] & PARTIAL_OK, False, &seg)
    if reason >= REASONS:
        abort()
    if reason == ACCEPTED:
        check(&seg, size)
    free(head)
    free(<void *>rest[0].data)
    free(<void *>rest[1].data)


prepare()
one = fuzz_target(receive)
V4 = TcpSegment(flags=Flags.SYN, mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 2))
V6 = TcpSegment(src="2001:db8::1", dst="2001:db8::2", vlan=(7,), sack=((1, 2), (3, 4)), payload=b"odd" * 99)
CHAIN = [(0, extension_header(60)), (60, extension_header(6, b"\x1e\x04test"))]
SEEDS = [how + frame for how in (b"\0\0\0", b"\1\x1e\5", b"\2\x1e\7")
         for frame in (V4.build(), V6.build(), V6.build(extensions=CHAIN), V4.build(ip_options=b"\1\1\1\0"))]
