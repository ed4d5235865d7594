"""The four rings between this process and the kernel: one producer, one consumer, indices that only grow.

A producer asks for room, writes entries, and submits; a consumer peeks, reads, and releases. Each side stores
only its own index and keeps copies of both, so that the other's cache line is touched once a batch.

    released         consumer        producer
    ...... | entries to be read ...... | entries free to write ......
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.xsk_uapi cimport XDP_RING_NEED_WAKEUP, xdp_desc

cdef extern from * nogil:
    uint32_t load_with "__atomic_load_n"(const uint32_t *index, int order)
    void store_with "__atomic_store_n"(uint32_t *index, uint32_t value, int order)
    void fence "__atomic_thread_fence"(int order)
    enum:
        RELAXED "__ATOMIC_RELAXED"
        ACQUIRE "__ATOMIC_ACQUIRE"
        RELEASE "__ATOMIC_RELEASE"
        SEQ_CST "__ATOMIC_SEQ_CST"

cdef struct Ring:
    uint32_t *producer              # in the mapping, shared with the kernel
    uint32_t *consumer
    uint32_t *flags
    void *entries
    uint32_t mask
    uint32_t produced               # this side's copies
    uint32_t consumed
    void *map
    size_t map_bytes


cdef inline uint32_t ring_peek(Ring *ring, uint32_t most) noexcept nogil:
    """Consumer: entries that can be read from `ring.consumed` on, at most so many.

    The acquire pairs with the kernel's release of its producer index: what it wrote before is visible after.
    """
    cdef uint32_t there = ring.produced - ring.consumed
    if there < most:
        ring.produced = load_with(ring.producer, ACQUIRE)
        there = ring.produced - ring.consumed
    return there if there < most else most


cdef inline void ring_release(Ring *ring, uint32_t count) noexcept nogil:
    """Consumer: done with the first entries. The release keeps our reads before the kernel's next writes."""
    ring.consumed += count
    store_with(ring.consumer, ring.consumed, RELEASE)


cdef inline uint32_t ring_room(Ring *ring, uint32_t wanted) noexcept nogil:
    """Producer: entries that can be written from `ring.produced` on. Reads the index only if fewer are known.

    The acquire pairs with the kernel's release of its consumer index: it has read what stood there before.
    """
    cdef uint32_t room = ring.mask + 1 - (ring.produced - ring.consumed)
    if room < wanted:
        ring.consumed = load_with(ring.consumer, ACQUIRE)
        room = ring.mask + 1 - (ring.produced - ring.consumed)
    return room


cdef inline void ring_submit(Ring *ring) noexcept nogil:
    """Producer: what was written up to `ring.produced` is the kernel's; the release makes it see it whole."""
    store_with(ring.producer, ring.produced, RELEASE)


cdef inline bint ring_needs_wakeup(Ring *ring) noexcept nogil:
    """Producer, after a submit: whether the kernel sleeps on the ring.

    The kernel sets the flag and then looks at the producer index again; we store the index and then look at
    the flag. Only a full fence between the two on either side makes sure that one sees the other's store.
    """
    fence(SEQ_CST)
    return (load_with(ring.flags, RELAXED) & XDP_RING_NEED_WAKEUP) != 0


cdef inline bint ring_drained(Ring *ring) noexcept nogil:
    """Producer: the kernel has consumed everything that was submitted."""
    ring.consumed = load_with(ring.consumer, ACQUIRE)
    return ring.consumed == ring.produced


cdef inline xdp_desc *ring_desc(Ring *ring, uint32_t index) noexcept nogil:
    return <xdp_desc *>ring.entries + (index & ring.mask)


cdef inline uint64_t *ring_addr(Ring *ring, uint32_t index) noexcept nogil:
    return <uint64_t *>ring.entries + (index & ring.mask)
