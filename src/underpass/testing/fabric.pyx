"""Hosts and routers joined by pipes, and the loop that runs them through virtual time."""
cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from underpass.link.frames cimport FramePool, Frames
from underpass.link.link cimport LINK_TX_CHECKSUM, NEVER, Desc, Link, LinkBase
from underpass.link.packet cimport (
    MAX_PARTS, packet_bytes, packet_checksum, packet_from_octets, packet_gather, packet_parts, packet_release,
    packet_wants_checksum,
)
from underpass.stack.stack cimport Stack
from underpass.stack.turn cimport turn, turn_deadline
from underpass.testing.invariants cimport broken_invariant
from underpass.testing.parcel cimport (
    Parcel, ParcelList, parcel_drop_all, parcel_insert, parcel_new, parcel_octets, parcel_take,
)
from underpass.testing.pipe cimport Pipe, PipeState, pipe_deadline, pipe_offer, pipe_take
from underpass.testing.too_big cimport too_big_new

cdef enum:
    MAC_AT_NUMBER = 5               # of the destination's MAC
    SOURCE_AT_NUMBER = 11
    EVENTS_AT_ONCE = 10000000       # at one instant: the network goes round in circles


NO_PIPE = NO_PIPE_NUMBER            # for set_route: there is no way


# ------------------------------------------------------------------------------------------ from node to node

cdef void forward(FabricState *it, uint32_t at, Parcel *parcel) noexcept nogil:
    """Send a parcel on its way from a node; it is the fabric's from now on."""
    cdef uint16_t way = it.routes[at * 256 + parcel_octets(parcel)[MAC_AT_NUMBER]]
    if way == NO_PIPE_NUMBER:
        it.unroutable += 1
        free(parcel)
    elif pipe_offer(it.pipes[way], parcel, it.now_ns):
        it.pipe_due_ns[way] = pipe_deadline(it.pipes[way])
    else:
        refuse(it, at, parcel, it.pipes[way])
        free(parcel)


cdef void refuse(FabricState *it, uint32_t at, Parcel *parcel, const PipeState *way) noexcept nogil:
    """Too big: a router tells the sender; a host's own interface just drops it."""
    cdef uint16_t back = it.routes[at * 256 + parcel_octets(parcel)[SOURCE_AT_NUMBER]]
    cdef Parcel *error
    if it.nodes[at].has_port or not way.icmp or back == NO_PIPE_NUMBER:
        return
    error = too_big_new(parcel, <uint8_t>at, way.mtu)
    if error == NULL:
        return
    if not pipe_offer(it.pipes[back], error, it.now_ns):
        free(error)
    it.pipe_due_ns[back] = pipe_deadline(it.pipes[back])


cdef void deliver(FabricState *it, uint32_t number) noexcept nogil:
    """What has come through a pipe goes into the host's inbox, or on."""
    cdef PipeState *pipe = it.pipes[number]
    cdef Node *node = &it.nodes[pipe.to]
    cdef Parcel *parcel = pipe_take(pipe, it.now_ns)
    while parcel != NULL:
        if node.has_port:
            parcel.due_ns = it.now_ns
            parcel_insert(&node.inbox, parcel)
            if node.tcp != NULL:
                node.due_ns = it.now_ns
        else:
            forward(it, pipe.to, parcel)
        parcel = pipe_take(pipe, it.now_ns)
    it.pipe_due_ns[number] = pipe_deadline(pipe)


# ------------------------------------------------------------------------------------------ a host's
# interface

cdef uint32_t port_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    """What finds no memory is lost, as on any wire; nothing is ever left with the sender."""
    cdef PortState *port = <PortState *>link.self
    cdef uint32_t taken = 0
    cdef uint32_t parts
    cdef Parcel *parcel
    while taken < count:
        parts = packet_parts(packets + taken, count - taken)
        if parts == 0:
            break
        parcel = parcel_from(link.pool, packets + taken, parts)
        if parcel != NULL:
            link.counters.tx_packets += 1
            link.counters.tx_bytes += parcel.octets
            forward(port.fabric, port.number, parcel)
        packet_release(link.pool, packets + taken, parts)
        taken += parts
    return taken


cdef Parcel *parcel_from(FramePool *pool, const Desc *packet, uint32_t parts) noexcept nogil:
    """The packet as it would leave the device, checksum filled in."""
    cdef Parcel *parcel = parcel_new(packet_bytes(packet, parts))
    cdef uint16_t checksum
    if parcel == NULL:
        return NULL
    packet_gather(pool, packet, parts, parcel_octets(parcel))
    if packet_wants_checksum(packet, <uint32_t>parcel.octets):
        checksum = packet_checksum(pool, packet, parts)
        memcpy(parcel_octets(parcel) + packet.csum_start + packet.csum_offset, &checksum, 2)
    return parcel


cdef uint32_t port_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef PortState *port = <PortState *>link.self
    cdef ParcelList *inbox = &port.fabric.nodes[port.number].inbox
    cdef Desc[MAX_PARTS] made
    cdef Parcel *parcel
    cdef uint32_t parts
    cdef uint32_t got = 0
    while inbox.head != NULL and got + MAX_PARTS <= room:
        parcel = parcel_take(inbox)
        parts = packet_from_octets(link.pool, parcel_octets(parcel), <uint32_t>parcel.octets, made)
        if parts == 0:
            link.counters.rx_no_frame += 1
        else:
            memcpy(into + got, made, parts * sizeof(Desc))
            link.counters.rx_packets += 1
            link.counters.rx_bytes += parcel.octets
        got += parts
        free(parcel)
    return got


cdef void port_wake(Link *link) noexcept nogil:
    """Nothing sleeps."""


cdef uint64_t port_deadline(Link *link) noexcept nogil:
    cdef PortState *port = <PortState *>link.self
    cdef ParcelList *inbox = &port.fabric.nodes[port.number].inbox
    return NEVER if inbox.head == NULL else inbox.head.due_ns


@cython.no_gc_clear
cdef class Port(LinkBase):
    """A host's interface on a fabric: what it transmits goes on its way, what has arrived it receives."""

    def __init__(self, Fabric fabric not None, uint32_t number, Frames frames not None, uint32_t mtu):
        self.fabric = fabric
        self.state.fabric = &fabric.state
        self.state.number = number
        self.frames = frames
        self.link.self = &self.state
        self.link.pool = &frames.pool
        self.link.receive = port_receive
        self.link.transmit = port_transmit
        self.link.wake = port_wake
        self.link.deadline = port_deadline
        self.link.mtu = mtu
        self.link.offloads = LINK_TX_CHECKSUM
        self.link.queues = 1


# ------------------------------------------------------------------------------------------ the loop

cdef uint64_t earliest(const FabricState *it) noexcept nogil:
    cdef uint64_t when = NEVER
    cdef uint32_t i
    for i in range(it.pipe_count):
        if it.pipe_due_ns[i] < when:
            when = it.pipe_due_ns[i]
    for i in range(1, it.node_count + 1):
        if it.nodes[i].due_ns < when:
            when = it.nodes[i].due_ns
    return when


cdef void step_host(FabricState *it, uint32_t number) noexcept nogil:
    cdef Node *node = &it.nodes[number]
    cdef unsigned int conn
    turn(node.tcp, it.now_ns, node.next_tick_ns)
    node.stepped_ns[0] = it.now_ns
    node.due_ns = turn_deadline(node.tcp, node.next_tick_ns[0])
    if it.is_checked and it.broken == NULL:
        it.broken = broken_invariant(node.tcp, &conn)
        it.broken_node = number


cdef bint run_instant(FabricState *it) noexcept nogil:
    """Everything that is due now, once; whether Python has something to see."""
    cdef bint for_python = False
    cdef uint32_t i
    for i in range(it.pipe_count):
        if it.pipe_due_ns[i] <= it.now_ns:
            deliver(it, i)
            it.events += 1
    for i in range(1, it.node_count + 1):
        if it.nodes[i].due_ns <= it.now_ns:
            step_host(it, i)
            it.events += 1
            for_python |= it.nodes[i].waiting[0] != 0
    return for_python or it.broken != NULL


cdef bint run_until(FabricState *it, uint64_t end_ns) noexcept nogil:
    """On to `end_ns` or to what Python has to see; false: more happens at one instant than can be."""
    cdef uint64_t when = earliest(it)
    cdef uint32_t at_once = 0
    while when <= end_ns:
        at_once = at_once + 1 if when <= it.now_ns else 0
        it.now_ns = max(it.now_ns, when)
        if at_once > EVENTS_AT_ONCE:
            return False
        if run_instant(it):
            return True
        when = earliest(it)
    it.now_ns = max(it.now_ns, end_ns)
    return True


@cython.no_gc_clear                 # the hosts' stacks reach into it until the last of them is gone
cdef class Fabric:
    """Nodes numbered 1 to 255, joined by pipes, from a time on. `underpass.testing.network` makes and fills
    it. With `check` every stack is held to its invariants after each turn: AssertionError where one is broken.
    """

    def __cinit__(self, uint64_t now_ns, bint check=False):
        memset(&self.state, 0, sizeof(FabricState))
        self.state.now_ns = now_ns
        self.state.is_checked = check
        self.kept = []
        for i in range(256 * 256):
            self.state.routes[i] = NO_PIPE_NUMBER
        for i in range(256):
            self.state.nodes[i].due_ns = NEVER

    def __dealloc__(self):
        for i in range(256):
            parcel_drop_all(&self.state.nodes[i].inbox)

    @property
    def now_ns(self):
        """The time up to which everything has happened."""
        return self.state.now_ns

    @property
    def events(self):
        """Turns of stacks and arrivals that there were."""
        return self.state.events

    @property
    def unroutable(self):
        """Frames that were for nobody: their address was damaged, or no link leads there."""
        return self.state.unroutable

    def port(self, uint32_t number, Frames frames not None, uint32_t mtu):
        """The interface of host `number`."""
        made = Port(self, number, frames, mtu)
        self.state.nodes[number].has_port = True
        self.state.node_count = max(self.state.node_count, number)
        return made

    def attach(self, uint32_t number, Stack stack not None):
        """Have the loop run a stack whose link ends in the port of that number."""
        cdef Node *node = &self.state.nodes[number]
        self.kept.append(stack)
        node.tcp = &stack.tcp
        node.next_tick_ns = &stack.loop.next_tick_ns
        node.stepped_ns = &stack.arena.header.now_ns
        node.waiting = &stack.python.queue.waiting
        node.due_ns = self.state.now_ns

    def detach(self, uint32_t number):
        """See fabric.pyi."""
        self.state.nodes[number].tcp = NULL
        self.state.nodes[number].due_ns = NEVER

    def drop(self, uint32_t number):
        """See fabric.pyi."""
        parcel_drop_all(&self.state.nodes[number].inbox)

    def join(self, Pipe pipe not None, uint32_t to):
        """Lead a pipe to a node; returns the pipe's number."""
        cdef uint32_t number = self.state.pipe_count
        if number == MAX_PIPES:
            raise ValueError(f"a network has at most {MAX_PIPES // 2} links")
        self.kept.append(pipe)
        pipe.state.to = to
        self.state.pipes[number] = &pipe.state
        self.state.pipe_due_ns[number] = NEVER
        self.state.pipe_count += 1
        return number

    def set_route(self, uint8_t at, uint8_t to, uint16_t pipe):
        """The pipe that frames for `to` take from `at`."""
        self.state.routes[<uint32_t>at * 256 + to] = pipe

    def step(self, uint64_t now_ns):
        """A turn for each stack, whatever it waits for, and all that is due by `now_ns`; returns what
        happened, the turns that had to be aside.
        """
        cdef FabricState *it = &self.state
        cdef uint64_t before
        cdef uint32_t i
        it.now_ns = max(it.now_ns, now_ns)
        for i in range(1, it.node_count + 1):
            if it.nodes[i].tcp != NULL:
                step_host(it, i)
        before = it.events
        with nogil:
            while earliest(it) <= it.now_ns:
                if run_instant(it):
                    break
        self.see_what_is_broken()
        return it.events - before

    def run(self, uint64_t end_ns):
        """On through time to `end_ns`, or to the first instant at which Python has something to see; returns
        when that is.
        """
        cdef bint fine
        with nogil:
            fine = run_until(&self.state, end_ns)
        if not fine:
            raise AssertionError(f"{EVENTS_AT_ONCE} events at {self.state.now_ns} ns, and no end")
        self.see_what_is_broken()
        return self.state.now_ns

    cdef int see_what_is_broken(self) except -1:
        if self.state.broken != NULL:
            wrong, self.state.broken = self.state.broken.decode(), NULL
            raise AssertionError(f"10.0.0.{self.state.broken_node} does not keep to this: {wrong}")
        return 0

    def close(self):
        """Let go of the stacks; nothing runs any more."""
        for i in range(256):
            self.state.nodes[i].tcp = NULL
            self.state.nodes[i].due_ns = NEVER
            parcel_drop_all(&self.state.nodes[i].inbox)
        self.state.pipe_count = 0
        self.kept = []

    def next_deadline(self):
        """When something happens next, or None."""
        cdef uint64_t when = earliest(&self.state)
        return None if when == <uint64_t>NEVER else when
