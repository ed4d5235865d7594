"""Packets that come back."""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memset

from underpass.link.frames cimport frame_chunk
from underpass.link.link cimport DESC_CONTINUES, DESC_LOCAL, Desc, Link, LinkBase, LinkCounters
from underpass.link.packet cimport MAX_PARTS, packet_copy, packet_parts, packet_release


cdef inline bint is_own(const Local *it, const Link *link, const Desc *at) noexcept nogil:
    return memcmp(frame_chunk(link.pool, at.frame) + at.offset, it.mac, 6) == 0


cdef void give_back(Local *it, Link *link, const Desc *at, uint32_t parts) noexcept nogil:
    """Copy a packet for the next receive; its own frames belong to who may send them again."""
    cdef Desc[MAX_PARTS] copies
    cdef uint32_t count = 0
    cdef uint32_t i
    if it.tail - it.head <= LOCAL_ROOM - MAX_PARTS:
        count = packet_copy(link.pool, at, parts, link.pool, copies)
    if count == 0:
        it.lost += 1
    else:
        it.returned += 1
    for i in range(count):
        copies[i].flags |= DESC_LOCAL
        it.ring[it.tail % LOCAL_ROOM] = copies[i]
        it.tail += 1
    packet_release(link.pool, at, parts)


cdef uint32_t local_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    """In order: runs of packets for others go to the link below, as far as it takes them."""
    cdef Local *it = <Local *>link.self
    cdef uint32_t done = 0
    cdef uint32_t end = 0
    cdef uint32_t parts, taken
    if it.mac == NULL:
        return it.below.transmit(it.below, packets, count, now_ns)
    while done < count:
        parts = packet_parts(packets + end, count - end) if end < count else 0
        if parts and not is_own(it, link, packets + end):
            end += parts
            continue
        if end > done:
            taken = it.below.transmit(it.below, packets + done, end - done, now_ns)
            done += taken
            if done < end:
                return done
        if parts == 0:
            return done
        give_back(it, link, packets + done, parts)
        done += parts
        end = done
    return done


cdef uint32_t local_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    """Ours first: there are as many as the last turn sent."""
    cdef Local *it = <Local *>link.self
    cdef uint32_t got = 0
    cdef uint32_t parts
    while it.head != it.tail:
        parts = 1
        while it.ring[(it.head + parts - 1) % LOCAL_ROOM].flags & DESC_CONTINUES:
            parts += 1
        if got + parts > room:
            return got
        for _ in range(parts):
            into[got] = it.ring[it.head % LOCAL_ROOM]
            it.head += 1
            got += 1
    return got + it.below.receive(it.below, into + got, room - got, now_ns)


cdef void local_wake(Link *link) noexcept nogil:
    cdef Local *it = <Local *>link.self
    it.below.wake(it.below)


cdef uint64_t local_deadline(Link *link) noexcept nogil:
    cdef Local *it = <Local *>link.self
    if it.head != it.tail:
        return 0
    return it.below.deadline(it.below)


cdef uint32_t local_waiting(const Link *link) noexcept nogil:
    """Of what others send: what comes back is never more than a turn has sent."""
    cdef const Local *it = <const Local *>link.self
    return it.below.waiting(it.below) if it.below.waiting != NULL else 0


@cython.no_gc_clear
cdef class LocalLink(LinkBase):
    def __init__(self, LinkBase inner not None):
        self.inner = inner
        self.frames = inner.frames
        memset(&self.state, 0, sizeof(Local))
        self.state.below = &inner.link
        self.link = inner.link
        self.link.self = &self.state
        self.link.receive = local_receive
        self.link.transmit = local_transmit
        self.link.wake = local_wake
        self.link.deadline = local_deadline
        self.link.waiting = local_waiting

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        self.inner.place_counters(at, owner)
        self.link.counters = at
        return 0

    def kernel_stats(self):
        """The inner link's."""
        return self.inner.kernel_stats()

    @property
    def local(self):
        """See local.pyi."""
        return {"returned": self.state.returned, "lost": self.state.lost}

    def close(self):
        """Close the inner link. May be called twice."""
        self.link.wait_fd = -1
        self.inner.close()
