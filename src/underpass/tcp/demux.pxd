"""Which connection a segment belongs to: a keyed hash table with open addressing over connections and TIME_WAIT entries."""
from libc.stdint cimport uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport Address

cdef enum:
    TIME_WAIT_TAG = 0x80000000
    DEMUX_NONE = 0

# SipHash-1-3 of the four-tuple under the state's hash_key.
cdef uint32_t demux_hash(const Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                         uint16_t remote_port) noexcept nogil
# DEMUX_NONE, or 1 + connection, or TIME_WAIT_TAG + 1 + entry.
cdef uint32_t demux_find(const Tcp *tcp, uint32_t hash, const Address *local, uint16_t local_port,
                         const Address *remote, uint16_t remote_port) noexcept nogil
# The caller has made sure that the key is not there. The table holds twice as many slots as entries can exist.
cdef void demux_insert(Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil
cdef void demux_remove(Tcp *tcp, uint32_t hash, uint32_t value) noexcept nogil
cdef void demux_replace(Tcp *tcp, uint32_t hash, uint32_t value, uint32_t other) noexcept nogil
