"""The table of path MTUs."""
from underpass.wire.address cimport address_equal
from underpass.wire.siphash cimport siphash13_words

cdef enum:
    WAYS = 4


cdef inline uint32_t set_of(const SipKey *key, const Address *destination) noexcept nogil:
    return <uint32_t>siphash13_words(key, <const uint64_t *>destination, 2) % (MAX_PATHS // WAYS) * WAYS


cdef uint32_t paths_find(const PathTable *table, const SipKey *key, const Address *destination,
                         uint64_t now_ns) noexcept nogil:
    cdef const Path *it
    cdef uint32_t i
    if table.count == 0:
        return 0
    it = &table.paths[set_of(key, destination)]
    for i in range(WAYS):
        if it[i].expires_ns > now_ns and address_equal(&it[i].destination, destination):
            return it[i].mtu
    return 0


cdef void paths_learn(PathTable *table, const SipKey *key, const Address *destination, uint32_t mtu,
                      uint64_t now_ns, uint64_t expires_ns) noexcept nogil:
    """In its own place, or in that of the entry of its set that expires first."""
    cdef Path *it = &table.paths[set_of(key, destination)]
    cdef Path *place = it
    cdef uint32_t i
    for i in range(WAYS):
        if address_equal(&it[i].destination, destination):
            place = &it[i]
            break
        if it[i].expires_ns < place.expires_ns:
            place = &it[i]
    if place.expires_ns == 0:
        table.count += 1
    place.destination = destination[0]
    place.mtu = mtu
    place.expires_ns = expires_ns
