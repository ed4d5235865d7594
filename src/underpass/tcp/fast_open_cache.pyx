"""The client's table of Fast Open cookies."""
from libc.string cimport memset

from underpass.wire.address cimport address_equal
from underpass.wire.siphash cimport siphash13_words

cdef enum:
    WAYS = 4


cdef inline uint32_t set_of(const SipKey *key, const Address *server) noexcept nogil:
    return <uint32_t>siphash13_words(key, <const uint64_t *>server, 2) % (FAST_OPEN_PEERS // WAYS) * WAYS


cdef FastOpenPeer *fast_open_find(FastOpenCache *cache, const SipKey *key, const Address *server) noexcept nogil:
    cdef FastOpenPeer *it = &cache.peers[set_of(key, server)]
    cdef uint32_t i
    for i in range(WAYS):
        if it[i].used and address_equal(&it[i].address, server):
            return &it[i]
    return NULL


cdef FastOpenPeer *fast_open_entry(FastOpenCache *cache, const SipKey *key, const Address *server,
                                   uint64_t now_ns) noexcept nogil:
    cdef FastOpenPeer *found = fast_open_find(cache, key, server)
    cdef FastOpenPeer *it = &cache.peers[set_of(key, server)]
    cdef uint32_t i
    if found == NULL:
        found = it
        for i in range(1, WAYS):
            if it[i].used_ns < found.used_ns:
                found = &it[i]
        memset(found, 0, sizeof(FastOpenPeer))
        found.address = server[0]
        found.used = 1
    found.used_ns = now_ns
    return found
