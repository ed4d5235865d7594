"""Two ends of a cable within one process: the virtual network's wire, and the engine's bench.

What one end transmits is copied from its pool into frames of the other's pool, as a wire does; nothing is
allocated. A full ring refuses packets, an empty pool loses them (`rx_no_frame` of the receiver). Both ends
belong to one thread.

    transmit -> packet_copy -> other.ring [head .. tail) -> receive, once visible_ns has come
"""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from underpass.link.frames cimport (
    NO_FRAME, FramePool, Frames, frame_chunk, frame_prefetch_next, frame_take, frame_unref,
)
from underpass.link.link cimport (
    DESC_CONTINUES, LINK_TX_CHECKSUM, NEVER, Desc, Link, LinkBase, LinkCounters,
)
from underpass.link.packet cimport (
    LINK_HEADER, MAX_PARTS, RX_HEADROOM, packet_bytes, packet_copy, packet_fill_checksum, packet_parts,
    packet_release,
)


cdef class Cable:
    """What both ends share; it goes when the last of them goes."""

    def __cinit__(self, uint32_t depth, uint32_t longest, uint64_t latency_ns):
        cdef uint32_t size = 1
        while size < depth:
            size *= 2
        for side in range(2):
            self.ends[side].ring = <Arrival *>malloc(size * sizeof(Arrival))
            if self.ends[side].ring == NULL:
                raise MemoryError(f"a cable of {depth} descriptors")
            self.ends[side].mask = size - 1
            self.ends[side].longest = longest
            self.ends[side].latency_ns = latency_ns
            self.ends[side].other = &self.ends[1 - side]

    def __dealloc__(self):
        free(self.ends[0].ring)
        free(self.ends[1].ring)


@cython.no_gc_clear
cdef class MemoryLink(LinkBase):
    """One end of a cable. Made by `memory_pair`; dropping it unplugs the other."""

    def __init__(self, Cable cable not None, uint32_t side, Frames frames not None, uint32_t mtu):
        self.cable = cable
        self.frames = frames
        self.end = &cable.ends[side]
        self.end.pool = &frames.pool
        self.end.counters = &self.counters
        self.link.self = self.end
        self.link.pool = &frames.pool
        self.link.receive = cable_receive
        self.link.transmit = cable_transmit
        self.link.wake = cable_wake
        self.link.deadline = cable_deadline
        self.link.mtu = mtu
        self.link.offloads = LINK_TX_CHECKSUM
        self.link.queues = 1

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        LinkBase.place_counters(self, at, owner)
        self.end.counters = at
        return 0

    def close(self):
        """Unplug both ends: what is on its way to this one is lost, what is sent from now on as well."""
        discard(self.end, self.end.tail - self.end.head)
        unplug(self.end)

    def __dealloc__(self):
        if self.end != NULL:
            unplug(self.end)


cdef void unplug(CableEnd *end) noexcept nogil:
    if end.other != NULL:
        end.other.other = NULL
        end.other = NULL


def memory_pair(Frames frames_a not None, Frames frames_b not None, uint32_t mtu=1500, uint32_t depth=4096,
                uint64_t latency_ns=0):
    """Two links joined in one process: what one transmits, the other receives `latency_ns` later.

    `depth` descriptors, rounded up to a power of two, may be on their way in each direction; beyond that
    `transmit` refuses. Raises ValueError for an mtu outside 68..65535 or a depth outside 1..2**20.
    """
    if not 68 <= mtu <= 65535:
        raise ValueError(f"an mtu is 68 to 65535 octets, not {mtu}")
    if not 1 <= depth <= 1 << 20:
        raise ValueError(f"a cable holds 1 to {1 << 20} descriptors, not {depth}")
    cable = Cable(depth, mtu + LINK_HEADER, latency_ns)
    return MemoryLink(cable, 0, frames_a, mtu), MemoryLink(cable, 1, frames_b, mtu)


cdef uint32_t cable_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef CableEnd *end = <CableEnd *>link.self
    cdef CableEnd *other = end.other
    cdef uint64_t visible_ns = now_ns + end.latency_ns
    cdef LinkCounters *counters = link.counters
    cdef uint32_t taken = 0
    cdef uint32_t parts, octets
    while taken < count:
        parts = packet_parts(packets + taken, count - taken)
        if parts == 0:
            break
        octets = packet_bytes(packets + taken, parts)
        if other != NULL and not cable_carry(link.pool, packets + taken, parts, octets, other, visible_ns):
            break
        packet_release(link.pool, packets + taken, parts)
        counters.tx_packets += 1
        counters.tx_bytes += octets
        taken += parts
    counters.tx_refused += count - taken
    return taken


cdef inline bint cable_carry(FramePool *pool, const Desc *packet, uint32_t parts, uint32_t octets,
                             CableEnd *other, uint64_t visible_ns) noexcept nogil:
    """Lay the packet into frames and slots of the other end, or lose it; false: the ring has no room for
    now.
    """
    cdef uint32_t room = other.pool.state.chunk_bytes - RX_HEADROOM
    cdef uint32_t need = 1 if octets <= room else (octets + room - 1) // room
    if octets > other.longest or need > MAX_PARTS or need > other.mask + 1:
        other.counters.rx_too_long += 1
        return True
    if other.mask + 1 - (other.tail - other.head) < need:
        return False
    if need == 1 and parts == 1:
        carry_plain(pool, packet, other, visible_ns)
    else:
        carry_parts(pool, packet, parts, other, visible_ns)
    return True


cdef void carry_parts(FramePool *pool, const Desc *packet, uint32_t parts, CableEnd *other,
                      uint64_t visible_ns) noexcept nogil:
    """Any packet: several chunks at either end."""
    cdef Desc[MAX_PARTS] made
    cdef uint32_t i
    cdef uint32_t count = packet_copy(pool, packet, parts, other.pool, made)
    cdef Arrival *slot
    if count == 0:
        other.counters.rx_no_frame += 1
    for i in range(count):
        slot = &other.ring[other.tail & other.mask]
        slot.desc = made[i]
        slot.desc.queue = 0
        slot.visible_ns = visible_ns
        other.tail += 1


cdef inline void carry_plain(FramePool *pool, const Desc *packet, CableEnd *other,
                             uint64_t visible_ns) noexcept nogil:
    """The common case: one chunk to one chunk."""
    cdef uint32_t frame = frame_take(other.pool)
    cdef Arrival *slot = &other.ring[other.tail & other.mask]
    if frame == NO_FRAME:
        other.counters.rx_no_frame += 1
        return
    cdef uint8_t *copy = frame_chunk(other.pool, frame) + RX_HEADROOM
    frame_prefetch_next(other.pool, RX_HEADROOM + 64)
    memcpy(copy, frame_chunk(pool, packet.frame) + packet.offset, packet.length)
    packet_fill_checksum(packet, copy)
    slot.desc = packet[0]
    slot.desc.frame = frame
    slot.desc.flags = 0
    slot.desc.offset = RX_HEADROOM
    slot.desc.queue = 0
    slot.visible_ns = visible_ns
    other.tail += 1


cdef uint32_t cable_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef CableEnd *end = <CableEnd *>link.self
    cdef LinkCounters *counters = link.counters
    cdef uint32_t got = 0
    cdef uint32_t parts
    while end.head != end.tail and end.ring[end.head & end.mask].visible_ns <= now_ns:
        parts = arrived_parts(end)
        if got + parts > room:
            if got == 0 and room > 0:
                counters.rx_too_long += 1
                discard(end, parts)
                continue
            break
        counters.rx_packets += 1
        counters.rx_bytes += hand_over(end, into + got, parts)
        got += parts
    return got


cdef inline uint32_t arrived_parts(CableEnd *end) noexcept nogil:
    """Slots of the packet at the ring's head; it is always there as a whole."""
    cdef uint32_t parts = 1
    while end.ring[(end.head + parts - 1) & end.mask].desc.flags & DESC_CONTINUES:
        parts += 1
    return parts


cdef inline uint32_t hand_over(CableEnd *end, Desc *into, uint32_t parts) noexcept nogil:
    """Move a packet's descriptors out of the ring; returns its octets."""
    cdef uint32_t i, octets = 0
    for i in range(parts):
        into[i] = end.ring[end.head & end.mask].desc
        octets += into[i].length
        end.head += 1
    return octets


cdef void discard(CableEnd *end, uint32_t parts) noexcept nogil:
    cdef uint32_t _
    for _ in range(parts):
        frame_unref(end.pool, end.ring[end.head & end.mask].desc.frame)
        end.head += 1


cdef void cable_wake(Link *link) noexcept nogil:
    """A cable has no device to wake."""


cdef uint64_t cable_deadline(Link *link) noexcept nogil:
    cdef CableEnd *end = <CableEnd *>link.self
    return end.ring[end.head & end.mask].visible_ns if end.head != end.tail else <uint64_t>NEVER
