"""The frame pool: every packet buffer of a worker, received or sent.

A frame is one chunk of the UMEM plus its 32-byte descriptor. Whoever keeps a frame holds a reference: the queue
it stands in, and the device once for each descriptor outstanding. A frame with more than one reference is therefore
neither rewritten nor freed; that is the whole rule that keeps a packet unchanged while the device reads it.

    chunk   | headroom: metadata, headers ....... | payload .............. | tail room |
            0                                     ^ offset                 ^ offset + length

Frames are taken from one slab, a run of neighbours, until it is empty, and go back to their own slab: what is taken
together is given back together, so that even with many frames held for long the next ones lie in few pages. Within
a slab what was given back last is taken first, while it is in the cache.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    void __builtin_prefetch(const void *at)

cdef enum:
    NO_FRAME = 0xFFFFFFFF
    SLAB_SHIFT = 9
    SLAB_FRAMES = 512
    QUEUES_MAX = 256            # of a device of the kernel's
    PREFETCH_AHEAD = 2          # frames
    TX_HEADROOM = 192           # metadata (24) + Ethernet and two tags (22) + IPv6 (40) + TCP with options (60), aligned

cdef enum FrameFlags:
    FRAME_SACKED = 1            # RFC 6675: reported by a SACK block
    FRAME_LOST = 2              # RFC 6675: IsLost
    FRAME_RETRANSMITTED = 4     # sent again since it was marked lost
    FRAME_EVER_RETRANSMITTED = 8    # Karn: no RTT sample from it
    FRAME_PUSH = 16             # ends a write of the application

cdef struct Frame:              # 32 bytes, in shared memory
    uint32_t next               # in the queue that the frame stands in
    uint32_t seq                # sequence number of the first payload octet
    uint64_t sent_ns            # when it was last sent
    uint16_t offset             # payload from the start of the chunk
    uint16_t length             # payload octets
    uint16_t refs
    uint16_t flags
    uint32_t owner              # index of the connection that holds it
    uint32_t sack_run           # FRAME_SACKED: a frame up to which all frames from this one on are sacked

cdef struct PoolState:          # in shared memory
    uint32_t slab               # that frames are taken from
    uint32_t slabs_used         # those from here on were never used, and their memory never touched
    uint32_t slabs
    uint32_t free               # frames that can be taken
    uint32_t count
    uint32_t chunk_bytes
    uint32_t reserve            # frames that only the fill ring and control segments may take
    uint64_t refused            # allocations refused

cdef struct QueuePut:           # in shared memory: how far a queue's rings were written, submitted or not
    uint32_t tx
    uint32_t fill

cdef struct FramePool:          # this process's view
    uint8_t *umem
    Frame *frames
    uint32_t *stacks            # SLAB_FRAMES for each slab: its free frames
    uint16_t *stacked           # how many there are
    PoolState *state
    uint16_t *lent              # for each frame, references that a device of the kernel's holds
    QueuePut *put               # for each of its queues: see xsk_path.pyx
    uint32_t chunk_shift


# After a crash: a frame is in use where `held` names the connection that has it (else NO_FRAME), or the device has it (`lent`).
# All others are free.
cdef void frames_rebuild(FramePool *pool, const uint32_t *held) noexcept nogil
# All frames of the current slab are taken: go on with another one, which is not empty; false: all are.
cdef bint frame_next_slab(FramePool *pool) noexcept nogil


cdef inline uint8_t *frame_chunk(FramePool *pool, uint32_t frame) noexcept nogil:
    return pool.umem + (<uint64_t>frame << pool.chunk_shift)


cdef inline uint8_t *frame_payload(FramePool *pool, uint32_t frame) noexcept nogil:
    return frame_chunk(pool, frame) + pool.frames[frame].offset


cdef inline uint32_t frame_take(FramePool *pool) noexcept nogil:
    """A frame with one reference, or NO_FRAME. For the fill ring and control segments: may go into the reserve."""
    cdef PoolState *state = pool.state
    cdef uint32_t frame
    if pool.stacked[state.slab] == 0 and not frame_next_slab(pool):
        state.refused += 1
        return NO_FRAME
    pool.stacked[state.slab] -= 1
    frame = pool.stacks[(state.slab << SLAB_SHIFT) + pool.stacked[state.slab]]
    state.free -= 1
    pool.frames[frame].refs = 1
    pool.frames[frame].flags = 0
    pool.frames[frame].next = NO_FRAME
    return frame


cdef inline void frame_prefetch_next(const FramePool *pool, uint32_t offset) noexcept nogil:
    """Have the frame that will be taken after a few others come to the cache, and its chunk around `offset`."""
    cdef uint32_t slab = pool.state.slab
    cdef uint32_t frame
    cdef const uint8_t *at
    if pool.stacked[slab] > PREFETCH_AHEAD:
        frame = pool.stacks[(slab << SLAB_SHIFT) + pool.stacked[slab] - 1 - PREFETCH_AHEAD]
        at = frame_chunk(<FramePool *>pool, frame) + offset
        __builtin_prefetch(&pool.frames[frame])
        __builtin_prefetch(at - 64)
        __builtin_prefetch(at)


cdef inline uint32_t frame_take_for_data(FramePool *pool) noexcept nogil:
    """A frame for application data, or NO_FRAME when only the reserve is left."""
    if pool.state.free <= pool.state.reserve:
        pool.state.refused += 1
        return NO_FRAME
    frame_prefetch_next(pool, TX_HEADROOM)
    return frame_take(pool)


cdef inline void frame_ref(FramePool *pool, uint32_t frame) noexcept nogil:
    pool.frames[frame].refs += 1


cdef inline void frame_unref(FramePool *pool, uint32_t frame) noexcept nogil:
    """Give up one reference; the last one returns the frame to the pool."""
    cdef Frame *it = &pool.frames[frame]
    cdef uint32_t slab = frame >> SLAB_SHIFT
    it.refs -= 1
    if it.refs == 0:
        pool.stacks[(slab << SLAB_SHIFT) + pool.stacked[slab]] = frame
        pool.stacked[slab] += 1
        pool.state.free += 1


cdef inline bint frame_is_outstanding(FramePool *pool, uint32_t frame) noexcept nogil:
    """Whether the device, or another queue, still reads the frame."""
    return pool.frames[frame].refs > 1


cdef class Frames:
    """Owns the memory of a pool: one memfd with the pool's state, the frame descriptors and the UMEM."""
    cdef FramePool pool
    cdef void *base
    cdef size_t bytes
    cdef readonly int memfd
