"""The packet path of AF_XDP: between the rings of one or several sockets and the frames of one pool."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from underpass.link.frames cimport FramePool
from underpass.link.link cimport Desc, Link, LinkCounters
from underpass.link.xsk_socket cimport Xsk

cdef struct XskPath:
    Xsk *xsks
    uint32_t count              # of them; 0 once closed
    uint32_t first              # the one that the next receive looks at first
    FramePool *pool
    int packet_socket           # sends what has DESC_SEGMENTS; -1: there is none
    uint16_t *lent              # for each frame, references that the kernel holds
    LinkCounters *counters
    uint32_t metadata_bytes     # room that every sent packet needs in front
    bint checksum               # DESC_CHECKSUM becomes TX metadata
    bint multi_buffer
    bint zero_copy
    bint busy_poll              # the kernel polls the device in our calls: it must be called for every batch
    uint64_t now_ns

cdef uint32_t xsk_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil
cdef uint32_t xsk_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil
cdef void xsk_wake(Link *link) noexcept nogil
cdef uint64_t xsk_deadline(Link *link) noexcept nogil
cdef uint32_t xsk_waiting(const Link *link) noexcept nogil
# Give the kernel frames to receive into, up to the socket's target or as far as the pool goes.
cdef void xsk_refill(XskPath *path, Xsk *xsk) noexcept nogil
# Between two turns: what is the kernel's follows from the rings.
cdef void xsk_settle(Xsk *xsk) noexcept nogil
# The process before this one died somewhere in its work: make `lent` right again.
cdef void xsk_mend(XskPath *path) noexcept nogil
# With the sockets closed: take back every reference that the kernel held.
cdef void xsk_reclaim(XskPath *path) noexcept nogil
