"""Handing packets over between workers."""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport read, write

import contextlib
import os
import select

from underpass.link.link cimport DESC_HANDED, Desc, Link, LinkBase, LinkCounters
from underpass.link.memfd cimport memfd_map, memfd_unmap
from underpass.link.packet cimport MAX_PARTS, packet_from_octets

cdef extern from * nogil:
    uint64_t load_with "__atomic_load_n"(const uint64_t *at, int order)
    void store_with "__atomic_store_n"(uint64_t *at, uint64_t value, int order)
    uint32_t flag_exchange "__atomic_exchange_n"(uint32_t *at, uint32_t value, int order)
    void flag_store "__atomic_store_n"(uint32_t *at, uint32_t value, int order)
    void fence "__atomic_thread_fence"(int order)
    enum:
        RELAXED "__ATOMIC_RELAXED"
        ACQUIRE "__ATOMIC_ACQUIRE"
        RELEASE "__ATOMIC_RELEASE"
        SEQ_CST "__ATOMIC_SEQ_CST"

cdef enum:
    PAGE = 4096
    LENGTH_BYTES = 8                # in front of each record, which keeps to multiples of 8
    TO_THE_START = 0xFFFFFFFF       # a length: the rest of the ring is left out
    NOW = 0                         # a deadline that is over


cdef inline uint64_t record_bytes(uint32_t octets) noexcept nogil:
    return LENGTH_BYTES + ((<uint64_t>octets + 7) & ~<uint64_t>7)


# ------------------------------------------------------------------------------------------ giving

cdef bint handover_give(Handover *it, uint32_t to, const Piece *pieces, uint32_t count) noexcept nogil:
    cdef Ring *ring
    cdef uint32_t octets = 0
    cdef uint32_t i
    for i in range(count):
        octets += pieces[i].count
    if to >= it.workers or octets > RECORD_MAX:
        return False
    ring = &it.rings[it.worker * it.workers + to]
    if not put(ring, pieces, count, octets):
        ring.lost += 1
        return False
    ring.given += 1
    wake(it, to)
    return True


cdef bint put(Ring *ring, const Piece *pieces, uint32_t count, uint32_t octets) noexcept nogil:
    """Write a record in one piece, from the ring's start where it does not fit before the end.

    The acquire pairs with the reader's release of `head`: it has done with what stood there before.
    """
    cdef uint64_t head = load_with(&ring.head, ACQUIRE)
    cdef uint64_t tail = ring.tail
    cdef uint64_t at = tail % RING_BYTES
    cdef uint64_t need = record_bytes(octets)
    cdef uint64_t skipped = RING_BYTES - at if at + need > RING_BYTES else 0
    cdef uint32_t i
    if tail - head > RING_BYTES or need + skipped > RING_BYTES - (tail - head):
        return False
    if skipped:
        (<uint32_t *>&ring.octets[at])[0] = TO_THE_START
        at = 0
    (<uint32_t *>&ring.octets[at])[0] = octets
    at += LENGTH_BYTES
    for i in range(count):
        memcpy(&ring.octets[at], pieces[i].octets, pieces[i].count)
        at += pieces[i].count
    store_with(&ring.tail, tail + skipped + need, RELEASE)
    return True


cdef inline void wake(Handover *it, uint32_t to) noexcept nogil:
    """The other sets its flag, then looks at its rings; we write the ring, then look at the flag: one sees the other."""
    cdef uint64_t one = 1
    fence(SEQ_CST)
    if it.bells[to].sleeps and flag_exchange(&it.bells[to].sleeps, 0, RELAXED):
        write(it.eventfds[to], &one, sizeof(one))


# ------------------------------------------------------------------------------------------ taking

cdef uint32_t take(Handover *it, Ring *ring, Link *link, Desc *into, uint32_t room) noexcept nogil:
    """Packets of one ring into frames. What its writer can have put there is not trusted: lengths are checked."""
    cdef uint64_t tail = load_with(&ring.tail, ACQUIRE)
    cdef uint64_t head = ring.head
    cdef uint64_t at
    cdef uint32_t octets, parts
    cdef uint32_t got = 0
    if tail - head > RING_BYTES:
        head = tail                             # not a state that a worker leaves: begin anew
    while head != tail and got + MAX_PARTS <= room:
        at = head % RING_BYTES
        octets = (<const uint32_t *>&ring.octets[at & ~<uint64_t>7])[0]
        if octets == TO_THE_START and RING_BYTES - at <= tail - head:
            head += RING_BYTES - at
            continue
        if octets > RECORD_MAX or at + record_bytes(octets) > RING_BYTES or record_bytes(octets) > tail - head:
            head = tail
            break
        parts = packet_from_octets(link.pool, &ring.octets[at + LENGTH_BYTES], octets, into + got)
        if parts == 0:
            link.counters.rx_no_frame += 1
        else:
            into[got].flags |= DESC_HANDED
            link.counters.rx_packets += 1
            link.counters.rx_bytes += octets
            it.taken += 1
        got += parts
        head += record_bytes(octets)
    store_with(&ring.head, head, RELEASE)
    return got


cdef inline bint any_waits(const Handover *it) noexcept nogil:
    cdef const Ring *ring
    cdef uint32_t i
    for i in range(it.workers):
        ring = &it.rings[i * it.workers + it.worker]
        if load_with(&ring.tail, ACQUIRE) != ring.head:
            return True
    return False


# ------------------------------------------------------------------------------------------ the link

cdef uint32_t handover_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    """Our own queue first, then what others gave, as far as there is room."""
    cdef Handover *it = <Handover *>link.self
    cdef uint64_t rung
    cdef uint32_t i
    cdef uint32_t got
    if it.idle and flag_exchange(&it.bells[it.worker].sleeps, 0, RELAXED) == 0:
        read(it.eventfds[it.worker], &rung, sizeof(rung))
    it.idle = False
    got = it.below.receive(it.below, into, room, now_ns)
    for i in range(it.workers):
        if i != it.worker:
            got += take(it, &it.rings[i * it.workers + it.worker], link, into + got, room - got)
    return got


cdef uint32_t handover_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef Handover *it = <Handover *>link.self
    return it.below.transmit(it.below, packets, count, now_ns)


cdef void handover_wake(Link *link) noexcept nogil:
    cdef Handover *it = <Handover *>link.self
    it.below.wake(it.below)


cdef uint64_t handover_deadline(Link *link) noexcept nogil:
    """Asked for before the worker may sleep: have others ring, and look once more."""
    cdef Handover *it = <Handover *>link.self
    it.idle = True
    flag_store(&it.bells[it.worker].sleeps, 1, RELAXED)
    fence(SEQ_CST)
    return NOW if any_waits(it) else it.below.deadline(it.below)


cdef uint32_t handover_waiting(const Link *link) noexcept nogil:
    cdef const Handover *it = <const Handover *>link.self
    return it.below.waiting(it.below) if it.below.waiting != NULL else 0


cdef class HandoverArea:
    def __cinit__(self, uint32_t workers, int memfd=-1):
        self.base = NULL
        self.memfd = -1
        if not 1 <= workers <= WORKERS_MAX:
            raise ValueError(f"there are 1 to {WORKERS_MAX} workers, not {workers}")
        self.workers = workers
        self.bytes = PAGE + <size_t>workers * workers * sizeof(Ring)
        if memfd >= 0 and <size_t>os.fstat(memfd).st_size != self.bytes:
            raise ValueError(f"a memfd of {os.fstat(memfd).st_size} bytes does not hold the rings of {workers} workers")
        self.base = memfd_map(&self.memfd, memfd, b"underpass-handover", 0, self.bytes, f"rings of {workers} workers")

    def __dealloc__(self):
        memfd_unmap(self.memfd, self.base, self.bytes)

    def clear(self, uint32_t worker):
        """See handover.pyi."""
        cdef Ring *rings = <Ring *>(<char *>self.base + PAGE)
        cdef Ring *ring
        cdef uint32_t i
        for i in range(self.workers):
            ring = &rings[i * self.workers + worker]
            store_with(&ring.head, load_with(&ring.tail, ACQUIRE), RELEASE)
            ring = &rings[worker * self.workers + i]
            store_with(&ring.tail, load_with(&ring.head, ACQUIRE), RELEASE)


@cython.no_gc_clear
cdef class HandoverLink(LinkBase):
    def __init__(self, LinkBase inner not None, HandoverArea area not None, uint32_t worker, eventfds):
        if worker >= area.workers or len(eventfds) != area.workers:
            raise ValueError(f"worker {worker} and {len(eventfds)} eventfds do not fit {area.workers} workers")
        self.inner = inner
        self.area = area
        self.frames = inner.frames
        memset(&self.state, 0, sizeof(Handover))
        self.state.bells = <Bell *>area.base
        self.state.rings = <Ring *>(<char *>area.base + PAGE)
        self.state.workers = area.workers
        self.state.worker = worker
        self.state.below = &inner.link
        for i, fd in enumerate(eventfds):
            self.state.eventfds[<int>i] = fd
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(eventfds[worker])           # rung for whoever was this worker before
        self.epoll = select.epoll()
        self.epoll.register(eventfds[worker], select.EPOLLIN)
        self.watched = -1
        self.follow_inner()
        self.link = inner.link
        self.link.self = &self.state
        self.link.receive = handover_receive
        self.link.transmit = handover_transmit
        self.link.wake = handover_wake
        self.link.deadline = handover_deadline
        self.link.waiting = handover_waiting
        self.link.wait_fd = self.epoll.fileno()

    def follow_inner(self):
        """See handover.pyi."""
        if self.inner.link.wait_fd != self.watched:
            if self.watched >= 0:
                self.epoll.unregister(self.watched)
            self.watched = self.inner.link.wait_fd
            if self.watched >= 0:
                self.epoll.register(self.watched, select.EPOLLIN)
        self.link.queues = self.inner.link.queues

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        """Both links count at one place; what others gave counts as received."""
        self.inner.place_counters(at, owner)
        self.link.counters = at
        return 0

    def kernel_stats(self):
        """The inner link's."""
        return self.inner.kernel_stats()

    @property
    def handed_over(self):
        """See handover.pyi."""
        cdef Handover *it = &self.state
        cdef uint32_t i
        given = lost = 0
        for i in range(it.workers):
            given += it.rings[it.worker * it.workers + i].given
            lost += it.rings[it.worker * it.workers + i].lost
        return {"taken": it.taken, "given": given, "lost": lost}

    def close(self):
        """Close the inner link. May be called twice."""
        self.link.wait_fd = -1
        self.epoll.close()
        self.inner.close()
