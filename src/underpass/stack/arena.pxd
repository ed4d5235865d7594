"""The arena: one memfd with all state of a worker but the packet frames, in fixed pools, without addresses."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    ARENA_MAGIC = 0x73507255        # "UrPs"
    ARENA_VERSION = 5

cdef struct ArenaHeader:            # the first page; offsets are octets from the arena's start
    uint32_t magic
    uint32_t version
    uint64_t bytes
    uint32_t pid
    uint32_t connections            # entries in each pool
    uint32_t time_waits
    uint32_t demux_slots
    uint64_t tcp_state
    uint64_t network
    uint64_t wheel
    uint64_t tcbs
    uint64_t colds
    uint64_t rares
    uint64_t timers
    uint64_t demux
    uint64_t time_wait_pool
    uint64_t rates
    uint64_t stamps
    uint64_t frames                 # for which there is a stamp
    uint64_t now_ns                 # time of the last step
    uint64_t turns                  # how often the loop went round
    uint64_t sleeps                 # how often it slept
    char[16] interface
    uint8_t[40] spare


cdef class Arena:
    """Owns the memory. Another process maps the memfd read-only to look at it."""
    cdef char *base
    cdef ArenaHeader *header
    cdef readonly int memfd
    cdef readonly size_t bytes

    cdef int map_memory(self) except -1
