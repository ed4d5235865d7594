"""IPv6 headers and chains of extension headers. The first octet says how many more lie in later chunks."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport abort

from driver cimport fuzz_target
from underpass.wire.ipv6 cimport ipv6_parse
from underpass.wire.reason cimport ACCEPTED, REASONS
from underpass.wire.segment cimport Segment

from underpass.testing.packets import TcpSegment, extension_header


cdef void parse(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef Segment seg
    if size == 0:
        return
    seg.ip_offset = 14
    seg.total_bytes = 0
    reason = ipv6_parse(data + 1, size - 1, size - 1 + data[0], &seg)
    if reason >= REASONS:
        abort()
    if reason == ACCEPTED and not (14 + 40 <= seg.tcp_offset <= seg.total_bytes <= 14 + size - 1 + data[0]):
        abort()


one = fuzz_target(parse)
PACKET = TcpSegment(src="2001:db8::1", dst="2001:db8::2")
SEEDS = [b"\0" + PACKET.build(extensions=chain)[14:]
         for chain in ((), [(0, extension_header(60)), (60, extension_header(43)), (43, extension_header(6))],
                       [(44, extension_header(6))], [(60, extension_header(6, b"\x1e\x04test"))])]
