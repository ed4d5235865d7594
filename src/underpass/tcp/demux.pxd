"""Which connection a segment belongs to: a keyed hash table over connections and TIME_WAIT.

Addressing is open. A slot is 8 octets, the 32-bit hash and a tagged index, so that a probe run seldom leaves
its cache line and the key proper is compared only where all 32 bits agree. The hash is keyed: nobody outside
can choose addresses that collide.
"""
from libc.stdint cimport uint16_t, uint32_t

from underpass.link.frames cimport NO_FRAME
from underpass.tcp.block cimport block_prefetch
from underpass.tcp.tcb cimport NO_CONN, DemuxSlot, Tcp
from underpass.wire.address cimport Address

cdef extern from * nogil:
    void __builtin_prefetch(const void *at)

cdef enum:
    TIME_WAIT_TAG = 0x80000000
    DEMUX_NONE = 0

# SipHash-1-3 of the four-tuple under the state's hash_key.
cdef uint32_t demux_hash(const Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                         uint16_t remote_port) noexcept nogil
# DEMUX_NONE, or 1 + connection, or TIME_WAIT_TAG + 1 + entry.
cdef uint32_t demux_find(const Tcp *tcp, uint32_t hash, const Address *local, uint16_t local_port,
                         const Address *remote, uint16_t remote_port) noexcept nogil
# The caller has made sure that the key is not there. There are twice as many slots as entries can exist.
cdef void demux_insert(Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil
# Empty the table of slots.
cdef void demux_clear(Tcp *tcp) noexcept nogil
# Nothing happens where the value is not in the table.
cdef void demux_remove(Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil
cdef void demux_replace(Tcp *tcp, uint32_t hash, uint32_t value, uint32_t other) noexcept nogil


cdef inline void demux_prefetch(const Tcp *tcp, uint32_t hash) noexcept nogil:
    """Have the first slot come to the cache while other segments of the batch are looked at."""
    __builtin_prefetch(&tcp.demux[hash & tcp.state.demux_mask])


cdef inline uint32_t _likely_connection(const Tcp *tcp, uint32_t hash) noexcept nogil:
    """What the first slot names, without a look at the connection itself; NO_CONN: not a connection with this hash."""
    cdef const DemuxSlot *slot = &tcp.demux[hash & tcp.state.demux_mask]
    if slot.hash != hash or slot.value == DEMUX_NONE or slot.value & TIME_WAIT_TAG:
        return NO_CONN
    return slot.value - 1


cdef inline void demux_prefetch_connection(const Tcp *tcp, uint32_t hash) noexcept nogil:
    """Have the connection that the first slot most likely names come to the cache: what every segment touches of it."""
    cdef uint32_t conn = _likely_connection(tcp, hash)
    if conn != NO_CONN:
        block_prefetch(tcp, conn)


cdef inline void demux_prefetch_queue(const Tcp *tcp, uint32_t hash) noexcept nogil:
    """Once the connection has come: the first frame of its send queue, which an acknowledgment frees."""
    cdef uint32_t conn = _likely_connection(tcp, hash)
    if conn != NO_CONN and tcp.tcbs[conn].snd_head != NO_FRAME:
        __builtin_prefetch(&tcp.pool.frames[tcp.tcbs[conn].snd_head])
