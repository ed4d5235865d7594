"""Look into a worker's arena from another process, without disturbing it and without trusting it.

What is looked at is copied first (pread), so that a worker that goes on, ends, or shrinks its memory cannot make us
read what is not there. No index or length that is found there is followed before it is known to lie in the arena, and
no walk is longer than its pool: any contents give rows or a ValueError.

The worker writes while we copy, and takes no notice of us. What holds all the same:

- A field may be older or newer than its neighbours: sums of a row (sent, in flight, acknowledged) may be off by what
  happened within the copy, some microseconds.
- All fields of a connection's row are of that one connection, and not of the next one in the same block: a block's
  generation is read before and after, and the row is made anew where it changed.
- A counter is an aligned word of 8 octets, which x86-64 and arm64 read whole: it is never half an old value.
- A list (TIME_WAIT) may change under the walk: an entry may be missing or there twice.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os
import time

from underpass.ip.network cimport Network
from underpass.link.frames cimport PoolState
from underpass.stack.arena cimport ARENA_MAGIC, ARENA_VERSION, ArenaHeader
from underpass.stack.inspect cimport Blocks, blocks_row, listener_row, state_name, time_wait_row
from underpass.stack.arena import SOCKET_NAMES
from underpass.tcp.counters cimport counters_by_name
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.rate_sample cimport RateStamp
from underpass.tcp.tcb cimport (
    LISTEN, MAX_LISTENERS, SYN_SENT, TIME_WAIT, DemuxSlot, Tcb, TcbCold, TcpState, TimerNode, TimeWait,
)
from underpass.tcp.wheel cimport Wheel
from underpass.wire.reason import reason_names
from underpass.xdp.contract cimport COUNTERS_MAX, counter_texts

XDP_NAMES = tuple([counter_texts[i].decode() for i in range(COUNTERS_MAX)])

cdef enum:
    PAGE = 4096
    BATCH = 256                     # connections copied at a time
    MOST = 1 << 24                  # blocks that a worker can be told to have: see LIMIT_RANGES
    ATTEMPTS = 3                    # to find a block that stays one connection's while it is copied


cdef list layout(const ArenaHeader *header):
    """Where this build places the pools of such an arena, and its size: the check that the structs are the same."""
    cdef uint64_t end = PAGE
    cdef list offsets = []
    cdef uint64_t connections = header.connections
    for octets in (sizeof(TcpState), sizeof(Network), sizeof(Wheel), connections * sizeof(Tcb),
                   connections * sizeof(TcbCold), connections * sizeof(TcbRare), connections * sizeof(TimerNode),
                   <uint64_t>header.demux_slots * sizeof(DemuxSlot), <uint64_t>header.time_waits * sizeof(TimeWait),
                   connections * sizeof(Rate), header.frames * sizeof(RateStamp)):
        offsets.append(end)
        end = (end + <uint64_t>octets + PAGE - 1) // PAGE * PAGE
    return [*offsets, end]


def printable(str text):
    """The text without what a terminal would obey: another user's process chose it."""
    return "".join([c if c.isprintable() else "?" for c in text])


cdef class ArenaReader:
    """One worker's arena behind a descriptor of its memfd, and perhaps its frames' memfd; both stay the caller's.

    Raises ValueError where it is no arena of this version of Underpass.
    """
    cdef readonly int fd
    cdef public int frames_fd       # -1: none, and stats() has no "pool"
    cdef ArenaHeader header

    def __cinit__(self, int fd):
        self.fd = fd
        self.frames_fd = -1
        self._read_header()
        if self.header.magic != ARENA_MAGIC:
            raise ValueError("this is no arena of Underpass")
        h = &self.header
        found = [h.tcp_state, h.network, h.wheel, h.tcbs, h.colds, h.rares, h.timers, h.demux, h.time_wait_pool,
                 h.rates, h.stamps, h.bytes]
        if h.version != ARENA_VERSION or found != layout(h) or max(h.connections, h.time_waits) > MOST:
            raise ValueError("this arena belongs to another version of Underpass")

    cdef bytes _read(self, uint64_t offset, uint64_t octets):
        """Exactly so many octets. Raises ValueError where the arena ends before."""
        cdef bytes data = os.pread(self.fd, octets, offset)
        if <uint64_t>len(data) != octets:
            raise ValueError("this arena is cut off: its worker ended, or it is no arena of Underpass")
        return data

    cdef int _read_header(self) except -1:
        """The counters in it change; what the check saw, offsets and sizes, stays as it was then."""
        cdef ArenaHeader fresh
        cdef bytes data = self._read(0, sizeof(ArenaHeader))
        memcpy(&fresh, <const char *>data, sizeof(ArenaHeader))
        if self.header.magic == 0:
            self.header = fresh
        self.header.now_ns, self.header.turns, self.header.sleeps = fresh.now_ns, fresh.turns, fresh.sleeps
        self.header.naps, self.header.frames_inode = fresh.naps, fresh.frames_inode
        self.header.interface = fresh.interface
        self.header.link, self.header.kernel = fresh.link, fresh.kernel
        return 0

    cdef int _read_state(self, TcpState *state) except -1:
        cdef bytes data = self._read(self.header.tcp_state, sizeof(TcpState))
        memcpy(state, <const char *>data, sizeof(TcpState))
        return 0

    cdef uint64_t _now_ns(self):
        """By the worker's clock: the system's where its loop has run, else what the virtual clock last said."""
        return max(<uint64_t>time.monotonic_ns(), self.header.now_ns) if self.header.turns else self.header.now_ns

    @property
    def frames_inode(self):
        """Which memfd has the worker's frames: the inode's number, 0 for none."""
        return self.header.frames_inode

    def facts(self):
        """The worker's pid, interface and sizes, and how often its loop went round and slept."""
        self._read_header()
        name = (<const char *>self.header.interface)[:sizeof(self.header.interface)]
        return {
            "pid": self.header.pid, "interface": printable(name.split(b"\0")[0].decode("ascii", "replace")),
            "connections": self.header.connections, "time_waits": self.header.time_waits,
            "turns": self.header.turns, "sleeps": self.header.sleeps, "now_ns": self.header.now_ns,
            "kernel_ns": self.header.kernel.at_ns,
        }

    # ------------------------------------------------------------------------------ counters

    def stats(self):
        """Counters by layer: "xdp", "socket" (where Linux's are known), "link", "refused", "tcp", "pool", "loop"."""
        cdef TcpState state
        self._read_header()
        self._read_state(&state)
        refused = dict(zip(reason_names(), <list>state.counters.refused, strict=False))
        del refused["accepted"]
        return self._kernel_stats() | {
            "link": dict(self.header.link),
            "refused": refused,
            "tcp": counters_by_name(&state.counters) | {
                "connections": state.tcb_used, "half_open": state.half_open, "time_waits": state.time_wait_used},
        } | self._pool_stats() | {
            "loop": {"turns": self.header.turns, "sleeps": self.header.sleeps, "naps": self.header.naps}}

    cdef dict _kernel_stats(self):
        """Linux's counters, where the control work has copied them and they are those of this build."""
        if self.header.kernel.at_ns == 0 or self.header.kernel.xdp_count != COUNTERS_MAX:
            return {}
        return {
            "xdp": dict(zip(XDP_NAMES, <list>self.header.kernel.xdp, strict=False)),
            "socket": dict(zip(SOCKET_NAMES, <list>self.header.kernel.sockets, strict=True)),
        }

    cdef dict _pool_stats(self):
        cdef PoolState pool
        cdef bytes data
        if self.frames_fd < 0:
            return {}
        data = os.pread(self.frames_fd, sizeof(PoolState), 0)
        if <size_t>len(data) != sizeof(PoolState):
            return {}
        memcpy(&pool, <const char *>data, sizeof(PoolState))
        return {"pool": {"frames": pool.count, "free": pool.free, "reserve": pool.reserve, "refused": pool.refused}}

    # ------------------------------------------------------------------------------ connections

    def rows(self, bint time_waits=True):
        """Listeners, connections and TIME_WAIT entries, in the manner of ss; names as in Stack.connections().

        A connection has besides its place in the pool, "index", which is used again after it, and "generation",
        which is then another.
        """
        cdef TcpState state
        self._read_header()
        self._read_state(&state)
        rows = [listener_row(&state.listeners[i]) for i in range(MAX_LISTENERS) if state.listeners[i].used]
        rows += self._connection_rows(self._used(&state))
        return rows + self._time_wait_rows(&state) if time_waits else rows

    cdef uint32_t _used(self, const TcpState *state) noexcept:
        """Blocks that were ever used, which come first."""
        return min(state.tcb_fresh, self.header.connections)

    cdef bytes _hot(self, uint32_t first, uint32_t count):
        return self._read(self.header.tcbs + first * sizeof(Tcb), count * sizeof(Tcb))

    cdef bytes _cold(self, uint32_t first, uint32_t count):
        return self._read(self.header.colds + first * sizeof(TcbCold), count * sizeof(TcbCold))

    cdef list _connection_rows(self, uint32_t count):
        cdef uint32_t first
        rows = []
        for first in range(0, count, BATCH):
            rows += self._batch_rows(first, min(count - first, <uint32_t>BATCH))
        return rows

    cdef list _batch_rows(self, uint32_t first, uint32_t count):
        """Rows of neighbours, copied together; those that became another connection meanwhile are copied alone."""
        cdef bytes hot = self._hot(first, count)
        cdef bytes cold = self._cold(first, count)
        cdef bytes rare = self._read(self.header.rares + first * sizeof(TcbRare), count * sizeof(TcbRare))
        cdef bytes rate = self._read(self.header.rates + first * sizeof(Rate), count * sizeof(Rate))
        cdef bytes again = self._hot(first, count)
        cdef const Tcb *tcbs = <const Tcb *><const char *>hot
        cdef const Tcb *later = <const Tcb *><const char *>again
        cdef Blocks of
        cdef uint32_t i
        rows = []
        of.now_ns = self._now_ns()
        for i in range(count):
            if not SYN_SENT <= tcbs[i].state < TIME_WAIT:
                continue
            if tcbs[i].generation != later[i].generation:
                rows += [row for row in (self.connection(first + i),) if row is not None]
                continue
            of.tcb, of.cold = &tcbs[i], <const TcbCold *><const char *>cold + i
            of.rare, of.rate = <const TcbRare *><const char *>rare + i, <const Rate *><const char *>rate + i
            rows.append(blocks_row(&of) | {"index": first + i, "generation": tcbs[i].generation})
        return rows

    def connection(self, uint32_t index):
        """The row of one connection, or None where there is none. Raises ValueError for a place beyond the pool."""
        cdef Blocks of
        cdef const Tcb *tcb
        if index >= self.header.connections:
            raise ValueError(f"there are {self.header.connections} connection blocks, none is {index}")
        for _ in range(ATTEMPTS):
            hot, cold = self._hot(index, 1), self._cold(index, 1)
            rare = self._read(self.header.rares + index * sizeof(TcbRare), sizeof(TcbRare))
            rate = self._read(self.header.rates + index * sizeof(Rate), sizeof(Rate))
            again = self._hot(index, 1)
            tcb = <const Tcb *><const char *>hot
            if tcb.generation == (<const Tcb *><const char *>again).generation:
                if not SYN_SENT <= tcb.state < TIME_WAIT:
                    return None
                of.tcb, of.cold = tcb, <const TcbCold *><const char *>cold
                of.rare, of.rate = <const TcbRare *><const char *>rare, <const Rate *><const char *>rate
                of.now_ns = self._now_ns()
                return blocks_row(&of) | {"index": index, "generation": tcb.generation}
        return None

    cdef list _time_wait_rows(self, const TcpState *state):
        """Along the queue, which may change meanwhile: no further than there can be entries."""
        cdef uint32_t entry = state.time_wait_head
        cdef uint32_t left = min(state.time_wait_used, self.header.time_waits)
        cdef uint64_t now_ns = self._now_ns()
        cdef TimeWait wait
        cdef bytes data
        rows = []
        while left and entry < self.header.time_waits:
            data = self._read(self.header.time_wait_pool + entry * sizeof(TimeWait), sizeof(TimeWait))
            memcpy(&wait, <const char *>data, sizeof(TimeWait))
            rows.append(time_wait_row(&wait, now_ns))
            entry = wait.next
            left -= 1
        return rows

    # ------------------------------------------------------------------------------ many connections, cheaply

    def states(self):
        """How many are in each state, by name: a tenth of the work of rows()."""
        cdef TcpState state
        cdef uint32_t first, i, count
        cdef uint64_t[16] sums
        cdef bytes hot
        cdef const Tcb *tcbs
        self._read_header()
        self._read_state(&state)
        for i in range(16):
            sums[i] = 0
        for first in range(0, self._used(&state), BATCH):
            count = min(self._used(&state) - first, <uint32_t>BATCH)
            hot = self._hot(first, count)
            tcbs = <const Tcb *><const char *>hot
            for i in range(count):
                sums[tcbs[i].state & 15] += 1
        sums[<uint32_t>LISTEN] = sum([1 for i in range(MAX_LISTENERS) if state.listeners[i].used])
        sums[<uint32_t>TIME_WAIT] = state.time_wait_used
        return {state_name(<uint8_t>i): sums[i] for i in range(LISTEN, TIME_WAIT + 1)}

    def traffic(self):
        """(index, generation, remote address, octets acknowledged, octets received) of every connection.

        The address is its 16 octets. A block that is used anew within the copy shows the new connection's octets.
        """
        cdef TcpState state
        cdef uint32_t first, i, count
        cdef bytes hot, cold
        cdef const Tcb *tcbs
        cdef const TcbCold *colds
        self._read_header()
        self._read_state(&state)
        found = []
        for first in range(0, self._used(&state), BATCH):
            count = min(self._used(&state) - first, <uint32_t>BATCH)
            hot, cold = self._hot(first, count), self._cold(first, count)
            tcbs, colds = <const Tcb *><const char *>hot, <const TcbCold *><const char *>cold
            for i in range(count):
                if SYN_SENT <= tcbs[i].state < TIME_WAIT:
                    found.append((first + i, tcbs[i].generation, (<const char *>&tcbs[i].remote)[:16],
                                  colds[i].bytes_acked, colds[i].bytes_received))
        return found
