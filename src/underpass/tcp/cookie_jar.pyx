"""The table of Fast Open cookies."""
from libc.string cimport memcpy, memset

from underpass.wire.address cimport address_equal
from underpass.wire.siphash cimport siphash13_words

cdef enum:
    WAYS = 4
    MAX_DOUBLINGS = 10                  # 17 hours


cdef inline CookiePeer *set_of(CookieTable *table, const SipKey *key, const Address *server) noexcept nogil:
    return &table.peers[siphash13_words(key, <const uint64_t *>server, 2) % (MAX_COOKIE_PEERS // WAYS) * WAYS]


cdef CookiePeer *cookie_jar_find(CookieTable *table, const SipKey *key, const Address *server) noexcept nogil:
    cdef CookiePeer *it = set_of(table, key, server)
    cdef uint32_t i
    for i in range(WAYS):
        if it[i].used_ns != 0 and address_equal(&it[i].server, server):
            return &it[i]
    return NULL


cdef CookiePeer *place_for(CookieTable *table, const SipKey *key, const Address *server, uint64_t now_ns) noexcept nogil:
    cdef CookiePeer *it = cookie_jar_find(table, key, server)
    cdef CookiePeer *oldest
    cdef uint32_t i
    if it == NULL:
        oldest = it = set_of(table, key, server)
        for i in range(1, WAYS):
            if it[i].used_ns < oldest.used_ns:
                oldest = &it[i]
        it = oldest
        memset(it, 0, sizeof(CookiePeer))
        it.server = server[0]
    it.used_ns = now_ns if now_ns else 1
    return it


cdef void cookie_jar_put(CookieTable *table, const SipKey *key, const Address *server, const uint8_t *cookie,
                         uint32_t length, uint16_t mss, uint64_t now_ns) noexcept nogil:
    cdef CookiePeer *it = place_for(table, key, server, now_ns)
    it.length = <uint8_t>min(length, <uint32_t>COOKIE_MAX)
    if it.length:
        memcpy(it.cookie, cookie, it.length)
    it.mss = mss


cdef void cookie_jar_failed(CookieTable *table, const SipKey *key, const Address *server, uint64_t now_ns) noexcept nogil:
    cdef CookiePeer *it = place_for(table, key, server, now_ns)
    it.avoid_until_ns = now_ns + (<uint64_t>AVOID_NS << it.failures)
    if it.failures < MAX_DOUBLINGS:
        it.failures += 1


cdef void cookie_jar_worked(CookieTable *table, const SipKey *key, const Address *server) noexcept nogil:
    cdef CookiePeer *it = cookie_jar_find(table, key, server)
    if it != NULL:
        it.failures = 0
        it.avoid_until_ns = 0
