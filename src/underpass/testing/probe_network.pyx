"""A Network of one's own, for tests: its tables, what it accepts, and the headers that it writes."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from underpass.ip.error cimport ip_receive_error
from underpass.ip.network cimport (MAX_ADDRESSES, NO_NEIGHBOUR, WANT_PROBE, WANT_RESOLVE, LocalAddress,
                                   Network, Route, network_add_route, network_clear_routes,
                                   network_find_neighbour, network_init, network_is_broadcast,
                                   network_is_local, network_next_hop, network_release, network_route,
                                   network_set_addresses, network_set_neighbour, network_source,
                                   network_take_wanted, network_want)
from underpass.ip.template cimport HeaderTemplate, template_answer, template_make, template_write
from underpass.ip.validate cimport Chunk, ip_receive
from underpass.testing.probe_wire cimport segment_to_dict
from underpass.wire.address cimport Address, address_from_text, address_is_any, address_is_v4, address_to_text
from underpass.wire.icmp cimport IcmpError
from underpass.wire.reason cimport ACCEPTED, Reason
from underpass.wire.segment cimport NO_VLAN, Segment
from underpass.wire.siphash cimport SipKey
from underpass.wire.reason import reason_names

cdef enum:
    MAX_CHUNKS = 16
    ROOM = 128                      # headers before TCP, and to spare

STATES = ("free", "incomplete", "valid", "failed")


cdef uint32_t counted(const Address *address, uint32_t prefix):
    return prefix + 96 if address_is_v4(address) else prefix


cdef class ProbeNetwork:
    """A network whose interface has the MAC `mac` and the addresses [(text, prefix length, flags)]."""
    cdef Network *net
    cdef uint8_t *parts[MAX_CHUNKS]

    def __cinit__(self, bytes mac=b"\2\0\0\0\0\2", addresses=(("10.0.0.2", 24, 0), ("2001:db8::2", 64, 0),
                                                              ("fe80::2", 64, 0))):
        cdef SipKey key = [1, 2]
        self.net = <Network *>calloc(1, sizeof(Network))
        if self.net == NULL:
            raise MemoryError
        network_init(self.net, &key)
        memcpy(self.net.mac, <const char *>mac, 6)
        self.set_addresses(addresses)

    def __dealloc__(self):
        free(self.net)

    def set_addresses(self, addresses):
        cdef LocalAddress[MAX_ADDRESSES + 1] rows
        cdef uint32_t count = 0
        for text, prefix, flags in addresses:
            address_from_text(text, &rows[count].address)
            rows[count].prefix = counted(&rows[count].address, prefix)
            rows[count].flags = flags
            count += 1
        return network_set_addresses(self.net, rows, count)

    def is_local(self, str text):
        cdef Address address
        address_from_text(text, &address)
        return bool(network_is_local(self.net, &address))

    def is_broadcast(self, str text):
        cdef Address address
        address_from_text(text, &address)
        return bool(network_is_broadcast(self.net, &address))

    def add_route(self, str destination, uint32_t prefix, via=None, source=None, uint32_t metric=0,
                  uint32_t mtu=0):
        """False: the table is full."""
        cdef Route route
        memset(&route, 0, sizeof(route))
        address_from_text(destination, &route.destination)
        address_from_text(via or "::", &route.via)
        address_from_text(source or "::", &route.source)
        route.prefix = counted(&route.destination, prefix)
        route.metric, route.mtu = metric, mtu
        return bool(network_add_route(self.net, &route))

    def clear_routes(self):
        network_clear_routes(self.net)

    def route(self, str dst):
        """(destination, via or None, metric, mtu) of the route to dst, or None."""
        cdef Address address
        cdef const Route *route
        address_from_text(dst, &address)
        route = network_route(self.net, &address)
        if route == NULL:
            return None
        via = None if address_is_any(&route.via) else address_to_text(&route.via)
        return address_to_text(&route.destination), via, route.metric, route.mtu

    def next_hop(self, str dst, uint64_t now_ns=0):
        """The neighbour's index, one user more, or None."""
        cdef Address address
        address_from_text(dst, &address)
        neighbour = network_next_hop(self.net, &address, now_ns)
        return None if neighbour == NO_NEIGHBOUR else neighbour

    def release(self, uint32_t neighbour):
        network_release(self.net, neighbour)

    def source(self, str dst):
        cdef Address address, source
        address_from_text(dst, &address)
        return address_to_text(&source) if network_source(self.net, &address, &source) else None

    def want_probe(self, uint32_t neighbour, uint64_t now_ns):
        network_want(self.net, neighbour, WANT_PROBE, now_ns)

    def wanted(self):
        """All requests, taken out: [(address, 'resolve' or 'probe')]."""
        cdef Address address
        cdef uint32_t kind = 0
        requests = []
        while network_take_wanted(self.net, &address, &kind):
            requests.append((address_to_text(&address), "resolve" if kind == WANT_RESOLVE else "probe"))
        return requests

    def set_neighbour(self, str text, mac, str state="valid"):
        cdef Address address
        cdef bytes octets = mac or bytes(6)
        cdef const char *at = octets
        address_from_text(text, &address)
        neighbour = network_set_neighbour(self.net, &address, <const uint8_t *>at, STATES.index(state))
        return None if neighbour == NO_NEIGHBOUR else neighbour

    def neighbour(self, str text):
        """(MAC, state, users), or None."""
        cdef Address address
        address_from_text(text, &address)
        cdef uint32_t found = network_find_neighbour(self.net, &address)
        if found == NO_NEIGHBOUR:
            return None
        it = &self.net.neighbours[found]
        return bytes(it.mac[:6]), STATES[it.state], it.users

    @property
    def neighbour_count(self):
        return self.net.neighbour_count

    def receive(self, bytes frame, splits=(), bint partial_ok=False, bint strict=False):
        """The segment as a dict or the reason's name. `splits`: where the frame is cut into chunks."""
        cdef Chunk[MAX_CHUNKS] chunks
        cdef Segment seg
        cdef Reason reason
        cdef uint32_t i, count = 0
        cdef bytes part
        edges = [0, *splits, len(frame)]
        # Each chunk is copied to memory of just its size, so that tools see what is read beyond it.
        for start, end in zip(edges, edges[1:]):
            part = frame[start:end]
            chunks[count].length = len(part)
            self.parts[count] = <uint8_t *>malloc(len(part) or 1)
            memcpy(self.parts[count], <const char *>part, len(part))
            chunks[count].data = self.parts[count]
            count += 1
        memset(&seg, 0xEE, sizeof(seg))
        self.net.strict_checksum = strict
        reason = ip_receive(self.net, chunks[0].data, chunks[0].length, &chunks[1], count - 1, partial_ok, False,
                            &seg)
        for i in range(count):
            free(self.parts[i])
        return segment_to_dict(&seg) if reason == ACCEPTED else reason_names()[reason]

    def receive_error(self, bytes frame):
        """What an ICMP error says, as a dict, or the reason's name."""
        cdef IcmpError error
        # Copied to memory of just its size, so that tools see what is read beyond it.
        cdef uint8_t *octets = <uint8_t *>malloc(len(frame) or 1)
        memcpy(octets, <const char *>frame, len(frame))
        memset(&error, 0xEE, sizeof(error))
        cdef Reason reason = ip_receive_error(self.net, octets, len(frame), &error)
        free(octets)
        if reason != ACCEPTED:
            return reason_names()[reason]
        return {"local": address_to_text(&error.local), "remote": address_to_text(&error.remote),
                "local_port": error.local_port, "remote_port": error.remote_port, "seq": error.seq,
                "quoted_bytes": error.quoted_bytes, "mtu": error.mtu, "error": error.error, "kind": error.kind}

    def write(self, str src, str dst, bytes mac, bytes tcp, vlan=None):
        """The frame that `template_write` makes around a TCP segment."""
        cdef HeaderTemplate template
        cdef Address one, other
        cdef uint8_t[ROOM] room
        cdef uint8_t *start
        address_from_text(src, &one)
        address_from_text(dst, &other)
        template_make(&template, self.net, &one, &other, NO_VLAN if vlan is None else vlan)
        start = template_write(&template, <const uint8_t *><const char *>mac, room + ROOM, len(tcp))
        return (<const char *>start)[:room + ROOM - start] + tcp

    def answer(self, bytes frame, bytes tcp):
        """The frame that `template_answer` makes around `tcp` as an answer to a good frame."""
        cdef Segment seg
        cdef uint8_t[ROOM] room
        cdef uint8_t *start
        reason = ip_receive(self.net, <const uint8_t *><const char *>frame, len(frame), NULL, 0, False, False, &seg)
        if reason != ACCEPTED:
            raise ValueError(f"the frame to be answered is refused: {reason_names()[reason]}")
        start = template_answer(self.net, &seg, room + ROOM, len(tcp))
        return (<const char *>start)[:room + ROOM - start] + tcp
