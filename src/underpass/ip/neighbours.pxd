"""The neighbour table: a keyed hash over a fixed pool, users counted, the idle ones in order of age."""
from libc.stdint cimport uint32_t

from underpass.ip.network cimport Network
from underpass.wire.address cimport Address

cdef void neighbours_init(Network *net) noexcept nogil
cdef uint32_t neighbour_find(const Network *net, const Address *address) noexcept nogil
# A new, INCOMPLETE, idle entry, or NO_NEIGHBOUR. With `evict` the entry idle for longest makes room.
cdef uint32_t neighbour_create(Network *net, const Address *address, bint evict) noexcept nogil
# One more user, one fewer.
cdef void neighbour_hold(Network *net, uint32_t neighbour) noexcept nogil
cdef void neighbour_drop(Network *net, uint32_t neighbour) noexcept nogil
# After a crash: every entry that is in use, idle and in its bucket; all others free. Whoever has connections holds them anew.
cdef void neighbours_rebuild(Network *net) noexcept nogil
# Give the entry back to the pool; it has no users.
cdef void neighbour_free(Network *net, uint32_t neighbour) noexcept nogil
