"""The spool: blocks of octets that a worker leaves in shared memory for one other process to read.

A memfd that the worker makes and seals, so that its size is sure; the reader is handed it. One producer, one consumer,
octets that are only ever counted up; a block stands at its count modulo the ring's size, and has its length in octets
(a multiple of 4) as its second word of 32 bits, as blocks of pcapng do:

    page 0    SpoolShared: counts of the worker, and in a cache line of its own that of the reader
    page 1..  the ring, mapped twice in a row, so that no block is ever in two pieces
                                 consumed              produced
              ..... free ....... | blocks to be read . | free ......

The worker trusts nothing that it reads there, which is `consumed` alone: whatever stands in it, a block is written
inside the ring or dropped and counted. Where the reader is slow the newest blocks are dropped; the worker never waits.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from * nogil:
    uint64_t load_count "__atomic_load_n"(const uint64_t *count, int order)
    void store_count "__atomic_store_n"(uint64_t *count, uint64_t value, int order)
    enum:
        ACQUIRE_COUNT "__ATOMIC_ACQUIRE"
        RELEASE_COUNT "__ATOMIC_RELEASE"

cdef enum:
    SPOOL_VERSION = 1
    SPOOL_PAGE = 4096
    SPOOL_LEAST = 1048576           # octets of the ring: room for several of the longest packets
    SPOOL_MOST = 268435456
    # what the blocks are
    SPOOL_PACKETS = 0x70547055      # "UpTp": see stack/tap.pxd
    SPOOL_TRACE = 0x72547055        # "UpTr": see tcp/trace.pxd

cdef struct SpoolShared:
    uint32_t magic                  # SPOOL_PACKETS, ...
    uint32_t version
    uint64_t bytes                  # of the ring, a power of two
    uint64_t[6] spare
    uint64_t produced               # octets
    uint64_t passed                 # things that were looked at: all
    uint64_t matched                # of them, those that were asked for
    uint64_t dropped                # of these, those for which there was no room
    uint64_t[4] spare_too
    uint64_t consumed               # octets; the reader's

cdef struct Spool:                  # the worker's view
    SpoolShared *shared
    uint8_t *ring
    uint64_t bytes
    uint64_t consumed               # as last seen


cdef inline bint spool_has_room(Spool *spool, uint64_t filled, uint64_t octets) noexcept nogil:
    """Whether so many can be written behind `filled`. The reader's count is taken for what it is worth: it may claim to
    have read more than there is (nothing fits then) or too early (it reads what is being overwritten).
    """
    cdef uint64_t used = filled - spool.consumed
    if used <= spool.bytes and octets <= spool.bytes - used:
        return True
    spool.consumed = load_count(&spool.shared.consumed, ACQUIRE_COUNT)
    used = filled - spool.consumed
    return used <= spool.bytes and octets <= spool.bytes - used


cdef inline uint8_t *spool_at(Spool *spool, uint64_t filled) noexcept nogil:
    return spool.ring + (filled & (spool.bytes - 1))


cdef inline void spool_publish(Spool *spool, uint64_t filled) noexcept nogil:
    """The release makes the blocks, and what was counted before, visible before the count."""
    store_count(&spool.shared.produced, filled, RELEASE_COUNT)


cdef class SpoolMemory:
    """Owns a spool's memory."""
    cdef Spool spool
    cdef readonly int memfd
