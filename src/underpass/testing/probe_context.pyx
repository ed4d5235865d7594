"""A small Tcp context for tests of single procedures."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from underpass.link.frames cimport Frames
from underpass.tcp.demux cimport demux_hash
from underpass.tcp.rare cimport TcbRare
from underpass.tcp.rate cimport Rate
from underpass.tcp.rate_sample cimport RateStamp
from underpass.tcp.tcb cimport DemuxSlot, Tcb, TcbCold, TcpState, TimerNode, TimeWait
from underpass.tcp.time_wait cimport time_wait_init
from underpass.wire.address cimport Address, address_v4, address_v6
from underpass.wire.segment cimport Segment


cdef int address_from(bytes octets, Address *address) except -1:
    cdef const uint8_t *at = octets
    if len(octets) == 4:
        address[0] = address_v4(at)
    elif len(octets) == 16:
        address[0] = address_v6(at)
    else:
        raise ValueError(f"an address has 4 or 16 octets, not {len(octets)}")
    return 0


cdef int segment_from(dict fields, Segment *seg) except -1:
    cdef int i
    memset(seg, 0, sizeof(Segment))
    address_from(fields.pop("src", bytes(4)), &seg.src)
    address_from(fields.pop("dst", bytes(4)), &seg.dst)
    seg.src_port = fields.pop("src_port", 0)
    seg.dst_port = fields.pop("dst_port", 0)
    seg.seq = fields.pop("seq", 0)
    seg.ack = fields.pop("ack", 0)
    seg.flags = fields.pop("flags", 0)
    seg.options = fields.pop("options", 0)
    seg.mss = fields.pop("mss", 0)
    seg.window_scale = fields.pop("window_scale", 0)
    seg.payload_bytes = fields.pop("payload_bytes", 0)
    seg.ts_val = fields.pop("ts_val", 0)
    seg.ts_ecr = fields.pop("ts_ecr", 0)
    for i, (start, end) in enumerate(fields.pop("sack", ())):
        seg.sack[i].start = start
        seg.sack[i].end = end
        seg.sack_count = i + 1
    if fields:
        raise TypeError(f"a segment has no field {', '.join(fields)}")
    return 0


cdef class TcpContext:
    """Pools for `connections` connections and as many TIME_WAIT entries, and `frames` packet frames."""

    def __cinit__(self, *of_subclass, uint32_t connections=8, uint32_t frames=64, uint32_t time_waits=8,
                  uint64_t seed=1, **named_of_subclass):
        cdef uint32_t slots = 2
        while slots < 2 * (connections + time_waits):
            slots *= 2
        memset(&self.tcp, 0, sizeof(self.tcp))
        self.connections = connections
        self.frames = Frames(frames, reserve=0)
        self.tcp.pool = &self.frames.pool
        self.tcp.state = <TcpState *>calloc(1, sizeof(TcpState))
        self.tcp.tcbs = <Tcb *>calloc(connections, sizeof(Tcb))
        self.tcp.colds = <TcbCold *>calloc(connections, sizeof(TcbCold))
        self.tcp.rares = calloc(connections, sizeof(TcbRare))
        self.tcp.rates = calloc(connections, sizeof(Rate))
        self.tcp.stamps = calloc(frames, sizeof(RateStamp))
        self.tcp.timers = <TimerNode *>calloc(connections, sizeof(TimerNode))
        self.tcp.demux = <DemuxSlot *>calloc(slots, sizeof(DemuxSlot))
        self.tcp.time_waits = <TimeWait *>calloc(time_waits or 1, sizeof(TimeWait))
        if NULL in (self.tcp.state, self.tcp.tcbs, self.tcp.colds, self.tcp.rares, self.tcp.rates, self.tcp.stamps,
                    self.tcp.demux, self.tcp.time_waits):
            raise MemoryError(f"{connections} connections")
        self.tcp.state.demux_mask = slots - 1
        self.tcp.state.limits.time_waits = time_waits
        self.tcp.state.limits.time_wait_ms = 60000
        self.tcp.state.hash_key.k0 = 3 * seed
        self.tcp.state.secret.k0 = 3 * seed + 1
        self.tcp.state.cookie_key.k0 = 3 * seed + 2
        time_wait_init(self.tcp.state)

    def __dealloc__(self):
        free(self.tcp.state)
        free(self.tcp.tcbs)
        free(self.tcp.colds)
        free(self.tcp.rares)
        free(self.tcp.rates)
        free(self.tcp.stamps)
        free(self.tcp.timers)
        free(self.tcp.demux)
        free(self.tcp.time_waits)

    @property
    def now_ns(self):
        """The time that the procedures are told."""
        return self.tcp.now_ns

    @now_ns.setter
    def now_ns(self, uint64_t now_ns):
        self.tcp.now_ns = now_ns

    @property
    def counters(self):
        """TcpCounters by name."""
        return dict(self.tcp.state.counters)

    cdef int set_key(self, uint32_t conn, key) except -1:
        """Give a connection its key (local, local port, remote, remote port), and the key's hash."""
        cdef Tcb *tcb = &self.tcp.tcbs[conn]
        local, tcb.local_port, remote, tcb.remote_port = key
        address_from(local, &tcb.local)
        address_from(remote, &tcb.remote)
        tcb.hash = demux_hash(&self.tcp, &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port)
        return 0
