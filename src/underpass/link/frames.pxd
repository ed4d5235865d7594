"""The frame pool: every packet buffer of a worker, received or sent.

A frame is one chunk of the UMEM plus its 32-byte descriptor. Whoever keeps a frame holds a reference: the queue
it stands in, and the device once for each descriptor outstanding. A frame with more than one reference is therefore
neither rewritten nor freed; that is the whole rule that keeps a packet unchanged while the device reads it.

    chunk   | headroom: metadata, headers ....... | payload .............. | tail room |
            0                                     ^ offset                 ^ offset + length
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    NO_FRAME = 0xFFFFFFFF
    TX_HEADROOM = 192           # metadata (24) + Ethernet and two tags (22) + IPv6 (40) + TCP with options (60), aligned

cdef enum FrameFlags:
    FRAME_SACKED = 1            # RFC 6675: reported by a SACK block
    FRAME_LOST = 2              # RFC 6675: IsLost
    FRAME_RETRANSMITTED = 4     # sent again since it was marked lost
    FRAME_EVER_RETRANSMITTED = 8    # Karn: no RTT sample from it
    FRAME_PUSH = 16             # ends a write of the application

cdef struct Frame:              # 32 bytes, in shared memory
    uint32_t next               # free list, or the queue that the frame stands in
    uint32_t seq                # sequence number of the first payload octet
    uint64_t sent_ns            # when it was last sent
    uint16_t offset             # payload from the start of the chunk
    uint16_t length             # payload octets
    uint16_t refs
    uint16_t flags
    uint32_t owner              # index of the connection that holds it
    uint32_t sack_run           # FRAME_SACKED: a frame up to which all frames from this one on are sacked

cdef struct PoolState:          # in shared memory
    uint32_t head               # top of the free list
    uint32_t free               # frames that can be taken: on the list or never used
    uint32_t fresh              # first frame that was never used
    uint32_t count
    uint32_t chunk_bytes
    uint32_t reserve            # frames that only the fill ring and control segments may take
    uint64_t refused            # allocations refused

cdef struct FramePool:          # this process's view
    uint8_t *umem
    Frame *frames
    PoolState *state
    uint32_t chunk_shift


cdef inline uint8_t *frame_chunk(FramePool *pool, uint32_t frame) noexcept nogil:
    return pool.umem + (<uint64_t>frame << pool.chunk_shift)


cdef inline uint8_t *frame_payload(FramePool *pool, uint32_t frame) noexcept nogil:
    return frame_chunk(pool, frame) + pool.frames[frame].offset


cdef inline uint32_t frame_take(FramePool *pool) noexcept nogil:
    """A frame with one reference, or NO_FRAME. For the fill ring and control segments: may go into the reserve."""
    cdef PoolState *state = pool.state
    cdef uint32_t frame = state.head
    if frame != NO_FRAME:
        state.head = pool.frames[frame].next
    elif state.fresh < state.count:
        frame = state.fresh
        state.fresh += 1
    else:
        state.refused += 1
        return NO_FRAME
    state.free -= 1
    pool.frames[frame].refs = 1
    pool.frames[frame].flags = 0
    pool.frames[frame].next = NO_FRAME
    return frame


cdef inline uint32_t frame_take_for_data(FramePool *pool) noexcept nogil:
    """A frame for application data, or NO_FRAME when only the reserve is left."""
    if pool.state.free <= pool.state.reserve:
        pool.state.refused += 1
        return NO_FRAME
    return frame_take(pool)


cdef inline void frame_ref(FramePool *pool, uint32_t frame) noexcept nogil:
    pool.frames[frame].refs += 1


cdef inline void frame_unref(FramePool *pool, uint32_t frame) noexcept nogil:
    """Give up one reference; the last one returns the frame to the pool."""
    cdef Frame *it = &pool.frames[frame]
    it.refs -= 1
    if it.refs == 0:
        it.next = pool.state.head
        pool.state.head = frame
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
