"""TCP headers and options. The first octet says how many more octets lie in later chunks."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport abort

from driver cimport fuzz_target
from underpass.wire.reason cimport ACCEPTED, REASONS
from underpass.wire.segment cimport MAX_SACK_BLOCKS, Segment
from underpass.wire.tcp cimport MAX_WINDOW_SCALE, tcp_parse

from underpass.testing.packets import Flags, TcpSegment


cdef void parse(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef Segment seg
    cdef uint32_t total
    if size == 0:
        return
    total = size - 1 + data[0]
    seg.tcp_offset = 34
    reason = tcp_parse(data + 1, size - 1, total, &seg)
    if reason >= REASONS:
        abort()
    if reason != ACCEPTED:
        return
    if seg.payload_offset > 34 + size - 1 or seg.payload_offset + seg.payload_bytes != 34 + total:
        abort()
    if seg.sack_count > MAX_SACK_BLOCKS or seg.window_scale > MAX_WINDOW_SCALE:
        abort()


one = fuzz_target(parse)
SEGMENTS = (TcpSegment(flags=Flags.SYN, mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 2)),
            TcpSegment(timestamps=(1, 2), payload=b"x"), TcpSegment(sack=((1, 2), (3, 4), (5, 6), (7, 8))))
SEEDS = [b"\0" + seg.build()[34:] for seg in SEGMENTS]
