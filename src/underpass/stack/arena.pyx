"""Laying out the arena. Pools are as large as the limits allow; pages that nobody touches cost nothing."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.unistd cimport getpid

import os

from underpass.ip.network cimport Network
from underpass.link.memfd cimport MEMFD_PAGE, memfd_map, memfd_place, memfd_unmap
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.rate_sample cimport RateStamp
from underpass.tcp.tcb cimport DemuxSlot, Tcb, TcbCold, TcpState, TimerNode, TimeWait
from underpass.tcp.wheel cimport Wheel

# By the names of struct xdp_statistics (linux/if_xdp.h).
SOCKET_NAMES = ("rx_dropped", "rx_invalid_descs", "tx_invalid_descs", "rx_ring_full", "rx_fill_ring_empty_descs",
                "tx_ring_empty_descs")


VERSION = ARENA_VERSION


cdef class Arena:
    """State of one worker: `connections` blocks and `time_waits` entries, a table with twice as many slots, and a stamp for
    each of `frames` packet frames. `memfd`: the arena that another process has left, of the same sizes and version, which
    stays the caller's. Raises ValueError where it has others.
    """

    def __cinit__(self, uint32_t connections, uint32_t time_waits, uint32_t frames, int memfd=-1):
        cdef ArenaHeader plan
        cdef uint64_t end = MEMFD_PAGE
        cdef uint32_t slots = 64
        self.memfd = -1
        self.base = NULL
        while slots < 2 * (<uint64_t>connections + time_waits):
            slots *= 2
        memset(&plan, 0, sizeof(plan))
        plan.tcp_state = memfd_place(&end, sizeof(TcpState))
        plan.network = memfd_place(&end, sizeof(Network))
        plan.wheel = memfd_place(&end, sizeof(Wheel))
        plan.tcbs = memfd_place(&end, <uint64_t>connections * sizeof(Tcb))
        plan.colds = memfd_place(&end, <uint64_t>connections * sizeof(TcbCold))
        plan.rares = memfd_place(&end, <uint64_t>connections * sizeof(TcbRare))
        plan.timers = memfd_place(&end, <uint64_t>connections * sizeof(TimerNode))
        plan.demux = memfd_place(&end, <uint64_t>slots * sizeof(DemuxSlot))
        plan.time_wait_pool = memfd_place(&end, <uint64_t>time_waits * sizeof(TimeWait))
        plan.rates = memfd_place(&end, <uint64_t>connections * sizeof(Rate))
        plan.stamps = memfd_place(&end, <uint64_t>frames * sizeof(RateStamp))
        plan.magic = ARENA_MAGIC
        plan.version = ARENA_VERSION
        plan.bytes = end
        plan.pid = getpid()
        plan.connections = connections
        plan.time_waits = time_waits
        plan.demux_slots = slots
        plan.frames = frames
        self.bytes = end
        self.map_memory(memfd)
        if memfd >= 0:
            self.take_over(&plan)
        else:
            self.header[0] = plan

    cdef int take_over(self, const ArenaHeader *plan) except -1:
        """The header that was left must describe what we would have made."""
        cdef const ArenaHeader *it = self.header
        if (it.magic, it.version, it.bytes) != (plan.magic, plan.version, plan.bytes) or \
                (it.connections, it.time_waits, it.demux_slots, it.frames) != \
                (plan.connections, plan.time_waits, plan.demux_slots, plan.frames):
            raise ValueError(f"an arena of version {it.version} and {it.bytes} bytes is not one of version {plan.version}"
                             f" and {plan.bytes} bytes")
        self.header.pid = getpid()
        return 0

    cdef int map_memory(self, int memfd) except -1:
        if memfd >= 0 and <size_t>os.fstat(memfd).st_size != self.bytes:
            raise ValueError(f"an arena of {os.fstat(memfd).st_size} bytes is not one of {self.bytes}")
        self.base = <char *>memfd_map(&self.memfd, memfd, b"underpass-arena", 0, self.bytes, f"arena of {self.bytes} bytes")
        self.header = <ArenaHeader *>self.base
        return 0

    def __dealloc__(self):
        memfd_unmap(self.memfd, self.base, self.bytes)
