"""The neighbour table. Peers choose the addresses that get into it: the hash is keyed, the work bounded."""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from underpass.ip.network cimport (MAX_NEIGHBOURS, NEIGHBOUR_BUCKETS, NEIGHBOUR_FAILED, NEIGHBOUR_FREE,
                                   NEIGHBOUR_INCOMPLETE, NO_NEIGHBOUR, Neighbour)
from underpass.wire.address cimport address_equal
from underpass.wire.siphash cimport siphash13_words


cdef inline uint32_t bucket_of(const Network *net, const Address *address) noexcept nogil:
    return siphash13_words(&net.key, <const uint64_t *>address, 2) & (NEIGHBOUR_BUCKETS - 1)


cdef void neighbours_init(Network *net) noexcept nogil:
    cdef uint32_t i
    memset(net.buckets, 0xFF, sizeof(net.buckets))
    memset(net.neighbours, 0, sizeof(net.neighbours))
    for i in range(MAX_NEIGHBOURS):
        net.neighbours[i].next = i + 1
    net.neighbours[MAX_NEIGHBOURS - 1].next = NO_NEIGHBOUR
    net.neighbour_free = 0
    net.neighbour_count = 0
    net.idle_oldest = net.idle_newest = NO_NEIGHBOUR


cdef void neighbours_rebuild(Network *net) noexcept nogil:
    cdef Neighbour *it
    cdef uint32_t *bucket
    cdef uint32_t neighbour
    memset(net.buckets, 0xFF, sizeof(net.buckets))
    net.neighbour_free = net.idle_oldest = net.idle_newest = NO_NEIGHBOUR
    net.neighbour_count = 0
    for neighbour in range(MAX_NEIGHBOURS):
        it = &net.neighbours[neighbour]
        it.users = 0
        it.asked = 0                    # the question may have died with the process
        if NEIGHBOUR_FREE < it.state <= NEIGHBOUR_FAILED and neighbour_find(net, &it.address) == NO_NEIGHBOUR:
            net.neighbour_count += 1
            bucket = &net.buckets[bucket_of(net, &it.address)]
            it.next = bucket[0]
            bucket[0] = neighbour
            idle_append(net, neighbour)
        else:
            it.state = NEIGHBOUR_FREE
            it.next = net.neighbour_free
            net.neighbour_free = neighbour


cdef uint32_t neighbour_find(const Network *net, const Address *address) noexcept nogil:
    cdef uint32_t at = net.buckets[bucket_of(net, address)]
    while at != NO_NEIGHBOUR and not address_equal(&net.neighbours[at].address, address):
        at = net.neighbours[at].next
    return at


cdef void idle_append(Network *net, uint32_t neighbour) noexcept nogil:
    cdef Neighbour *it = &net.neighbours[neighbour]
    it.idle_older = net.idle_newest
    it.idle_newer = NO_NEIGHBOUR
    if it.idle_older == NO_NEIGHBOUR:
        net.idle_oldest = neighbour
    else:
        net.neighbours[it.idle_older].idle_newer = neighbour
    net.idle_newest = neighbour


cdef void idle_remove(Network *net, uint32_t neighbour) noexcept nogil:
    cdef Neighbour *it = &net.neighbours[neighbour]
    if it.idle_older == NO_NEIGHBOUR:
        net.idle_oldest = it.idle_newer
    else:
        net.neighbours[it.idle_older].idle_newer = it.idle_newer
    if it.idle_newer == NO_NEIGHBOUR:
        net.idle_newest = it.idle_older
    else:
        net.neighbours[it.idle_newer].idle_older = it.idle_older


cdef void bucket_remove(Network *net, uint32_t neighbour) noexcept nogil:
    cdef uint32_t *link = &net.buckets[bucket_of(net, &net.neighbours[neighbour].address)]
    while link[0] != neighbour:
        link = &net.neighbours[link[0]].next
    link[0] = net.neighbours[neighbour].next


cdef void neighbour_free(Network *net, uint32_t neighbour) noexcept nogil:
    cdef Neighbour *it = &net.neighbours[neighbour]
    idle_remove(net, neighbour)
    bucket_remove(net, neighbour)
    it.state = NEIGHBOUR_FREE
    it.next = net.neighbour_free
    net.neighbour_free = neighbour
    net.neighbour_count -= 1


cdef uint32_t neighbour_create(Network *net, const Address *address, bint evict) noexcept nogil:
    cdef Neighbour *it
    cdef uint32_t *bucket
    cdef uint32_t neighbour
    if net.neighbour_free == NO_NEIGHBOUR and evict and net.idle_oldest != NO_NEIGHBOUR:
        neighbour_free(net, net.idle_oldest)
    neighbour = net.neighbour_free
    if neighbour == NO_NEIGHBOUR:
        return NO_NEIGHBOUR
    it = &net.neighbours[neighbour]
    net.neighbour_free = it.next
    net.neighbour_count += 1
    memset(it, 0, sizeof(Neighbour))
    it.address = address[0]
    it.state = NEIGHBOUR_INCOMPLETE
    bucket = &net.buckets[bucket_of(net, address)]
    it.next = bucket[0]
    bucket[0] = neighbour
    idle_append(net, neighbour)
    return neighbour


cdef void neighbour_hold(Network *net, uint32_t neighbour) noexcept nogil:
    if net.neighbours[neighbour].users == 0:
        idle_remove(net, neighbour)
    net.neighbours[neighbour].users += 1


cdef void neighbour_drop(Network *net, uint32_t neighbour) noexcept nogil:
    net.neighbours[neighbour].users -= 1
    if net.neighbours[neighbour].users == 0:
        idle_append(net, neighbour)
