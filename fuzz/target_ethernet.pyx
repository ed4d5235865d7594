"""Ethernet headers and VLAN tags."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport abort

from driver cimport fuzz_target
from underpass.wire.ethernet cimport ethernet_parse
from underpass.wire.reason cimport ACCEPTED, REASONS
from underpass.wire.segment cimport Segment

from underpass.testing.packets import TcpSegment


cdef void parse(const uint8_t *data, uint32_t size) noexcept nogil:
    cdef Segment seg
    cdef uint16_t ethertype = 0
    reason = ethernet_parse(data, size, &seg, &ethertype)
    if reason >= REASONS or (reason == ACCEPTED and seg.ip_offset > size):
        abort()


one = fuzz_target(parse)
SEEDS = [TcpSegment(vlan=vlan).build() for vlan in ((), (1,), (1, 2))]
