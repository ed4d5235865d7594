"""The worker as Python sees it: control plane in, events and counters out. Packets are handled in `stack/turn.pyx`."""
cimport cython
from libc.errno cimport EBUSY
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

import hashlib
import os

from underpass.ip.network cimport (
    MAX_ADDRESSES, NEIGHBOUR_BUCKETS, NEIGHBOUR_FAILED, NEIGHBOUR_FREE, NEIGHBOUR_INCOMPLETE, NEIGHBOUR_VALID,
    WANT_PROBE, LocalAddress, Neighbour, Network, Route, network_add_route, network_clear_routes,
    network_init, network_is_local, network_set_addresses, network_set_neighbour, network_take_wanted,
)
from underpass.link.frames cimport NO_FRAME, frame_unref
from underpass.link.gate cimport GateMemory
from underpass.link.handover cimport HandoverLink
from underpass.link.link cimport NEVER, Desc, LinkBase
from underpass.link.local cimport LocalLink
from underpass.stack.arena cimport XDP_COUNTERS, Arena, KernelCounters
from underpass.stack.inspect cimport connection_rows
from underpass.stack.options cimport Target, congestion_index, option_set
from underpass.stack.overload cimport Overload
from underpass.stack.sockets cimport STALE, PythonApp, events_forget, make_connection, make_listener
from underpass.stack.moderation cimport moderation_init
from underpass.stack.tap cimport PacketTap
from underpass.stack.tracer cimport Tracer
from underpass.stack.turn cimport (
    LOOP_TIMEOUT, LOOP_WAKE, MAX_WAKE_FDS, LoopEnd, loop_run, monotonic_ns, turn as turn_once, turn_deadline,
)
from underpass.tcp.api cimport tcp_abort_all, tcp_connect_preset, tcp_hold, tcp_listen
from underpass.tcp.congestion.control cimport CONGESTION_CONTROLS, CONGESTION_CUBIC, congestion_control
from underpass.tcp.preset cimport preset_default
from underpass.tcp.flows cimport FlowTable
from underpass.tcp.services cimport ServiceTable
from underpass.tcp.steering cimport Steering, steering_set
from underpass.tcp.rebuild cimport rebuild
from underpass.tcp.renumber cimport renumber
from underpass.tcp.sources cimport sources_recount
from underpass.tcp.tcb cimport (
    CONN_STARVED, EVENT_ACCEPTED, EVENT_CLOSED, EVENT_CONNECTED, EVENT_READABLE, EVENT_TROUBLE,
    EVENT_URGENT, EVENT_WRITABLE, LISTENER_BUCKETS, MAX_APPS, NO_CONN, NO_LISTENER, App, DemuxSlot,
    Limits, Tcb, TcbCold, Tcp, TcpState, TimeWait, TimerNode,
)
from underpass.tcp.time_wait cimport time_wait_init
from underpass.tcp.wheel cimport Wheel, wheel_init
from underpass.wire.address cimport Address, address_from_text, address_is_v4, address_to_text
from underpass.stack.arena import SOCKET_NAMES
from underpass.wire.reason import reason_names
from underpass.wire.siphash cimport SipKey

ACCEPTED = EVENT_ACCEPTED
CONNECTED = EVENT_CONNECTED
READABLE = EVENT_READABLE
WRITABLE = EVENT_WRITABLE
CLOSED = EVENT_CLOSED
URGENT = EVENT_URGENT
TROUBLE = EVENT_TROUBLE

DEFAULT_LIMITS = {
    "connections": 131072,
    "half_open": 4096,
    "time_waits": 32768,
    "rcv_bytes": 4194304,
    "rcv_initial_bytes": 131072,
    "snd_frames": 4096,
    "snd_initial_frames": 64,
    "ooo_frames": 2048,
    "time_wait_ms": 60000,
    "fin_wait_2_ms": 60000,
    "orphans": 16384,
    "orphan_ms": 120000,
    "syn_retries": 7,
    "synack_retries": 5,
    "retries": 15,
    "rto_min_us": 200000,
    "delayed_ack_us": 40000,
    "mss": 65535,
    "path_mtu_ms": 600000,
    "mtu_probing": 1,
    "challenge_acks_ps": 1000,
    "ephemeral_first": 32768,
    "ephemeral_last": 60999,
    "congestion": CONGESTION_CUBIC,
    "ecn": 2,
    "idle_restart": 1,
}

# Lowest and highest value of each limit.
LIMIT_RANGES = {
    "connections": (1, 1 << 24),
    "half_open": (0, 1 << 24),
    "time_waits": (1, 1 << 24),
    "rcv_bytes": (2048, 1 << 30),
    "rcv_initial_bytes": (2048, 1 << 30),
    "snd_frames": (2, 1 << 20),
    "snd_initial_frames": (2, 1 << 20),
    "ooo_frames": (0, 1 << 20),
    "time_wait_ms": (1, 600000),
    "fin_wait_2_ms": (1, 600000),
    "orphans": (0, 1 << 24),
    "orphan_ms": (1, 3600000),
    "syn_retries": (0, 32),
    "synack_retries": (0, 32),
    "retries": (1, 32),
    "rto_min_us": (1000, 60000000),
    "delayed_ack_us": (0, 500000),
    "mss": (64, 65535),
    "path_mtu_ms": (1000, 86400000),
    "mtu_probing": (0, 1),
    "challenge_acks_ps": (1, 1000000),
    "ephemeral_first": (1, 65535),
    "ephemeral_last": (1, 65535),
    "congestion": (0, CONGESTION_CONTROLS - 1),
    "ecn": (0, 2),
    "idle_restart": (0, 1),
}


cdef enum:
    SETTLE_TURNS = 100              # of a worker that stops, until all is sent


cdef int raise_errno(int number, str what) except -1:
    raise OSError(number, f"{os.strerror(number)}: {what}")


cdef SipKey derive_key(bytes seed, bytes purpose):
    """One secret for each purpose, from the seed."""
    cdef SipKey key
    cdef bytes digest = hashlib.blake2b(purpose, key=seed[:64], digest_size=16).digest()
    memcpy(&key, <const char *>digest, sizeof(SipKey))
    return key


def admission_keys(bytes seed):
    """The secrets that a stack with this seed makes SYN cookies, timestamps and keys of flows with: three keys of 16 octets."""
    cdef SipKey[3] keys
    keys[0] = derive_key(seed, b"cookies")
    keys[1] = derive_key(seed, b"sequence numbers")
    keys[2] = derive_key(seed, b"demultiplexing")
    return (<const char *>keys)[:sizeof(keys)]


@cython.no_gc_clear                 # its connections close themselves in it when they are collected
cdef class Stack:
    """A worker over a link, with the interface's MAC address (6 octets).

    `seed` (at least 16 octets, for tests that must repeat) decides all secrets; by default the system's randomness does.
    `limits` are listed in docs/limits.md. With `arena`, the memfd that another process's `suspend` has left, it goes on with
    that process's connections, over the same frames; applications register in the same order as there. Where that process
    `crashed`, `recovery` says what has become of its connections (see tcp/rebuild.pxd). Raises ValueError
    for a limit that does not exist or is out of range, and for an arena of other sizes or another version.
    """

    def __cinit__(self, LinkBase link, bytes mac, *, bytes seed=None, int arena=-1, bint crashed=False, **limits):
        cdef uint32_t slots = 64
        memset(&self.tcp, 0, sizeof(Tcp))
        if len(mac) != 6:
            raise ValueError(f"a MAC address has 6 octets, not {len(mac)}")
        if seed is not None and len(seed) < 16:
            raise ValueError(f"a seed has at least 16 octets, not {len(seed)}")
        self.link = link
        self.natives = []
        self.open_connections = {}
        merged = checked_limits(limits)
        self.arena = Arena(merged["connections"], merged["time_waits"], link.link.pool.state.count, arena)
        self.arena.header.frames_inode = os.fstat(link.frames.memfd).st_ino
        link.place_counters(&self.arena.header.link, self.arena)
        self.lay_out()
        if arena >= 0:
            self.tcp.now_ns = self.arena.header.now_ns
        else:
            self.first_state(seed if seed is not None else os.urandom(32))
            self.set_limits(merged)
        while slots < link.link.pool.state.count:
            slots *= 2
        self.tcp.tx.ring = <Desc *>calloc(slots, sizeof(Desc))
        if self.tcp.tx.ring == NULL:
            raise MemoryError("transmit queue")
        self.tcp.tx.mask = slots - 1
        memset(&self.loop, 0, sizeof(Loop))
        self.loop.stopping = &self.stopping
        self.loop.next_tick_ns = NEVER
        self.python = PythonApp(merged["connections"])
        self.python_app = self.register_app(&self.python.app, self.python)
        self.set_mac(mac)
        self.set_mtu(link.link.mtu)
        if crashed:
            self.set_limits(merged)
            self.recovery = self.recover()
        elif arena >= 0:
            self.count_starved()

    def __dealloc__(self):
        free(self.tcp.tx.ring)
        free(self.steering)

    cdef int lay_out(self) except -1:
        """Point into the arena."""
        cdef char *base = self.arena.base
        cdef Tcp *tcp = &self.tcp
        tcp.state = <TcpState *>(base + self.arena.header.tcp_state)
        tcp.network = <Network *>(base + self.arena.header.network)
        tcp.wheel = base + self.arena.header.wheel
        tcp.tcbs = <Tcb *>(base + self.arena.header.tcbs)
        tcp.colds = <TcbCold *>(base + self.arena.header.colds)
        tcp.rares = base + self.arena.header.rares
        tcp.rates = base + self.arena.header.rates
        tcp.stamps = base + self.arena.header.stamps
        tcp.timers = <TimerNode *>(base + self.arena.header.timers)
        tcp.demux = <DemuxSlot *>(base + self.arena.header.demux)
        tcp.time_waits = <TimeWait *>(base + self.arena.header.time_wait_pool)
        tcp.pool = self.link.link.pool
        tcp.link = &self.link.link
        tcp.touched = tcp.touched_tail = NO_CONN
        tcp.reserved = NO_FRAME
        return 0

    cdef object recover(self):
        """The process before this one died."""
        midway = self.tcp.state.epoch % 2 == 1
        kept, reasons = rebuild(&self.tcp, self.arena.header.demux_slots, <uint8_t>self.python_app)
        return {"midway": midway, "kept": kept, "aborted": reasons}

    cdef int count_starved(self) except -1:
        """What is not in the arena, and follows from what is."""
        cdef uint32_t conn
        for conn in range(self.tcp.state.tcb_fresh):
            self.tcp.starved += (self.tcp.tcbs[conn].flags & CONN_STARVED) != 0
        return 0

    cdef int first_state(self, bytes seed) except -1:
        """Put every pool in its first state."""
        cdef Tcp *tcp = &self.tcp
        cdef TcpState *state = tcp.state
        cdef SipKey key
        cdef uint32_t i
        state.tcb_free = state.at_work = NO_CONN
        time_wait_init(state)
        state.demux_mask = self.arena.header.demux_slots - 1
        for i in range(LISTENER_BUCKETS):
            state.listener_buckets[i] = NO_LISTENER
        state.hash_key = derive_key(seed, b"demultiplexing")
        state.secret = derive_key(seed, b"sequence numbers")
        state.cookie_key = derive_key(seed, b"cookies")
        state.fast_open_key = derive_key(seed, b"Fast Open")
        key = derive_key(seed, b"neighbours")
        network_init(tcp.network, &key)
        wheel_init(<Wheel *>tcp.wheel, 0)
        return 0

    def share_flows(self, FlowTable table not None, HandoverLink link not None, ServiceTable services not None):
        """This worker is one of several: see stack.pyi."""
        self.flow_table, self.service_table = table, services
        self.tcp.handover = &link.state
        table.attach(&self.tcp, link.state.worker)
        self.tcp.flows.services = services.services
        if self.recovery is not None:
            table.reconcile(&self.tcp)

    def show_flows(self, FlowTable table not None):
        """This worker is the only one: its flows stand in `table` for the XDP program."""
        self.flow_table = table
        table.attach(&self.tcp, 0)

    def set_gate(self, GateMemory gate not None, *, bint cookies, bint refuses):
        """Tell the XDP program how much this worker can take, by `gate`. `cookies`: it sends SYN cookies of ours;
        `refuses`: it refuses what is new while the worker is overloaded.
        """
        self.gate = gate
        memset(&self.overload, 0, sizeof(Overload))
        self.overload.gate = &gate.gate
        self.overload.refuses = refuses
        self.tcp.overload = &self.overload
        self.tcp.xdp_cookie_ns = gate.gate.cookie_ns if cookies else NULL
        sources_recount(&self.tcp)

    def set_steering(self, bytes key=b"", list indirection=None, set queues=None, bint v4=True, bint v6=True):
        """How the device spreads packets: see stack.pyi."""
        self.tcp.steering = NULL
        if not indirection or not queues:
            return False
        if self.steering == NULL:
            self.steering = <Steering *>calloc(1, sizeof(Steering))
            if self.steering == NULL:
                raise MemoryError("steering")
        if not steering_set(self.steering, key, indirection, queues, v4, v6):
            return False
        self.tcp.steering = self.steering
        return True

    cdef int set_limits(self, dict limits) except -1:
        cdef Limits *into = &self.tcp.state.limits
        into[0] = limits
        return 0

    # ------------------------------------------------------------------------------ the control plane

    def set_mac(self, bytes mac):
        """Our own address on the link (6 octets)."""
        if len(mac) != 6:
            raise ValueError(f"a MAC address has 6 octets, not {len(mac)}")
        memcpy(self.tcp.network.mac, <const char *>mac, 6)
        if isinstance(self.link, LocalLink):
            self.tcp.network.loops = 1
            (<LocalLink>self.link).state.mac = self.tcp.network.mac

    def set_mtu(self, uint32_t mtu):
        """Octets of the largest IP packet; connections opened from now on use it."""
        if not 576 <= mtu <= 65535:
            raise ValueError(f"an MTU lies between 576 and 65535, not {mtu}")
        self.tcp.network.mtu = <unsigned short>mtu

    def set_interface(self, str name):
        """The interface's name, for those who look at the arena from outside."""
        cdef bytes octets = name.encode()[:15]
        memcpy(self.arena.header.interface, <const char *>octets, len(octets) + 1)

    def set_kernel_counters(self, dict xdp, dict sockets):
        """What Linux counts for this worker, for those who look at the arena: XDP's in their order, sockets' by name."""
        cdef KernelCounters *into = &self.arena.header.kernel
        for i, value in enumerate(list(xdp.values())[:XDP_COUNTERS]):
            into.xdp[i] = value
        for i, name in enumerate(SOCKET_NAMES):
            into.sockets[i] = sockets.get(name, 0)
        into.xdp_count = min(len(xdp), XDP_COUNTERS)
        into.at_ns = monotonic_ns()

    def set_strict_checksum(self, bint strict):
        """Whether a checksum left to the device (veth, tun, virtio) counts as damage."""
        self.tcp.network.strict_checksum = strict

    def set_addresses(self, addresses):
        """All addresses of the interface, as (text, prefix length)."""
        cdef LocalAddress[MAX_ADDRESSES] table
        cdef uint32_t count = 0
        memset(table, 0, sizeof(table))
        for text, prefix in addresses:
            if count == MAX_ADDRESSES:
                raise ValueError(f"an interface has at most {MAX_ADDRESSES} addresses here")
            address_from_text(text, &table[count].address)
            table[count].prefix = prefix + (96 if address_is_v4(&table[count].address) else 0)
            count += 1
        if count == self.tcp.network.address_count and \
                memcmp(table, self.tcp.network.addresses, count * sizeof(LocalAddress)) == 0:
            return                          # connections are many
        network_set_addresses(self.tcp.network, table, count)
        renumber(&self.tcp)

    def set_routes(self, routes):
        """All routes: (destination, prefix length, via or None, source or None, metric, mtu or 0[, advmss or 0])."""
        cdef Route route
        network_clear_routes(self.tcp.network)
        for destination, prefix, via, source, metric, mtu, *advmss in routes:
            memset(&route, 0, sizeof(route))
            address_from_text(destination, &route.destination)
            route.prefix = prefix + (96 if address_is_v4(&route.destination) else 0)
            route.metric = metric
            route.mtu = mtu
            route.advmss = advmss[0] if advmss else 0
            if via is not None:
                address_from_text(via, &route.via)
            if source is not None:
                address_from_text(source, &route.source)
            if not network_add_route(self.tcp.network, &route):
                raise ValueError("more routes than the worker's table holds")

    def set_neighbour(self, str address, mac, bint failed=False):
        """What Linux knows of a neighbour: its MAC, that nobody answered, or (None) nothing any more."""
        cdef Address of
        cdef const uint8_t *octets = NULL
        cdef uint8_t state = NEIGHBOUR_FAILED if failed else NEIGHBOUR_FREE
        cdef bytes copy
        address_from_text(address, &of)
        if mac is not None:
            copy = bytes(mac)
            if len(copy) != 6:
                raise ValueError(f"a MAC address has 6 octets, not {len(copy)}")
            octets = <const uint8_t *><const char *>copy
            state = NEIGHBOUR_VALID
        network_set_neighbour(self.tcp.network, &of, octets, state)

    def wanted(self):
        """Neighbours asked for since the last call: (address, "resolve" or "probe")."""
        cdef Address address
        cdef uint32_t kind = 0
        rows = []
        while network_take_wanted(self.tcp.network, &address, &kind):
            rows.append((address_to_text(&address), "probe" if kind == WANT_PROBE else "resolve"))
        return rows

    def neighbours(self):
        """Known neighbours: (address, MAC or None, state, nanoseconds since a packet last went there)."""
        cdef Neighbour *it
        cdef uint32_t i
        names = {NEIGHBOUR_INCOMPLETE: "incomplete", NEIGHBOUR_VALID: "valid", NEIGHBOUR_FAILED: "failed"}
        rows = []
        for i in range(NEIGHBOUR_BUCKETS):
            it = &self.tcp.network.neighbours[i]
            if it.state != NEIGHBOUR_FREE and not network_is_local(self.tcp.network, &it.address):
                mac = (<const char *>it.mac)[:6] if it.state == NEIGHBOUR_VALID else None
                rows.append((address_to_text(&it.address), mac, names[it.state], self.tcp.now_ns - it.used_ns))
        return rows

    # ------------------------------------------------------------------------------ applications

    cdef uint32_t register_app(self, const App *app, object owner) except? 0xFFFFFFFF:
        if self.app_count == MAX_APPS:
            raise ValueError(f"a worker runs at most {MAX_APPS} applications")
        self.tcp.apps[self.app_count] = app[0]
        self.natives.append(owner)
        self.app_count += 1
        return self.app_count - 1

    def listen(self, tuple address, uint32_t backlog=1024, *, congestion=None):
        """Accept connections to (address, port); "" and "::" stand for every address of ours of the family, "" for IPv4.

        `congestion` names the congestion control of what is accepted, if it is not to be the stack's.
        """
        control = None if congestion is None else congestion_number(congestion)
        cdef Address local
        cdef int error = 0
        cdef uint32_t number
        text, port = address[0] or "0.0.0.0", address[1]
        address_from_text(text, &local)
        if not 0 < port < 65536:
            raise ValueError(f"a port lies between 1 and 65535, not {port}")
        number = tcp_listen(&self.tcp, &local, 4 if address_is_v4(&local) else 6, port, <uint8_t>self.python_app,
                            backlog, 0, 0, &error)
        if number == NO_LISTENER:
            raise_errno(error, f"{text} port {port}")
        if control is not None:
            self.tcp.state.listeners[number].preset.congestion = control
        return make_listener(self, &self.tcp, number, (text, port))

    def connect(self, tuple address, source=None, options=()):
        """Open a connection to (address, port); a CONNECTED or CLOSED event tells how it went.

        `options` are rows of (level, option, value) as setsockopt takes them; they hold from the SYN on.
        """
        cdef Target target
        cdef Address remote
        cdef Address local
        cdef int error = 0
        cdef uint32_t conn
        memset(&local, 0, sizeof(local))
        address_from_text(address[0], &remote)
        port = 0
        if source is not None:
            address_from_text(source[0] or "0.0.0.0", &local)
            port = source[1]
        if not 0 < address[1] < 65536 or not 0 <= port < 65536:
            raise ValueError(f"a port lies between 1 and 65535, not {address[1]}")
        if self.tcp.now_ns == 0:
            self.tcp.now_ns = monotonic_ns()
        target.tcp = &self.tcp
        target.conn = NO_CONN
        target.listening = False
        target.v6 = not address_is_v4(&remote)
        preset_default(&self.tcp, &target.preset)
        for level, option, value in options:
            option_set(&target, level, option, value)
        conn = tcp_connect_preset(&self.tcp, &local, port, &remote, address[1], <uint8_t>self.python_app, 0,
                                  &target.preset, &error)
        if conn == NO_CONN:
            raise_errno(error, f"{address[0]} port {address[1]}")
        tcp_hold(&self.tcp, conn)
        events_forget(&self.python.queue, conn)
        return make_connection(self, self.open_connections, &self.tcp, conn)

    # ------------------------------------------------------------------------------ the loop

    cdef uint32_t turn(self, uint64_t now_ns) noexcept nogil:
        cdef uint32_t count = turn_once(&self.tcp, now_ns, &self.loop.next_tick_ns)
        self.arena.header.now_ns = now_ns
        return count

    def step(self, uint64_t now_ns):
        """One turn at the given time, for virtual clocks. Returns the packets received. Time that goes back stands still."""
        return self.turn(max(now_ns, self.tcp.now_ns))

    def next_deadline(self):
        """When a timer, an application or the link has something to do, in ns of the caller's clock, or None."""
        cdef uint64_t at = turn_deadline(&self.tcp, self.loop.next_tick_ns)
        return None if at == NEVER else at

    cdef list take_events(self):
        cdef uint32_t conn
        cdef uint8_t events
        rows = []
        while self.python.queue.head != self.python.queue.tail:
            conn = self.python.queue.ring[self.python.queue.head & self.python.queue.mask]
            self.python.queue.head += 1
            events = self.python.queue.pending[conn] & ~<uint8_t>STALE
            self.python.queue.pending[conn] = 0
            if events & EVENT_ACCEPTED:
                it = make_connection(self, self.open_connections, &self.tcp, conn)
            else:
                it = self.open_connections.get(conn)
            if it is None or events == 0:
                continue                # let go of since
            if events & EVENT_CLOSED:
                del self.open_connections[conn]
            rows.append((it, events))
        self.python.queue.waiting = 0
        return rows

    def events(self):
        """What happened for Python since the last call, without a turn: the companion of step() under a virtual clock."""
        return self.take_events()

    cdef LoopEnd loop_until(self, uint64_t deadline_ns, const uint32_t *events) noexcept nogil:
        cdef LoopEnd end
        self.loop.deadline_ns = deadline_ns
        self.loop.events = events
        end = loop_run(&self.tcp, &self.loop)
        self.arena.header.now_ns = self.tcp.now_ns
        self.arena.header.turns = self.loop.turns
        self.arena.header.sleeps = self.loop.sleeps
        self.arena.header.naps = self.loop.moderation.naps_all
        return end

    cdef LoopEnd run_loop(self, object timeout, bint for_python) except? LOOP_TIMEOUT:
        cdef LoopEnd end
        cdef uint64_t deadline_ns = NEVER if timeout is None else monotonic_ns() + <uint64_t>(max(timeout, 0) * 1e9)
        with nogil:
            end = self.loop_until(deadline_ns, &self.python.queue.waiting if for_python else NULL)
        self.stopping = False
        return end

    cdef list run_until(self, object timeout, object wake_fds, bint for_python):
        """Run the loop with these descriptors to wait on; returns those that are readable."""
        cdef uint32_t i
        if len(wake_fds) > MAX_WAKE_FDS:
            raise ValueError(f"at most {MAX_WAKE_FDS} descriptors can be waited on")
        self.loop.fd_count = len(wake_fds)
        for i in range(self.loop.fd_count):
            self.loop.fds[i] = wake_fds[i]
        if self.run_loop(timeout, for_python) != LOOP_WAKE:
            return []
        return [fd for i, fd in enumerate(wake_fds) if self.loop.ready >> i & 1]

    def poll(self, timeout=None):
        """Run until something happened for Python, or `timeout` seconds passed: a list of (Connection, event bits).

        An empty list also where a signal was handled or the control plane has something to do.
        """
        self.loop.fd_count = 0
        self.run_loop(timeout, True)
        return self.take_events()

    def run(self, timeout=None, wake_fds=()):
        """Run native applications without the GIL until one of `wake_fds` is readable (those are returned), `wanted`
        has entries, stop() was called, Python should look at signals, or `timeout` seconds passed.
        """
        return self.run_until(timeout, wake_fds, False)

    def run_for_events(self, timeout=None, wake_fds=()):
        """As run(), but returns also when something happened for Python: see events()."""
        return self.run_until(timeout, wake_fds, True)

    def stop(self):
        """Have run() return. To be called from a signal handler or an application."""
        self.stopping = True

    def set_spin(self, double seconds):
        """How long to look for packets before sleeping; 0: sleep at once."""
        self.loop.spin_ns = <uint64_t>(seconds * 1e9)

    def set_moderation(self, double seconds):
        """How long a loaded worker sleeps before it looks for packets, where that serves as many connections as to be woken
        for each does; 0: it is always woken. See moderation.pxd.
        """
        if not 0 <= seconds <= 0.001:
            raise ValueError(f"moderation lies between 0 and 0.001 s, not {seconds}")
        moderation_init(&self.loop.moderation, <uint64_t>(seconds * 1e9))

    # ------------------------------------------------------------------------------ looking at it

    def stats(self):
        """Counters by layer: "link", "refused" (by reason), "tcp", "pool", "loop", "overload"."""
        cdef dict tcp = self.tcp.state.counters
        refused = tcp.pop("refused")
        names = reason_names()
        pool = self.tcp.pool.state
        return {
            "link": self.link.stats(),
            "refused": {name: refused[i] for i, name in enumerate(names) if i},
            "tcp": tcp | {"connections": self.tcp.state.tcb_used, "half_open": self.tcp.state.half_open,
                          "time_waits": self.tcp.state.time_wait_used},
            "pool": {"frames": pool.count, "free": pool.free, "reserve": pool.reserve, "refused": pool.refused,
                     "waiting_to_send": self.tcp.tx.tail - self.tcp.tx.head},
            "loop": {"turns": self.loop.turns, "sleeps": self.loop.sleeps, "naps": self.loop.moderation.naps_all},
            "overload": {"level": self.overload.level},
        }

    def connections(self):
        """Every listener, connection and TIME_WAIT entry, in the manner of ss."""
        return connection_rows(&self.tcp)

    def capture_start(self, bytes program=b"", *, uint32_t snaplen=262144, bint refused_only=False,
                      uint32_t interface=0, uint64_t epoch_ns=0, uint64_t ring_bytes=1 << 24):
        """Copy what passes from now on into a ring in shared memory (see stack/tap.pxd); returns its memfd, which stays ours.

        Each packet is a block of pcapng, those not accepted with the reason as their comment. `program` is a filter in
        classic BPF, b"" for everything; `snaplen` octets of each packet are copied; `refused_only`: of those not accepted;
        `interface` is the number that blocks carry, `epoch_ns` the wall clock's time at 0 of the worker's clock.
        Raises OSError EBUSY during another capture, ValueError for a program that may not be run and for what is out of range.
        """
        if self.tap is not None:
            raise_errno(EBUSY, "this worker is being captured already")
        tap = PacketTap(program, snaplen=snaplen, refused_only=refused_only, interface=interface, epoch_ns=epoch_ns,
                        ring_bytes=ring_bytes)
        tap.attach(&self.tcp)
        self.tap = tap
        return tap.memory.memfd

    def capture_stop(self):
        """End the capture; its reader keeps what stands in the ring. May be called without one."""
        if self.tap is not None:
            self.tap.detach(&self.tcp)
            self.tap = None

    def suspend(self):
        """Leave all connections to another process (see `arena`); returns the arena's memfd. The link is not closed.

        Segments that the device does not take are lost, as on a wire. Raises ValueError where Python has connections or
        listeners: what they are to it cannot be left to others.
        """
        cdef Desc *desc
        if self.open_connections:
            raise ValueError(f"{len(self.open_connections)} connections belong to Python")
        for _ in range(SETTLE_TURNS):
            self.turn(monotonic_ns())
            if self.tcp.tx.head == self.tcp.tx.tail and self.tcp.touched == NO_CONN:
                break
        while self.tcp.tx.head != self.tcp.tx.tail:
            desc = &self.tcp.tx.ring[self.tcp.tx.head & self.tcp.tx.mask]
            frame_unref(self.tcp.pool, desc.frame)
            self.tcp.tx.head += 1
        self.closed = True
        return self.arena.memfd

    def note_given_up(self, uint64_t times):
        """See stack.pyi."""
        self.tcp.state.counters.recovery_given_up = times

    def trace_start(self, str remote=None, *, int remote_port=0, int local_port=0, uint64_t ring_bytes=1 << 22):
        """Note what one connection does in a ring in shared memory (see tcp/trace.pxd); returns its memfd, which stays ours.

        It is the first with this remote address (None: any) and these ports (0: any): one that there is, where
        `remote_port` is given, else the next one. Raises OSError EBUSY during another trace, ValueError for what is
        out of range.
        """
        if self.tracer is not None:
            raise_errno(EBUSY, "this worker traces a connection already")
        tracer = Tracer(remote, remote_port, local_port, ring_bytes)
        tracer.attach(&self.tcp, remote_port != 0)
        self.tracer = tracer
        return tracer.memory.memfd

    def trace_stop(self):
        """End the trace; its reader keeps what stands in the ring. May be called without one."""
        if self.tracer is not None:
            self.tracer.detach(&self.tcp)
            self.tracer = None

    def abort_all(self):
        """See stack.pyi."""
        return tcp_abort_all(&self.tcp)

    def close(self):
        """Reset what is open, as nobody will serve it any more, and close the link. May be called twice."""
        if not self.closed:
            self.closed = True
            tcp_abort_all(&self.tcp)
            self.capture_stop()
            self.trace_stop()
            self.open_connections.clear()
            self.link.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()


def checked_limits(dict given):
    """The defaults with what was given, each in its range."""
    for name, value in list(given.items()):
        if name not in LIMIT_RANGES:
            raise ValueError(f"{name} is no limit; limits are {', '.join(sorted(LIMIT_RANGES))}")
        if name == "congestion":
            given[name] = value = congestion_number(value)
        lowest, highest = LIMIT_RANGES[name]
        if not lowest <= value <= highest:
            raise ValueError(f"{name} lies between {lowest} and {highest}, not {value}")
    merged = DEFAULT_LIMITS | given
    if merged["ephemeral_first"] > merged["ephemeral_last"]:
        raise ValueError("ephemeral_first lies behind ephemeral_last")
    return merged


def congestion_number(object name):
    """The index of a congestion control, which the interface knows by name."""
    which = congestion_index(name) if isinstance(name, (str, bytes)) else CONGESTION_CONTROLS
    if which == CONGESTION_CONTROLS:
        names = [congestion_control(which).name.decode() for which in range(CONGESTION_CONTROLS)]
        raise ValueError(f"{name!r} is no congestion control; there are {', '.join(names)}")
    return which
