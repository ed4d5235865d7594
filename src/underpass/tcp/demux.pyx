"""The demultiplexer's table: linear probing, and removal that shifts back what follows: no tombstones."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from underpass.tcp.flows cimport flows_add, flows_remove
from underpass.tcp.tcb cimport DemuxSlot, Tcb, Tcp, TimeWait
from underpass.wire.address cimport Address, address_equal, address_is_v4
from underpass.wire.siphash cimport siphash13_words_and

cdef enum:
    NO_SLOT = 0xFFFFFFFF


cdef uint32_t demux_hash(const Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                         uint16_t remote_port) noexcept nogil:
    cdef uint64_t[4] words
    cdef uint64_t ports = (<uint64_t>local_port << 16) | remote_port
    if address_is_v4(local):
        words[0] = (local.low >> 32) | (remote.low & <uint64_t>0xFFFFFFFF00000000)
        return <uint32_t>siphash13_words_and(&tcp.state.hash_key, words, 1, ports, 4)
    words[0] = local.high
    words[1] = local.low
    words[2] = remote.high
    words[3] = remote.low
    return <uint32_t>siphash13_words_and(&tcp.state.hash_key, words, 4, ports, 4)


cdef uint32_t demux_find(const Tcp *tcp, uint32_t hash, const Address *local, uint16_t local_port,
                         const Address *remote, uint16_t remote_port) noexcept nogil:
    cdef uint32_t mask = tcp.state.demux_mask
    cdef uint32_t slot = hash & mask
    cdef const DemuxSlot *it
    while True:
        it = &tcp.demux[slot]
        if it.value == DEMUX_NONE:
            return DEMUX_NONE
        if it.hash == hash and _has_key(tcp, it.value, local, local_port, remote, remote_port):
            return it.value
        slot = (slot + 1) & mask


cdef void demux_clear(Tcp *tcp) noexcept nogil:
    memset(tcp.demux, 0, (<uint64_t>tcp.state.demux_mask + 1) * sizeof(DemuxSlot))
    tcp.state.demux_used = 0


cdef void demux_insert(Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil:
    cdef uint32_t mask = tcp.state.demux_mask
    cdef uint32_t slot = hash & mask
    while tcp.demux[slot].value != DEMUX_NONE:
        slot = (slot + 1) & mask
    tcp.demux[slot].hash = hash
    tcp.demux[slot].value = value
    tcp.state.demux_used += 1
    if tcp.flows.slots != NULL:
        flows_add(tcp, value)


cdef void demux_remove(Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil:
    cdef uint32_t mask = tcp.state.demux_mask
    cdef uint32_t hole = _slot_of(tcp, hash, value)
    cdef uint32_t slot = hole
    if hole == NO_SLOT:
        return
    if tcp.flows.slots != NULL:
        flows_remove(tcp, value)
    while True:
        slot = (slot + 1) & mask
        if tcp.demux[slot].value == DEMUX_NONE:
            break
        # It may move to the hole if its probe run begins there or before.
        if ((slot - tcp.demux[slot].hash) & mask) >= ((slot - hole) & mask):
            tcp.demux[hole] = tcp.demux[slot]
            hole = slot
    tcp.demux[hole].value = DEMUX_NONE
    tcp.state.demux_used -= 1


cdef void demux_replace(Tcp *tcp, uint32_t hash, uint32_t value, uint32_t other) noexcept nogil:
    cdef uint32_t slot = _slot_of(tcp, hash, value)
    if slot != NO_SLOT:
        tcp.demux[slot].value = other


cdef inline bint _has_key(const Tcp *tcp, uint32_t value, const Address *local, uint16_t local_port,
                          const Address *remote, uint16_t remote_port) noexcept nogil:
    """Whether the connection or TIME_WAIT entry that a slot names has this four-tuple."""
    cdef const Tcb *tcb
    cdef const TimeWait *entry
    if value & TIME_WAIT_TAG:
        entry = &tcp.time_waits[(value & ~<uint32_t>TIME_WAIT_TAG) - 1]
        return (entry.remote_port == remote_port and entry.local_port == local_port
                and address_equal(&entry.remote, remote) and address_equal(&entry.local, local))
    tcb = &tcp.tcbs[value - 1]
    return (tcb.remote_port == remote_port and tcb.local_port == local_port
            and address_equal(&tcb.remote, remote) and address_equal(&tcb.local, local))


cdef uint32_t _slot_of(const Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil:
    """Where a value stands, or NO_SLOT."""
    cdef uint32_t mask = tcp.state.demux_mask
    cdef uint32_t slot = hash & mask
    while tcp.demux[slot].value != DEMUX_NONE:
        if tcp.demux[slot].value == value:
            return slot
        slot = (slot + 1) & mask
    return NO_SLOT
