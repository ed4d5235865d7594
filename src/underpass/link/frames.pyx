"""The frame pool's memory: one memfd, mapped shared, with state, descriptors, slabs and UMEM in that order."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

import os

from underpass.link.memfd cimport MEMFD_PAGE, memfd_map, memfd_unmap

cdef enum:
    WORTH_A_CHANGE = 4              # a slab is, of which this part is free


cdef size_t whole_pages(size_t octets) noexcept:
    return (octets + MEMFD_PAGE - 1) // MEMFD_PAGE * MEMFD_PAGE


cdef uint32_t use_fresh_slab(FramePool *pool) noexcept nogil:
    """Stack the frames of the next slab that was never used, the lowest on top."""
    cdef PoolState *state = pool.state
    cdef uint32_t slab = state.slabs_used
    cdef uint32_t first = slab << SLAB_SHIFT
    cdef uint32_t size = min(<uint32_t>SLAB_FRAMES, state.count - first)
    cdef uint32_t i
    for i in range(size):
        pool.stacks[first + i] = first + size - 1 - i
    pool.stacked[slab] = <uint16_t>size
    state.slabs_used += 1
    return slab


cdef bint frame_next_slab(FramePool *pool) noexcept nogil:
    """The fullest of those in use, where it is worth the change; a fresh one before a slab that will soon be empty again."""
    cdef PoolState *state = pool.state
    cdef uint32_t fullest = 0
    cdef uint32_t slab
    for slab in range(state.slabs_used):
        if pool.stacked[slab] > pool.stacked[fullest]:
            fullest = slab
    if state.slabs_used < state.slabs and pool.stacked[fullest] < SLAB_FRAMES // WORTH_A_CHANGE:
        fullest = use_fresh_slab(pool)
    state.slab = fullest
    return pool.stacked[fullest] != 0


# ------------------------------------------------------------------------------------------ after a crash

cdef uint32_t slabs_in_use(const FramePool *pool, const uint32_t *held) noexcept nogil:
    """Those that were ever used, as far as that can be believed, and all that hold a frame in use."""
    cdef uint32_t frame = pool.state.count
    while frame and held[frame - 1] == NO_FRAME and pool.lent[frame - 1] == 0:
        frame -= 1
    return max((frame + SLAB_FRAMES - 1) >> SLAB_SHIFT, min(pool.state.slabs_used, pool.state.slabs))


cdef void refill_slab(FramePool *pool, uint32_t slab, const uint32_t *held) noexcept nogil:
    """Stack what is free of a slab, the lowest on top."""
    cdef uint32_t first = slab << SLAB_SHIFT
    cdef uint32_t frame = min(first + SLAB_FRAMES, pool.state.count)
    cdef uint32_t references
    pool.stacked[slab] = 0
    while frame > first:
        frame -= 1
        references = pool.lent[frame] + (held[frame] != NO_FRAME)
        pool.frames[frame].refs = <uint16_t>references
        if references:
            pool.state.free -= 1
        else:
            pool.stacks[first + pool.stacked[slab]] = frame
            pool.stacked[slab] += 1


cdef void frames_rebuild(FramePool *pool, const uint32_t *held) noexcept nogil:
    cdef PoolState *state = pool.state
    cdef uint32_t slab
    state.slabs = (state.count + SLAB_FRAMES - 1) >> SLAB_SHIFT
    state.slabs_used = slabs_in_use(pool, held)
    state.free = state.count
    for slab in range(state.slabs):
        if slab < state.slabs_used:
            refill_slab(pool, slab, held)
        else:
            pool.stacked[slab] = 0
    state.slab = 0
    frame_next_slab(pool)


cdef class Frames:
    """`count` frames of `chunk_bytes` each (2048 or 4096). Pages are touched only when a frame is first used.

    `reserve` frames are never given to application data, so that the fill ring and control segments always have some.
    `memfd` is that of another process's pool of the same sizes, which stays the caller's: in its first state, or, with
    `resume`, as that process left it. Raises ValueError for sizes that AF_XDP cannot use, or that the memfd has not, and
    OSError where memory is refused.
    """

    def __cinit__(self, uint32_t count, uint32_t chunk_bytes=2048, reserve=None, int memfd=-1, bint resume=False):
        self.memfd = -1
        self.base = NULL
        if chunk_bytes not in (2048, 4096):
            raise ValueError(f"a frame is 2048 or 4096 bytes, not {chunk_bytes}")
        if count < 64:
            raise ValueError(f"a pool needs at least 64 frames, not {count}")
        cdef size_t table = whole_pages(count * sizeof(Frame))
        cdef uint32_t slabs = (count + SLAB_FRAMES - 1) // SLAB_FRAMES
        cdef size_t stacks = whole_pages(slabs * SLAB_FRAMES * sizeof(uint32_t))
        cdef size_t stacked = whole_pages(slabs * sizeof(uint16_t))
        cdef size_t lent = whole_pages(count * sizeof(uint16_t))
        self.bytes = MEMFD_PAGE + table + stacks + stacked + lent + <size_t>count * chunk_bytes
        if memfd >= 0 and <size_t>os.fstat(memfd).st_size != self.bytes:
            raise ValueError(f"a memfd of {os.fstat(memfd).st_size} bytes does not hold {count} frames of {chunk_bytes}")
        self.base = memfd_map(&self.memfd, memfd, b"underpass-frames", 0, self.bytes, f"frame pool of {self.bytes} bytes")
        cdef FramePool *pool = &self.pool
        pool.state = <PoolState *>self.base
        pool.frames = <Frame *>(<uint8_t *>self.base + MEMFD_PAGE)
        pool.stacks = <uint32_t *>(<uint8_t *>self.base + MEMFD_PAGE + table)
        pool.stacked = <uint16_t *>(<uint8_t *>self.base + MEMFD_PAGE + table + stacks)
        pool.lent = <uint16_t *>(<uint8_t *>self.base + MEMFD_PAGE + table + stacks + stacked)
        pool.put = <QueuePut *>(<uint8_t *>self.base + MEMFD_PAGE - QUEUES_MAX * sizeof(QueuePut))
        pool.umem = <uint8_t *>self.base + MEMFD_PAGE + table + stacks + stacked + lent
        pool.chunk_shift = 11 if chunk_bytes == 2048 else 12
        if resume and (pool.state.count != count or pool.state.chunk_bytes != chunk_bytes):
            raise ValueError(f"the memfd holds {pool.state.count} frames of {pool.state.chunk_bytes} bytes, not {count} of {chunk_bytes}")
        if resume:
            return
        pool.state.count = pool.state.free = count
        pool.state.slabs = slabs
        pool.state.chunk_bytes = chunk_bytes
        pool.state.reserve = count // 8 if reserve is None else reserve

    def __dealloc__(self):
        memfd_unmap(self.memfd, self.base, self.bytes)

    @property
    def count(self):
        """Frames in the pool."""
        return self.pool.state.count

    @property
    def free(self):
        """Frames that can be taken now, the reserve included."""
        return self.pool.state.free

    @property
    def lent(self):
        """Frames that the kernel's device has: to receive into, or being sent."""
        cdef uint32_t frame
        cdef uint32_t lent = 0
        for frame in range(self.pool.state.count):
            lent += self.pool.lent[frame]
        return lent

    @property
    def chunk_bytes(self):
        """Bytes of one frame's chunk."""
        return self.pool.state.chunk_bytes
