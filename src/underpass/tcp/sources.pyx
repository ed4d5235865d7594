"""Connections by source, in memory that the XDP program looks them up in."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.ip.prefix cimport prefix_mask
from underpass.tcp.flows cimport BUCKET_SLOTS, RELAXED, exchange_if, load_with, store_with
from underpass.tcp.tcb cimport CONN_ACTIVE, CONN_COUNTED_SOURCE, ESTABLISHED, LAST_ACK, Tcb, Tcp
from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.siphash cimport siphash13_words

cdef enum:
    ONE = 0x100                     # of a slot's count
    OWNER = 0xFF
    V4_BITS = 96                    # before those of an IPv4 address

cdef uint64_t HASH = 0xFFFFFFFF00000000
cdef uint64_t COUNT = 0xFFFFFF00
cdef uint32_t SOURCE_FACTOR = 0x9E3779B1    # names the second bucket: as xdp/contract.h


cdef inline uint64_t source_hash(const Tcp *tcp, const Address *remote, uint64_t kind) noexcept nogil:
    cdef uint32_t bits = <uint32_t>(kind >> 8 & 0xFF) + V4_BITS if address_is_v4(remote) else <uint32_t>(kind >> 16 & 0xFF)
    cdef uint64_t[3] words
    words[0] = remote.high & prefix_mask(bits)
    words[1] = remote.low & prefix_mask(bits - 64 if bits > 64 else 0)
    words[2] = bits
    return siphash13_words(&tcp.state.hash_key, words, 3)


cdef inline uint64_t *bucket(const Tcp *tcp, uint64_t hash, uint32_t which) noexcept nogil:
    cdef uint32_t bits = <uint32_t>(hash >> 32) * SOURCE_FACTOR if which else <uint32_t>hash
    return tcp.flows.sources + (1 + (bits * tcp.flows.source_buckets >> 32)) * BUCKET_SLOTS


cdef inline uint64_t *own_slot(const Tcp *tcp, uint64_t hash) noexcept nogil:
    """Ours for this source, or NULL."""
    cdef uint64_t ours = (hash & HASH) | (tcp.flows.worker + 1)
    cdef uint64_t *slot
    cdef uint32_t which, i
    for which in range(2):
        slot = bucket(tcp, hash, which)
        for i in range(BUCKET_SLOTS):
            if load_with(slot + i, RELAXED) & (HASH | OWNER) == ours:
                return slot + i
    return NULL


cdef void count_one(Tcp *tcp, uint64_t hash) noexcept nogil:
    cdef uint64_t *slot = own_slot(tcp, hash)
    cdef uint64_t free
    cdef uint32_t which, i
    if slot != NULL:
        if slot[0] & COUNT != COUNT:
            store_with(slot, slot[0] + ONE, RELAXED)
        return
    for which in range(2):
        slot = bucket(tcp, hash, which)
        for i in range(BUCKET_SLOTS):
            free = 0
            if exchange_if(slot + i, &free, (hash & HASH) | ONE | (tcp.flows.worker + 1), False, RELAXED, RELAXED):
                return
    tcp.state.counters.sources_untold += 1


cdef void discount_one(Tcp *tcp, uint64_t hash) noexcept nogil:
    cdef uint64_t *slot = own_slot(tcp, hash)
    if slot != NULL:
        store_with(slot, slot[0] - ONE if slot[0] & COUNT > ONE else 0, RELAXED)


cdef void sources_add(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t i
    if tcp.flows.sources == NULL or tcb.flags & (CONN_ACTIVE | CONN_COUNTED_SOURCE):
        return
    for i in range(SOURCE_KINDS):
        if tcp.flows.source_kinds[i]:
            tcb.flags |= CONN_COUNTED_SOURCE
            count_one(tcp, source_hash(tcp, &tcb.remote, tcp.flows.source_kinds[i]))


cdef void sources_remove(Tcp *tcp, uint32_t conn) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef uint32_t i
    if not tcb.flags & CONN_COUNTED_SOURCE:
        return
    tcb.flags &= ~<uint32_t>CONN_COUNTED_SOURCE
    for i in range(SOURCE_KINDS):
        if tcp.flows.sources != NULL and tcp.flows.source_kinds[i]:
            discount_one(tcp, source_hash(tcp, &tcb.remote, tcp.flows.source_kinds[i]))


cdef void sources_recount(Tcp *tcp) noexcept nogil:
    cdef uint64_t *slot = tcp.flows.sources
    cdef uint64_t place
    cdef uint32_t conn
    cdef Tcb *tcb
    if slot == NULL:
        return
    for place in range(BUCKET_SLOTS, (1 + tcp.flows.source_buckets) * BUCKET_SLOTS):
        if load_with(slot + place, RELAXED) & OWNER == tcp.flows.worker + 1:
            store_with(slot + place, 0, RELAXED)
    for conn in range(SOURCE_KINDS):
        tcp.flows.source_kinds[conn] = load_with(slot + conn, RELAXED)
    for conn in range(tcp.state.tcb_fresh):
        tcb = &tcp.tcbs[conn]
        tcb.flags &= ~<uint32_t>CONN_COUNTED_SOURCE
        if ESTABLISHED <= tcb.state <= LAST_ACK:
            sources_add(tcp, conn)
