"""The MTU of paths on which ICMP told one smaller than the route's (RFC 1191, RFC 8201): a small table that forgets.

It is of fixed size, in sets of four by a keyed hash of the destination: errors for many destinations push each other
out, and that costs a path a second error, no more.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.wire.address cimport Address
from underpass.wire.siphash cimport SipKey

cdef enum:
    MAX_PATHS = 256

cdef struct Path:                   # 32 octets
    Address destination
    uint64_t expires_ns
    uint32_t mtu
    uint32_t spare

cdef struct PathTable:
    uint32_t count                  # entries ever made: none, and nothing is looked up
    uint32_t spare
    Path[256] paths

# The MTU learned for a destination, or 0.
cdef uint32_t paths_find(const PathTable *table, const SipKey *key, const Address *destination,
                         uint64_t now_ns) noexcept nogil
cdef void paths_learn(PathTable *table, const SipKey *key, const Address *destination, uint32_t mtu,
                      uint64_t now_ns, uint64_t expires_ns) noexcept nogil
