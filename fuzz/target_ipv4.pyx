"""IPv4 headers with options. The first octet says how many more lie in later chunks."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport abort

from driver cimport fuzz_target
from underpass.wire.ipv4 cimport ipv4_parse
from underpass.wire.reason cimport ACCEPTED, REASONS
from underpass.wire.segment cimport Segment

from underpass.testing.packets import TcpSegment


cdef void parse(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef Segment seg
    if size == 0:
        return
    seg.ip_offset = 14
    seg.total_bytes = 0
    reason = ipv4_parse(data + 1, size - 1, size - 1 + data[0], &seg)
    if reason >= REASONS:
        abort()
    if reason == ACCEPTED and not (14 + 20 <= seg.tcp_offset <= seg.total_bytes <= 14 + size - 1 + data[0]):
        abort()


one = fuzz_target(parse)
OPTIONS = (b"", b"\1\1\1\0", b"\x07\x07\x04" + bytes(5), b"\x83\x07\x04" + bytes(5), b"\x94\x04\0\0")
SEEDS = [b"\0" + TcpSegment().build(ip_options=options)[14:] for options in OPTIONS]
