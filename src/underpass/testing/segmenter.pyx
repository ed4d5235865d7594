"""What a device with segmentation offload does, in software: for links that have none, and for tests of the engine's side.

Each part of a packet with DESC_SEGMENTS becomes a packet of its own, with a copy of the headers in front. What finds no
frame, or no room below, is lost, as on any wire.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from underpass.link.frames cimport NO_FRAME, frame_chunk, frame_take, frame_unref
from underpass.link.link cimport DESC_CHECKSUM, DESC_SEGMENTS, LINK_SEGMENTATION, Desc, Link, LinkBase, LinkCounters
from underpass.link.packet cimport RX_HEADROOM, packet_parts, packet_release
from underpass.wire.checksum cimport checksum_fold, checksum_length
from underpass.wire.ipv4 cimport IPV4_AT_CHECKSUM, IPV4_AT_ID, IPV4_AT_TOTAL_LENGTH, ipv4_sum
from underpass.wire.ipv6 cimport IPV6_AT_PAYLOAD_LENGTH, IPV6_BYTES
from underpass.wire.octets cimport load16, load32, store16, store32
from underpass.wire.segment cimport FIN, PSH
from underpass.wire.tcp cimport TCP_AT_CHECKSUM, TCP_AT_FLAGS, TCP_AT_SEQ


cdef class SegmenterLink(LinkBase):
    def __init__(self, LinkBase inner not None):
        self.inner = inner
        self.frames = inner.frames
        self.below = &inner.link
        self.link = inner.link
        self.link.self = <void *>self.below
        self.link.offloads |= LINK_SEGMENTATION
        self.link.receive = segmenter_receive
        self.link.transmit = segmenter_transmit
        self.link.wake = segmenter_wake
        self.link.deadline = segmenter_deadline
        self.link.waiting = NULL

    def stats(self):
        """The inner link's counters."""
        return self.inner.stats()

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        """Both count in one place."""
        self.inner.place_counters(at, owner)
        self.link.counters = at
        return 0

    def close(self):
        """Close the inner link."""
        self.inner.close()


cdef uint32_t segmenter_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef Link *below = <Link *>link.self
    return below.receive(below, into, room, now_ns)


cdef void segmenter_wake(Link *link) noexcept nogil:
    cdef Link *below = <Link *>link.self
    below.wake(below)


cdef uint64_t segmenter_deadline(Link *link) noexcept nogil:
    cdef Link *below = <Link *>link.self
    return below.deadline(below)


cdef uint32_t segmenter_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef Link *below = <Link *>link.self
    cdef uint32_t taken = 0
    cdef uint32_t parts
    while taken < count:
        parts = packet_parts(packets + taken, count - taken)
        if parts == 0:
            break
        if packets[taken].flags & DESC_SEGMENTS:
            cut(link, below, packets + taken, parts, now_ns)
            packet_release(link.pool, packets + taken, parts)
        elif below.transmit(below, packets + taken, parts, now_ns) == 0:
            break
        taken += parts
    return taken


cdef void cut(Link *link, Link *below, const Desc *packet, uint32_t parts, uint64_t now_ns) noexcept nogil:
    cdef uint32_t headers = packet.header_bytes
    cdef uint32_t segment = packet.length - headers
    cdef uint32_t i, skip
    cdef Desc made
    link.counters.tx_segmented += 1
    for i in range(parts):
        skip = headers if i == 0 else 0
        made = packet[0]
        made.frame = frame_take(link.pool)
        if made.frame == NO_FRAME:
            link.counters.tx_failed += 1
            continue
        made.flags = DESC_CHECKSUM
        made.offset = RX_HEADROOM
        made.length = <uint16_t>(headers + packet[i].length - skip)
        memcpy(frame_chunk(link.pool, made.frame) + RX_HEADROOM,
               frame_chunk(link.pool, packet.frame) + packet.offset, headers)
        memcpy(frame_chunk(link.pool, made.frame) + RX_HEADROOM + headers,
               frame_chunk(link.pool, packet[i].frame) + packet[i].offset + skip, packet[i].length - skip)
        renumber(frame_chunk(link.pool, made.frame) + RX_HEADROOM, &made, i, segment, i + 1 == parts)
        if below.transmit(below, &made, 1, now_ns) == 0:
            frame_unref(link.pool, made.frame)
            link.counters.tx_failed += 1


cdef void renumber(uint8_t *octets, const Desc *made, uint32_t number, uint32_t segment, bint last) noexcept nogil:
    """Headers of the whole packet become those of its segment `number`.

    The pseudo-header's sum in the checksum field is that of the whole packet's length: the difference is taken off.
    """
    cdef uint8_t *tcp = octets + made.csum_start
    cdef uint32_t tcp_bytes = made.length - made.csum_start
    cdef uint32_t before = ip_renumber(octets, made, number)
    cdef uint16_t checksum = 0
    memcpy(&checksum, tcp + TCP_AT_CHECKSUM, 2)
    checksum = checksum_fold(<uint64_t>checksum + <uint16_t>~checksum_fold(checksum_length(before))
                             + checksum_length(tcp_bytes))
    memcpy(tcp + TCP_AT_CHECKSUM, &checksum, 2)
    store32(tcp + TCP_AT_SEQ, load32(tcp + TCP_AT_SEQ) + number * segment)
    if not last:
        tcp[TCP_AT_FLAGS] &= ~<uint8_t>(PSH | FIN)


cdef uint32_t ip_renumber(uint8_t *octets, const Desc *made, uint32_t number) noexcept nogil:
    """Length, ID and header checksum of the segment; returns the octets of TCP that the whole packet had."""
    cdef uint32_t start = 14 if load16(octets + 12) != 0x8100 else 18
    cdef uint8_t *ip = octets + start
    cdef uint32_t ip_bytes = made.csum_start - start
    cdef uint32_t before
    cdef uint16_t checksum
    if ip[0] >> 4 == 6:
        before = load16(ip + IPV6_AT_PAYLOAD_LENGTH) - (ip_bytes - IPV6_BYTES)
        store16(ip + IPV6_AT_PAYLOAD_LENGTH, <uint16_t>(made.length - start - IPV6_BYTES))
        return before
    before = load16(ip + IPV4_AT_TOTAL_LENGTH) - ip_bytes
    store16(ip + IPV4_AT_TOTAL_LENGTH, <uint16_t>(made.length - start))
    store16(ip + IPV4_AT_ID, <uint16_t>(load16(ip + IPV4_AT_ID) + number))
    store16(ip + IPV4_AT_CHECKSUM, 0)
    checksum = ~checksum_fold(ipv4_sum(ip))
    memcpy(ip + IPV4_AT_CHECKSUM, &checksum, 2)
    return before
