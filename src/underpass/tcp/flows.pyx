"""Which worker has a flow."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

import os

from underpass.link.frames cimport frame_chunk
from underpass.link.handover cimport Piece, handover_give
from underpass.link.memfd cimport memfd_map, memfd_unmap
from underpass.tcp.demux cimport DEMUX_NONE, TIME_WAIT_TAG
from underpass.tcp.receive cimport MAX_PARTS, Arrival
from underpass.tcp.services cimport services_choose
from underpass.tcp.tcb cimport Tcb, Tcp, TimeWait
from underpass.wire.address cimport Address
from underpass.wire.icmp cimport IcmpError
from underpass.wire.segment cimport Segment
from underpass.wire.siphash cimport siphash13_words

cdef enum:
    SLOT_BYTES = 8
    BUCKET_BYTES = BUCKET_SLOTS * SLOT_BYTES
    LEAST_BUCKETS = BUCKET_SLOTS    # whose tags fill one
    SOURCES_SHARE = 4               # a bucket of sources for so many of flows, where there are any
    OTHER_BUCKET_SHIFT = 32         # the second bucket is named by other bits of the key


cdef inline uint64_t flow_key(const Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                              uint16_t remote_port) noexcept nogil:
    """64 bits, keyed, the same in all workers: their secrets are made from one seed. The lowest octet is 0."""
    cdef uint64_t[5] words
    words[0] = local.high
    words[1] = local.low
    words[2] = remote.high
    words[3] = remote.low
    words[4] = <uint64_t>local_port << 16 | remote_port
    return siphash13_words(&tcp.state.hash_key, words, 5) & ~<uint64_t>0xFF


cdef inline uint64_t key_of(const Tcp *tcp, uint32_t value) noexcept nogil:
    cdef const Tcb *tcb
    cdef const TimeWait *entry
    if value & TIME_WAIT_TAG:
        entry = &tcp.time_waits[(value & ~<uint32_t>TIME_WAIT_TAG) - 1]
        return flow_key(tcp, &entry.local, entry.local_port, &entry.remote, entry.remote_port)
    tcb = &tcp.tcbs[value - 1]
    return flow_key(tcp, &tcb.local, tcb.local_port, &tcb.remote, tcb.remote_port)


cdef inline uint64_t *bucket(const Tcp *tcp, uint64_t key, uint32_t which) noexcept nogil:
    cdef uint64_t number = key >> OTHER_BUCKET_SHIFT if which else key >> 8
    return tcp.flows.slots + (number & tcp.flows.bucket_mask) * BUCKET_SLOTS


cdef inline uint8_t tag_of(uint64_t key) noexcept nogil:
    return <uint8_t>(key >> 56) | 1


cdef inline uint8_t *tag_at(const Tcp *tcp, const uint64_t *slot) noexcept nogil:
    return tcp.flows.tags + (slot - tcp.flows.slots)


cdef inline void free_slot(uint64_t *slot, uint8_t *tag) noexcept nogil:
    store_octet(tag, 0, RELEASE)
    store_with(slot, 0, RELEASE)


cdef inline uint32_t owner_of(const Tcp *tcp, uint64_t key) noexcept nogil:
    """The worker that has the flow with this key; NO_WORKER: none has, or we."""
    cdef uint64_t found
    cdef uint32_t which, i, worker
    for which in range(2):
        for i in range(BUCKET_SLOTS):
            found = load_with(bucket(tcp, key, which) + i, RELAXED)
            if found & ~<uint64_t>0xFF == key and found & 0xFF:
                worker = <uint32_t>(found & 0xFF) - 1
                return NO_WORKER if worker == tcp.flows.worker else worker
    return NO_WORKER


cdef bint flows_hand_over(Tcp *tcp, Arrival *arrival) noexcept nogil:
    """All octets from the first header on, as they lie in the frames."""
    cdef Piece[MAX_PARTS] pieces
    cdef const Segment *seg = &arrival.seg
    cdef uint64_t key
    cdef uint32_t owner, i
    if arrival.handed:
        return False                            # whoever gave it has looked
    key = flow_key(tcp, &seg.dst, seg.dst_port, &seg.src, seg.src_port)
    owner = owner_of(tcp, key)
    if owner == NO_WORKER:
        owner = services_choose(tcp.flows.services, tcp.flows.worker, seg, <uint32_t>(key >> OTHER_BUCKET_SHIFT))
    if owner == NO_WORKER or tcp.handover == NULL:
        return False
    pieces[0].octets = seg.packet
    pieces[0].count = seg.payload_offset + arrival.parts[0].length
    for i in range(1, arrival.count):
        pieces[i].octets = frame_chunk(tcp.pool, arrival.parts[i].frame) + arrival.parts[i].offset
        pieces[i].count = arrival.parts[i].length
    if handover_give(tcp.handover, owner, pieces, arrival.count):
        tcp.state.counters.handed_over += 1
    else:
        tcp.state.counters.handover_full += 1
    return True


cdef bint flows_hand_over_error(Tcp *tcp, const IcmpError *error, const uint8_t *packet, uint32_t bytes) noexcept nogil:
    cdef uint64_t key = flow_key(tcp, &error.local, error.local_port, &error.remote, error.remote_port)
    cdef uint32_t owner = owner_of(tcp, key)
    cdef Piece whole
    if owner == NO_WORKER or tcp.handover == NULL:
        return False
    whole.octets = packet
    whole.count = bytes
    if handover_give(tcp.handover, owner, &whole, 1):
        tcp.state.counters.icmp_handed_over += 1
    else:
        tcp.state.counters.handover_full += 1
    return True


cdef void flows_add(Tcp *tcp, uint32_t value) noexcept nogil:
    """Into the first free slot of its two buckets."""
    cdef uint64_t key = key_of(tcp, value)
    cdef uint64_t free
    cdef uint32_t which, i
    for which in range(2):
        for i in range(BUCKET_SLOTS):
            free = 0
            if exchange_if(bucket(tcp, key, which) + i, &free, key | (tcp.flows.worker + 1), False, RELAXED, RELAXED):
                store_octet(tag_at(tcp, bucket(tcp, key, which) + i), tag_of(key), RELEASE)
                return
    tcp.state.counters.flows_untold += 1


cdef void flows_remove(Tcp *tcp, uint32_t value) noexcept nogil:
    cdef uint64_t key = key_of(tcp, value)
    cdef uint64_t ours = key | (tcp.flows.worker + 1)
    cdef uint32_t which, i
    for which in range(2):
        for i in range(BUCKET_SLOTS):
            if load_with(bucket(tcp, key, which) + i, RELAXED) == ours:
                free_slot(bucket(tcp, key, which) + i, tag_at(tcp, bucket(tcp, key, which) + i))
                return


cdef class FlowTable:
    def __cinit__(self, uint32_t flows=65536, int memfd=-1, size_t bytes=0):
        self.base = NULL
        self.memfd = -1
        self.buckets = LEAST_BUCKETS
        while self.buckets * BUCKET_SLOTS < 2 * <size_t>flows:
            self.buckets *= 2
        self.bytes = (self.buckets + self.buckets // BUCKET_SLOTS) * BUCKET_BYTES
        if memfd >= 0:
            self.bytes = bytes if bytes else os.fstat(memfd).st_size
        self.buckets = LEAST_BUCKETS
        while self.buckets * 2 * BUCKET_BYTES <= self.bytes:
            self.buckets *= 2
        self.source_buckets = self.bytes // BUCKET_BYTES - self.buckets - self.buckets // BUCKET_SLOTS
        if self.bytes % BUCKET_BYTES or self.source_buckets not in (0, self.buckets // SOURCES_SHARE):
            raise ValueError(f"a memfd of {self.bytes} bytes is no table of flows")
        self.base = memfd_map(&self.memfd, memfd, b"underpass-flows", 0, self.bytes, f"table of flows, {self.bytes} bytes")

    def __dealloc__(self):
        memfd_unmap(self.memfd, self.base, self.bytes)

    cdef void attach(self, Tcp *tcp, uint32_t worker) noexcept:
        tcp.flows.slots = <uint64_t *>self.base
        tcp.flows.bucket_mask = self.buckets - 1
        tcp.flows.tags = <uint8_t *>(tcp.flows.slots + self.buckets * BUCKET_SLOTS)
        tcp.flows.worker = worker
        tcp.flows.sources = NULL
        if self.source_buckets:
            tcp.flows.sources = tcp.flows.slots + self.buckets * (BUCKET_SLOTS + 1)
            tcp.flows.source_buckets = self.source_buckets - 1

    cdef int reconcile(self, Tcp *tcp) except -1:
        """At no time is a flow missing here that is ours, or its packets' worker would reset it."""
        cdef uint64_t *slots = <uint64_t *>self.base
        cdef uint64_t ours = tcp.flows.worker + 1
        cdef uint32_t slot
        cdef size_t i
        here = {slots[i] for i in range(self.buckets * BUCKET_SLOTS) if slots[i] & 0xFF == ours}
        flows = {}
        for slot in range(tcp.state.demux_mask + 1):
            if tcp.demux[slot].value != DEMUX_NONE:
                flows[key_of(tcp, tcp.demux[slot].value) | ours] = tcp.demux[slot].value
        for key in flows.keys() - here:
            flows_add(tcp, flows[key])
        for i in range(self.buckets * BUCKET_SLOTS):
            if slots[i] & 0xFF == ours and slots[i] in flows:
                store_octet(tcp.flows.tags + i, tag_of(slots[i]), RELEASE)     # it may have died before it did
            elif slots[i] & 0xFF == ours:
                free_slot(&slots[i], tcp.flows.tags + i)
        return 0

    def forget(self, uint32_t worker):
        """See flows.pyi."""
        cdef uint64_t *slots = <uint64_t *>self.base
        cdef size_t count = self.buckets * BUCKET_SLOTS, i
        cdef uint8_t *tags = <uint8_t *>(slots + count)
        removed = 0
        for i in range(count):
            if slots[i] & 0xFF == worker + 1:
                free_slot(&slots[i], tags + i)
                removed += 1
        for i in range(count + self.buckets, self.bytes // SLOT_BYTES):     # counts of its sources
            if slots[i] & 0xFF == worker + 1:
                store_with(&slots[i], 0, RELAXED)
        return removed

    def count(self, uint32_t worker):
        """See flows.pyi."""
        cdef const uint64_t *slots = <const uint64_t *>self.base
        cdef size_t i
        flows = 0
        for i in range(self.buckets * BUCKET_SLOTS):
            flows += slots[i] & 0xFF == worker + 1
        return flows
