"""What the worker knows of the network: its addresses, routes and neighbours, mirrored from Linux.

The control plane (`linux/`) writes it between two steps; the packet path reads it, and asks through `wanted`
for neighbours that it needs. It lies in the arena: indices, no pointers.

A neighbour that connections hold (`users`) stays; one that none holds waits in the idle list, oldest first,
and is the next to go when room is needed. So the table is bounded whatever addresses peers make up.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.ip.paths cimport PathTable
from underpass.wire.address cimport Address, address_is_v4
from underpass.wire.siphash cimport SipKey

cdef enum:
    NO_NEIGHBOUR = 0xFFFFFFFF
    MAX_ADDRESSES = 64
    MAX_ROUTES = 256
    MAX_NEIGHBOURS = 4096
    NEIGHBOUR_BUCKETS = 4096
    MAX_WANTED = 256
    WANT_INTERVAL_NS = 1000000000   # a neighbour is asked for at most once a second

cdef enum AddressFlags:
    ADDRESS_DEPRECATED = 1          # RFC 4862 5.5.4: not for new connections where there is another

cdef enum NeighbourState:
    NEIGHBOUR_FREE = 0
    NEIGHBOUR_INCOMPLETE = 1    # asked for; the MAC is not known
    NEIGHBOUR_VALID = 2
    NEIGHBOUR_FAILED = 3        # Linux asked and nobody answered

cdef enum WantedKind:
    WANT_RESOLVE = 1            # no MAC yet: resolve it
    WANT_PROBE = 2              # a retransmission timer fired: see whether it is still there

cdef struct LocalAddress:
    Address address
    uint32_t prefix             # 0..128, IPv4 counted as 96 + n
    uint32_t flags              # AddressFlags

cdef struct Route:              # kept in order, longest prefix first, then lowest metric
    Address destination
    Address via                 # any: on-link
    Address source              # any: choose by destination
    uint32_t prefix             # 0..128, IPv4 counted as 96 + n
    uint32_t metric
    uint32_t mtu                # 0: the interface's
    uint32_t advmss             # the MSS to announce; 0: by the interface's MTU

cdef struct Neighbour:          # 64 bytes
    Address address
    uint64_t used_ns            # last time that a packet went to it (the sender says so)
    uint64_t asked_ns           # last time that `wanted` named it
    uint32_t next               # in its bucket, or in the free list
    uint32_t users              # connections that hold the index
    uint32_t idle_older         # in the list of those without users
    uint32_t idle_newer
    uint8_t[6] mac
    uint8_t state
    uint8_t asked               # asked_ns counts: `wanted` named it before
    uint64_t spare

cdef struct Wanted:
    uint32_t neighbour
    uint32_t kind

cdef struct Network:
    uint8_t[6] mac              # ours
    uint16_t mtu
    uint32_t address_count
    uint32_t route_count
    uint32_t neighbour_free     # head of the free list
    uint32_t neighbour_count
    uint32_t idle_oldest        # ends of the list of neighbours without users
    uint32_t idle_newest
    uint32_t wanted_count
    uint32_t advmss_routes      # routes that say which MSS to announce
    uint32_t strict_checksum    # 1: a partial checksum is damage even on veth
    uint32_t loops              # 1: the link gives back what is sent to our own MAC
    uint64_t own_filter         # bit n: some own address, or its broadcast, ends in an octet n mod 64
    SipKey key
    LocalAddress[64] addresses
    Route[256] routes
    uint32_t[4096] buckets
    Neighbour[4096] neighbours
    Wanted[256] wanted
    PathTable paths

cdef void network_init(Network *net, const SipKey *key) noexcept nogil

# -- for the packet path
cdef bint network_is_local(const Network *net, const Address *address) noexcept nogil
# Whether it is the directed broadcast of a subnet of ours (RFC 919).
cdef bint network_is_broadcast(const Network *net, const Address *address) noexcept nogil
# The route for a destination, or NULL.
cdef const Route *network_route(const Network *net, const Address *dst) noexcept nogil
# Index of the next hop on the way to dst, created INCOMPLETE and asked for where it was not known; counts one
# user. NO_NEIGHBOUR: no route, or the table is full of neighbours in use. An address of our own is its own next
# hop, with our MAC, where the link gives packets back; else there is no way to it.
cdef uint32_t network_next_hop(Network *net, const Address *dst, uint64_t now_ns) noexcept nogil
# The largest IP packet on the way to a destination: what ICMP told of the path, the route's MTU, the interface's.
cdef uint32_t network_path_mtu(const Network *net, const Address *dst, uint64_t now_ns) noexcept nogil
# ICMP told it: believed until `expires_ns`.
cdef void network_learn_mtu(Network *net, const Address *dst, uint32_t mtu, uint64_t now_ns,
                            uint64_t expires_ns) noexcept nogil
# The largest segment to announce to a destination, fixed headers off (RFC 9293 3.7.1, RFC 6691).
cdef uint32_t network_announced_mss(const Network *net, const Address *dst) noexcept nogil
cdef void network_release(Network *net, uint32_t neighbour) noexcept nogil
# Source address for a destination (RFC 6724, as far as one interface needs it); false: none of that family.
cdef bint network_source(const Network *net, const Address *dst, Address *source) noexcept nogil
# Ask the control plane, at most once a second for each neighbour.
cdef void network_want(Network *net, uint32_t neighbour, uint32_t kind, uint64_t now_ns) noexcept nogil

# -- after a crash: the table's lists are made anew, and connections hold their next hops anew
cdef void network_rebuild(Network *net) noexcept nogil
cdef void network_hold(Network *net, uint32_t neighbour) noexcept nogil

# -- for the control plane
# Replaces all; those beyond MAX_ADDRESSES are left out. Returns how many were taken.
cdef uint32_t network_set_addresses(Network *net, const LocalAddress *addresses,
                                    uint32_t count) noexcept nogil
cdef void network_clear_routes(Network *net) noexcept nogil
# In its place by prefix and metric; false: the table is full.
cdef bint network_add_route(Network *net, const Route *route) noexcept nogil
# What Linux knows of a neighbour. A new MAC is used from the next segment on. One that is not in the table is
# added only where there is room; NEIGHBOUR_FREE (Linux forgot it) frees it, or makes it INCOMPLETE while
# connections hold it. Returns its index or NO_NEIGHBOUR.
cdef uint32_t network_set_neighbour(Network *net, const Address *address, const uint8_t *mac,
                                    uint8_t state) noexcept nogil
cdef uint32_t network_find_neighbour(const Network *net, const Address *address) noexcept nogil
# Take one request out of `wanted`; false: there is none.
cdef bint network_take_wanted(Network *net, Address *address, uint32_t *kind) noexcept nogil


cdef inline uint32_t network_fixed_headers(const Address *dst) noexcept nogil:
    """Octets of an IP packet to that destination before its payload: IP and TCP without options (RFC 6691)."""
    return 40 if address_is_v4(dst) else 60


cdef inline bint network_may_be_own(const Network *net, const Address *address) noexcept nogil:
    """False for most addresses that are neither ours nor our broadcast, in a nanosecond."""
    return net.own_filter >> (address.low >> 56 & 63) & 1
