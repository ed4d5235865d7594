"""Packets as links made of software see them: one or several descriptors, gathered, copied and summed."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from underpass.link.frames cimport FramePool, frame_unref
from underpass.link.link cimport DESC_CONTINUES, Desc

cdef enum:
    MAX_PARTS = 18              # chunks of one packet, as in a socket buffer of Linux (MAX_SKB_FRAGS + 1)
    RX_HEADROOM = 256           # XDP_PACKET_HEADROOM: where received data starts in a chunk
    LINK_HEADER = 22            # Ethernet and two VLAN tags, beyond the MTU

# Copy all octets to one place.
cdef void packet_gather(FramePool *pool, const Desc *at, uint32_t parts, uint8_t *into) noexcept nogil
# Copy a packet into frames of `target` that nobody else holds, from RX_HEADROOM on: how many descriptors it
# took, or 0 where there are not enough free frames or it would take more than MAX_PARTS. `into` has room for
# MAX_PARTS. A checksum still to be filled in is filled in.
cdef uint32_t packet_copy(FramePool *source, const Desc *at, uint32_t parts, FramePool *target,
                          Desc *into) noexcept nogil
# Lay octets into frames of `target`, as packet_copy does.
cdef uint32_t packet_from_octets(FramePool *target, const uint8_t *octets, uint32_t count, Desc *into) noexcept nogil
# The octet at `position` of the packet.
cdef uint8_t *packet_octet(FramePool *pool, const Desc *at, uint32_t position) noexcept nogil
# What DESC_CHECKSUM asks for: the Internet checksum from csum_start on, ready to be stored.
cdef uint16_t packet_checksum(FramePool *pool, const Desc *at, uint32_t parts) noexcept nogil
# The same for a packet of one part that lies at `packet`: fill it in, where it is asked for.
cdef void packet_fill_checksum(const Desc *at, uint8_t *packet) noexcept nogil
# Whether the packet asks for a checksum, and the place for it lies within the packet.
cdef bint packet_wants_checksum(const Desc *at, uint32_t bytes) noexcept nogil


cdef inline uint32_t packet_parts(const Desc *at, uint32_t count) noexcept nogil:
    """Descriptors of the first packet, or 0 where its last part is not among them."""
    cdef uint32_t i
    for i in range(count):
        if not at[i].flags & DESC_CONTINUES:
            return i + 1
    return 0


cdef inline uint32_t packet_bytes(const Desc *at, uint32_t parts) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t total = at.length
    for i in range(1, parts):
        total += at[i].length
    return total


cdef inline void packet_release(FramePool *pool, const Desc *at, uint32_t parts) noexcept nogil:
    """Give up the references of all parts."""
    cdef uint32_t i
    for i in range(parts):
        frame_unref(pool, at[i].frame)
