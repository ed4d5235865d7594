"""Local addresses, routes, the way to a destination, and the requests to the control plane."""
from libc.string cimport memcpy, memmove, memset

from underpass.ip.neighbours cimport (neighbour_create, neighbour_drop, neighbour_find, neighbour_free,
                                      neighbour_hold, neighbours_init, neighbours_rebuild)
from underpass.ip.paths cimport paths_find, paths_learn
from underpass.ip.prefix cimport prefix_common, prefix_covers, prefix_last
from underpass.wire.address cimport address_equal, address_is_any, address_is_link_local, address_is_v4

cdef enum:
    BROADCAST_PREFIXES = 127        # RFC 3021: a /31 and a /32 (127 and 128 here) have no broadcast


cdef void network_init(Network *net, const SipKey *key) noexcept nogil:
    memset(net, 0, sizeof(Network))
    net.key = key[0]
    net.mtu = 1500
    neighbours_init(net)


cdef void network_rebuild(Network *net) noexcept nogil:
    """Tables that were changed just then come from Linux again; till then as much of them is believed as can be."""
    net.address_count = min(net.address_count, <uint32_t>MAX_ADDRESSES)
    net.route_count = min(net.route_count, <uint32_t>MAX_ROUTES)
    net.wanted_count = 0
    neighbours_rebuild(net)


cdef void network_hold(Network *net, uint32_t neighbour) noexcept nogil:
    neighbour_hold(net, neighbour)


# -- addresses

cdef inline bint has_broadcast(const LocalAddress *own) noexcept nogil:
    return own.prefix < BROADCAST_PREFIXES and address_is_v4(&own.address)


cdef uint32_t network_set_addresses(Network *net, const LocalAddress *addresses,
                                    uint32_t count) noexcept nogil:
    cdef uint32_t i
    cdef Address last
    net.address_count = min(count, <uint32_t>MAX_ADDRESSES)
    net.own_filter = 0
    for i in range(net.address_count):
        net.addresses[i] = addresses[i]
        net.own_filter |= <uint64_t>1 << (addresses[i].address.low >> 56 & 63)
        if has_broadcast(&addresses[i]):
            last = prefix_last(&addresses[i].address, addresses[i].prefix)
            net.own_filter |= <uint64_t>1 << (last.low >> 56 & 63)
    return net.address_count


cdef bint network_is_local(const Network *net, const Address *address) noexcept nogil:
    cdef uint32_t i
    if not network_may_be_own(net, address):
        return False
    for i in range(net.address_count):
        if address_equal(&net.addresses[i].address, address):
            return True
    return False


cdef bint network_is_broadcast(const Network *net, const Address *address) noexcept nogil:
    cdef uint32_t i
    cdef Address last
    if not network_may_be_own(net, address):
        return False
    for i in range(net.address_count):
        if has_broadcast(&net.addresses[i]):
            last = prefix_last(&net.addresses[i].address, net.addresses[i].prefix)
            if address_equal(&last, address):
                return True
    return False


# -- routes

cdef void network_clear_routes(Network *net) noexcept nogil:
    net.route_count = net.advmss_routes = 0


cdef inline bint goes_before(const Route *one, const Route *other) noexcept nogil:
    if one.prefix != other.prefix:
        return one.prefix > other.prefix
    return one.metric < other.metric


cdef bint network_add_route(Network *net, const Route *route) noexcept nogil:
    cdef uint32_t at = 0
    if net.route_count == MAX_ROUTES:
        return False
    while at < net.route_count and not goes_before(route, &net.routes[at]):
        at += 1
    memmove(&net.routes[at + 1], &net.routes[at], (net.route_count - at) * sizeof(Route))
    net.routes[at] = route[0]
    net.route_count += 1
    net.advmss_routes += route.advmss != 0
    return True


cdef const Route *network_route(const Network *net, const Address *dst) noexcept nogil:
    cdef uint32_t i
    for i in range(net.route_count):
        if prefix_covers(&net.routes[i].destination, net.routes[i].prefix, dst):
            return &net.routes[i]
    return NULL


# -- the way to a destination

cdef uint32_t network_path_mtu(const Network *net, const Address *dst, uint64_t now_ns) noexcept nogil:
    cdef const Route *route = network_route(net, dst)
    cdef uint32_t mtu = net.mtu
    cdef uint32_t learned = paths_find(&net.paths, &net.key, dst, now_ns)
    if route != NULL and route.mtu != 0 and route.mtu < mtu:
        mtu = route.mtu
    return learned if learned != 0 and learned < mtu else mtu


cdef void network_learn_mtu(Network *net, const Address *dst, uint32_t mtu, uint64_t now_ns,
                            uint64_t expires_ns) noexcept nogil:
    paths_learn(&net.paths, &net.key, dst, mtu, now_ns, expires_ns)


cdef uint32_t network_announced_mss(const Network *net, const Address *dst) noexcept nogil:
    cdef uint32_t most = net.mtu - network_fixed_headers(dst)
    cdef const Route *route
    if net.advmss_routes == 0:
        return most
    route = network_route(net, dst)
    return route.advmss if route != NULL and 0 < route.advmss < most else most


cdef bint find_hop(const Network *net, const Address *dst, Address *hop) noexcept nogil:
    """The address to resolve: that of the gateway, or of the destination where it is on-link."""
    cdef const Route *route
    hop[0] = dst[0]
    if address_is_link_local(dst) and not address_is_v4(dst):
        return True                 # RFC 4861 5.1: link-local addresses are on-link always
    route = network_route(net, dst)
    if route == NULL:
        return False
    if not address_is_any(&route.via):
        hop[0] = route.via
    return True


cdef uint32_t network_next_hop(Network *net, const Address *dst, uint64_t now_ns) noexcept nogil:
    cdef Address hop
    cdef uint32_t neighbour
    cdef bint own = network_is_local(net, dst)
    if own and not net.loops:
        return NO_NEIGHBOUR
    if own:
        hop = dst[0]
    elif not find_hop(net, dst, &hop):
        return NO_NEIGHBOUR
    neighbour = neighbour_find(net, &hop)
    if neighbour == NO_NEIGHBOUR:
        neighbour = neighbour_create(net, &hop, True)
        if neighbour == NO_NEIGHBOUR:
            return NO_NEIGHBOUR
    neighbour_hold(net, neighbour)
    if own:
        net.neighbours[neighbour].state = NEIGHBOUR_VALID
        memcpy(net.neighbours[neighbour].mac, net.mac, 6)
    net.neighbours[neighbour].used_ns = now_ns
    if net.neighbours[neighbour].state != NEIGHBOUR_VALID:
        network_want(net, neighbour, WANT_RESOLVE, now_ns)
    return neighbour


cdef void network_release(Network *net, uint32_t neighbour) noexcept nogil:
    neighbour_drop(net, neighbour)


cdef uint32_t source_rank(const LocalAddress *own, const Address *dst, const Address *target) noexcept nogil:
    """RFC 6724 5: rule 2 (scope), then rule 3 (not deprecated), then rule 8 (longest common prefix)."""
    cdef uint32_t rank = prefix_common(&own.address, target)
    if not own.flags & ADDRESS_DEPRECATED:
        rank |= 0x100
    if address_is_link_local(&own.address) == address_is_link_local(dst):
        rank |= 0x200
    return rank


cdef bint network_source(const Network *net, const Address *dst, Address *source) noexcept nogil:
    cdef const Route *route = network_route(net, dst)
    cdef const Address *target = dst
    cdef uint32_t i, rank, best = 0
    if route != NULL and not address_is_any(&route.source):
        source[0] = route.source
        return True
    # IPv4 takes the address that shares the gateway's subnet, as Linux does.
    if route != NULL and address_is_v4(&route.via) and not address_is_any(&route.via):
        target = &route.via
    for i in range(net.address_count):
        if address_is_v4(&net.addresses[i].address) != address_is_v4(dst):
            continue
        rank = source_rank(&net.addresses[i], dst, target) + 1
        if rank > best:
            best = rank
            source[0] = net.addresses[i].address
    return best != 0


# -- between the packet path and the control plane

cdef void network_want(Network *net, uint32_t neighbour, uint32_t kind, uint64_t now_ns) noexcept nogil:
    cdef Neighbour *it = &net.neighbours[neighbour]
    if network_is_local(net, &it.address):
        return                      # Linux has no such neighbour
    if it.asked and now_ns - it.asked_ns < WANT_INTERVAL_NS:
        return
    if net.wanted_count == MAX_WANTED:
        return
    it.asked = 1
    it.asked_ns = now_ns
    net.wanted[net.wanted_count].neighbour = neighbour
    net.wanted[net.wanted_count].kind = kind
    net.wanted_count += 1


cdef bint network_take_wanted(Network *net, Address *address, uint32_t *kind) noexcept nogil:
    cdef Neighbour *it
    while net.wanted_count:
        net.wanted_count -= 1
        it = &net.neighbours[net.wanted[net.wanted_count].neighbour]
        if it.state != NEIGHBOUR_FREE:
            address[0] = it.address
            kind[0] = net.wanted[net.wanted_count].kind
            return True
    return False


cdef uint32_t network_find_neighbour(const Network *net, const Address *address) noexcept nogil:
    return neighbour_find(net, address)


cdef uint32_t network_set_neighbour(Network *net, const Address *address, const uint8_t *mac,
                                    uint8_t state) noexcept nogil:
    cdef uint32_t neighbour = neighbour_find(net, address)
    if state == NEIGHBOUR_FREE and neighbour != NO_NEIGHBOUR:
        if net.neighbours[neighbour].users == 0:
            neighbour_free(net, neighbour)
            return NO_NEIGHBOUR
        state = NEIGHBOUR_INCOMPLETE
    if neighbour == NO_NEIGHBOUR and state != NEIGHBOUR_FREE:
        neighbour = neighbour_create(net, address, False)
    if neighbour != NO_NEIGHBOUR:
        net.neighbours[neighbour].state = state
        if state == NEIGHBOUR_VALID:
            memcpy(net.neighbours[neighbour].mac, mac, 6)
    return neighbour
