"""The arena: one memfd with all state of a worker but the packet frames, in fixed pools, without addresses."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.link.link cimport LinkCounters

cdef enum:
    ARENA_MAGIC = 0x73507255        # "UrPs"
    ARENA_VERSION = 14
    XDP_COUNTERS = 64               # room for those of xdp/contract.h
    SOCKET_COUNTERS = 6

cdef struct KernelCounters:         # what Linux counts for the worker, copied now and then by its control work
    uint64_t at_ns                  # when, by CLOCK_MONOTONIC; 0: never
    uint64_t xdp_count              # counters of the XDP program, in the order of contract.h
    uint64_t[64] xdp
    uint64_t[6] sockets             # XDP_STATISTICS of all its sockets, as SOCKET_NAMES

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
    uint64_t frames_inode           # of the memfd that has the frames: the same process has it open
    uint64_t naps                   # how often it slept by the clock, under load
    uint8_t[24] spare
    LinkCounters link               # the link counts here
    KernelCounters kernel


cdef class Arena:
    """Owns the memory. Another process maps the memfd read-only to look at it."""
    cdef char *base
    cdef ArenaHeader *header
    cdef readonly int memfd
    cdef readonly size_t bytes

    cdef int map_memory(self, int memfd) except -1
    cdef int take_over(self, const ArenaHeader *plan) except -1
