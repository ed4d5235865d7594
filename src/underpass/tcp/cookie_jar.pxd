"""Fast Open cookies that servers gave us (RFC 7413 4.1.3): a small table that forgets.

It is of fixed size, in sets of four by a keyed hash of the server's address; the entry of a set that was used longest
ago makes room. With each cookie stand the server's MSS and what is known of the path: where SYNs with data are not
answered, Fast Open is left alone, for twice as long each time.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.wire.address cimport Address
from underpass.wire.siphash cimport SipKey

cdef enum:
    MAX_COOKIE_PEERS = 256
    COOKIE_MIN = 4                      # RFC 7413 4.1.1
    COOKIE_MAX = 16
    COOKIE_FITS = 14                    # beside the other options of a SYN of ours
    AVOID_NS = 60000000000              # after the first SYN that was not answered

cdef struct CookiePeer:                 # 64 octets
    Address server
    uint8_t[16] cookie
    uint64_t used_ns                    # 0: the place is free
    uint64_t avoid_until_ns
    uint16_t mss                        # that the server announced
    uint8_t length                      # of the cookie; 0: none is known
    uint8_t failures                    # in a row
    uint8_t[12] spare

cdef struct CookieTable:
    CookiePeer[256] peers               # MAX_COOKIE_PEERS

# What is known of a server, or NULL.
cdef CookiePeer *cookie_jar_find(CookieTable *table, const SipKey *key, const Address *server) noexcept nogil
# Keep a cookie and the MSS that came with it. `length` octets; 0: the server has none for us any more.
cdef void cookie_jar_put(CookieTable *table, const SipKey *key, const Address *server, const uint8_t *cookie,
                         uint32_t length, uint16_t mss, uint64_t now_ns) noexcept nogil
# A SYN with data or a request was not answered (RFC 7413 4.1.3.1), or one with data was.
cdef void cookie_jar_failed(CookieTable *table, const SipKey *key, const Address *server, uint64_t now_ns) noexcept nogil
cdef void cookie_jar_worked(CookieTable *table, const SipKey *key, const Address *server) noexcept nogil
