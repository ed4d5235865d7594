"""Fast Open cookies that servers gave us (RFC 7413 4.1.3): a table of fixed size, in sets of four, by the server's address.

The hash is keyed, and the entry of a set that was used longest ago makes room.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.wire.address cimport Address
from underpass.wire.siphash cimport SipKey

cdef enum:
    FAST_OPEN_PEERS = 256
    FAST_OPEN_COOKIE_MOST = 16      # RFC 7413 2: 4 to 16 octets

cdef struct FastOpenPeer:           # 64 octets
    Address address
    uint8_t[16] cookie
    uint8_t cookie_bytes            # 0: none
    uint8_t failures                # SYNs with data that were lost, in a row
    uint16_t mss                    # the server's (RFC 7413 4.1.3)
    uint32_t used                   # whether this entry is anyone's
    uint64_t used_ns
    uint64_t off_until_ns           # until then SYNs to it carry no data
    uint64_t spare

cdef struct FastOpenCache:          # in the arena
    uint64_t off_until_ns           # until then no SYN carries data: the path beyond all servers swallows them
    uint32_t black_holes            # how often that happened
    uint32_t spare
    FastOpenPeer[256] peers

# What is known of a server; NULL: nothing.
cdef FastOpenPeer *fast_open_find(FastOpenCache *cache, const SipKey *key, const Address *server) noexcept nogil
# The same, with an entry made for it where there is none.
cdef FastOpenPeer *fast_open_entry(FastOpenCache *cache, const SipKey *key, const Address *server,
                                   uint64_t now_ns) noexcept nogil
