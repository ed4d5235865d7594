"""Load the XDP program, attach it to an interface, and keep its maps: what is claimed, addresses, sockets.

The attachment is a bpf_link: it ends with the last process that holds the link's descriptor, killed or not.
"""
from libc.errno cimport E2BIG, EBUSY, ENOENT, ENOSPC, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport close as close_fd

import os
from ipaddress import ip_address

from underpass.xdp.attachment import Attachment, switch
from underpass.xdp.contract cimport (
    ADDRESSES_MAX, ADDRESS_CLAIMED, ADDRESS_LOCAL, CLAIMS_MAX, COUNTERS_MAX, QUEUES_MAX, address_key, claim_key, counter_texts, steer_config,
)
from underpass.xdp.libbpf cimport *
from underpass.xdp.steer_object cimport SteerObject

from underpass.xdp.query import attached_program
from underpass.xdp.steer_object import VERSION, FeatureRefused, check_version, checked_features

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t value)

cdef enum:
    PLAIN_MTU_MAX = 3506            # above, a page no longer holds a packet beside what XDP keeps there
    TCP = 6

MODES = {"native": XDP_FLAGS_DRV_MODE, "generic": XDP_FLAGS_SKB_MODE}

# Drivers that do not run the attached program any more: veth (Linux 6.18) on new queues, vmxnet3 (7.3) once the interface
# was down.
FORGETFUL_DRIVERS = {"veth", "vmxnet3"}


CLAIMS_FULL = (f"the map `claims` is full: an interface has at most {CLAIMS_MAX} pairs of address and port, which is built "
               "in; serve fewer addresses or ports on it")
ADDRESSES_FULL = (f"the map `addresses` is full: an interface has at most {ADDRESSES_MAX} addresses, its own and claimed ones "
                  "together, which is built in; take some off it, or claim fewer")


cdef bytes octets_of(address):
    """The 16 octets of a text or ipaddress address, IPv4 as ::ffff:a.b.c.d; a scope (%eth0) is left out."""
    parsed = ip_address(address)
    return parsed.packed if parsed.version == 6 else b"\0" * 10 + b"\xff\xff" + parsed.packed


cdef str text_of(bytes octets):
    """The other way round."""
    parsed = ip_address(octets)
    return str(parsed.ipv4_mapped or parsed)


cdef class XdpProgram:
    """The XDP program on one interface.

    `netdev` gives the interface's `name`, `index`, `mac`, `mtu` and `driver`; `mode` is "native", "generic", or "auto":
    what is better for such an interface (its `modes()`), and where that is refused the other. `mode` and
    `why_not_better` say what was taken, and why.
    `features` are the names in FEATURES of the stages that are in the program besides steering; `entries` says how
    large maps are to be that are not to have the program's own size.

    `adopted` are the descriptors, by name, that `descriptors()` gave in another process, and which are this one's from now on:
    with them, and its `facts()`, it goes on with what that process has attached.

    Of features that the kernel refuses those in `spared` are left out: `refused` says why, by name.
    Raises OSError: EBUSY where another program is attached, EPERM without CAP_BPF and CAP_NET_ADMIN.
    """
    cdef SteerObject _object
    cdef object _others             # Attachment: what another process has exchanged ours for
    cdef uint32_t _others_id
    cdef int _claims, _addresses, _config, _xsks, _counters
    cdef steer_config _current
    cdef dict _flags_by_address     # octets -> address_flags, as in the map
    cdef dict _claimed_ports        # octets -> number of claims
    cdef readonly object netdev
    cdef frozenset _spared
    cdef readonly dict refused
    cdef readonly str mode
    cdef readonly object why_not_better
    cdef readonly bint multi_buffer
    cdef readonly int link_fd       # the attachment: pass it to whoever shall keep it alive

    def __cinit__(self):
        self.link_fd = -1

    def __init__(self, netdev, str mode="auto", multi_buffer=None, features=(), entries=None, adopted=None, facts=None,
                 spared=()):
        if mode != "auto" and mode not in MODES:
            raise ValueError(f"mode is auto, native or generic, not {mode!r}")
        self.netdev = netdev
        wanted = netdev.modes(multi_buffer is not False) if mode == "auto" else (mode,)
        chosen = checked_features(features)
        self.multi_buffer = multi_buffer if multi_buffer is not None else (
            netdev.mtu > PLAIN_MTU_MAX or netdev.hands_over_whole(wanted[0]))
        self._flags_by_address = {}
        self._claimed_ports = {}
        self._spared, self.refused = checked_features(spared), {}
        if adopted is not None:
            self._adopt(dict(adopted), dict(facts), chosen, entries or {})
            return
        self._refuse_second_program()
        self._load(chosen, entries or {})
        try:
            self.set_mac(netdev.mac)
            self.set_flow_range(1, 0)
            self._attach(wanted)
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        self._release()

    cdef _refuse_second_program(self):
        attached = attached_program(self.netdev.index)
        if attached is not None:
            (program_id, name, mode), interface = attached, self.netdev.name
            raise OSError(EBUSY, f"{interface} already runs XDP program {name!r} (id {program_id}, {mode}): "
                                 f"stop what attached it, or `ip link set dev {interface} xdp off`")

    cdef _load(self, frozenset features, dict entries):
        self._object = self._object_with(features, None, entries)
        self._find_maps()

    cdef SteerObject _object_with(self, frozenset features, dict reuse, dict entries):
        """Load it, and where the driver forgets it on new queues, the one for the other kind of packets too: see renew()."""
        forgetful = self.netdev.driver in FORGETFUL_DRIVERS
        try:
            return SteerObject(features, self.multi_buffer, both=forgetful, reuse=reuse, entries=entries)
        except FeatureRefused as error:
            if not error.features.keys() <= self._spared:
                raise
            self.refused = error.features
        return SteerObject(features - self.refused.keys(), self.multi_buffer, both=forgetful, reuse=reuse, entries=entries)

    cdef _find_maps(self):
        self._claims = self._object.map_fd("claims")
        self._addresses = self._object.map_fd("addresses")
        self._config = self._object.map_fd("config")
        self._xsks = self._object.map_fd("xsks")
        self._counters = self._object.map_fd("counters")

    def descriptors(self):
        """What another process needs to go on with it (see `adopted`): the attachment and the maps, by name."""
        return {"link": self.link_fd} | {f"map {name}": fd for name, fd in self._object.maps().items()}

    def facts(self):
        """The rest that it needs: plain values."""
        return {"version": VERSION, "mode": self.mode, "why_not_better": self.why_not_better, "multi_buffer": self.multi_buffer,
                "features": sorted(self._object.features), "program": self._loaded_id()}

    cdef _adopt(self, dict adopted, dict facts, frozenset features, dict entries):
        """Load this version's program over the maps that are there, and have the attachment run it."""
        cdef uint32_t only = 0
        self.mode, self.why_not_better, self.multi_buffer = facts["mode"], facts["why_not_better"], facts["multi_buffer"]
        self.link_fd = adopted.pop("link")
        given = {name.removeprefix("map "): fd for name, fd in adopted.items()}
        try:
            check_version(facts.get("version"))
            there, maps = self._there(facts, given)
            self._object = self._object_with(features | there, maps, entries)
        finally:
            for fd in given.values():
                os.close(fd)
        failed = bpf_link_update(self.link_fd, self._object.program_fd, NULL)
        if failed:
            raise OSError(-failed, f"cannot exchange the XDP program: {os.strerror(-failed)}")
        self._find_maps()
        if bpf_map_lookup_elem(self._config, &only, &self._current):
            raise OSError(errno, f"cannot read the XDP program's configuration: {os.strerror(errno)}")
        self._read_claims()

    cdef _there(self, dict facts, dict given):
        """Features and maps of what the attachment runs: those that we were given, or others by now (`shield load`)."""
        if self._attached_id() == facts["program"]:
            return frozenset(facts["features"]), given
        with Attachment(link_fd=self.link_fd) as now:
            for name, fd in now.maps().items():
                if name in given:
                    os.close(given[name])
                given[name] = os.dup(fd)
            return now.features, given

    cdef _read_claims(self):
        """What stands in the maps: to be kept, or taken away where it is no longer wanted."""
        cdef address_key address
        cdef claim_key claim
        cdef uint32_t flags = 0
        cdef bint more = bpf_map_get_next_key(self._addresses, NULL, &address) == 0
        while more:
            if bpf_map_lookup_elem(self._addresses, &address, &flags) == 0:
                self._flags_by_address[(<const char *>address.address)[:16]] = flags
            more = bpf_map_get_next_key(self._addresses, &address, &address) == 0
        more = bpf_map_get_next_key(self._claims, NULL, &claim) == 0
        while more:
            ports = self._claimed_ports.setdefault((<const char *>claim.address)[:16], set())
            ports.add((htons(claim.port), claim.protocol))
            more = bpf_map_get_next_key(self._claims, &claim, &claim) == 0

    cdef _attach(self, tuple modes):
        cdef int error = 0
        failures = []
        for attempt in modes:
            error = self._try_attach(MODES[attempt])
            if not error:
                self.mode = attempt
                self.why_not_better = failures[0] if failures else self._why_generic(len(modes) > 1)
                return
            if error == EBUSY:
                self._refuse_second_program()
            failures.append(f"{attempt} XDP on {self.netdev.name}: {os.strerror(error)}")
        raise OSError(error, "; ".join(failures) + self._way_out())

    cdef int _try_attach(self, uint32_t flags) except -1:
        """Attach in one mode; returns 0 or the errno."""
        cdef bpf_link_create_opts options
        memset(&options, 0, sizeof(options))
        options.sz = sizeof(options)
        options.flags = flags
        cdef int fd = bpf_link_create(self._object.program_fd, self.netdev.index, BPF_XDP, &options)
        if fd < 0:
            return -fd
        self.link_fd = fd
        return 0

    cdef _why_generic(self, bint chosen):
        if self.mode != "generic":
            return None
        if chosen:
            return f"generic XDP is better on a {self.netdev.driver} of one queue without NAPI threads"
        return "generic XDP was asked for"

    cdef str _way_out(self):
        if self.netdev.mtu > PLAIN_MTU_MAX:
            return (f" (its MTU is {self.netdev.mtu}: lower it to {PLAIN_MTU_MAX},"
                    " or use a driver with XDP multi-buffer)")
        return ""

    cdef _put(self, int map, const void *key, const void *value, str what, str full=""):
        """Set one entry; `full` says what is true, and would be right, where there is no room for one more."""
        cdef int failed = bpf_map_update_elem(map, key, value, 0)
        if failed == -E2BIG and full:
            raise OSError(ENOSPC, f"cannot {what}: {full}")
        if failed:
            raise OSError(-failed, f"cannot {what}: {os.strerror(-failed)}")

    cdef _delete(self, int map, const void *key, str what):
        cdef int failed = bpf_map_delete_elem(map, key)
        if failed and failed != -ENOENT:
            raise OSError(-failed, f"cannot {what}: {os.strerror(-failed)}")

    cdef _set_address(self, bytes octets, uint32_t flags):
        """Bring one address's entry to `flags`; none of them: no entry."""
        cdef address_key key
        memcpy(key.address, <const char *>octets, 16)
        if flags:
            self._put(self._addresses, &key, &flags, f"add {text_of(octets)} to the XDP program", ADDRESSES_FULL)
            self._flags_by_address[octets] = flags
        elif self._flags_by_address.pop(octets, 0):
            self._delete(self._addresses, &key, "take an address from the XDP program")

    cdef claim_key _claim_key(self, bytes octets, uint16_t port, uint8_t protocol) except *:
        cdef claim_key key
        memset(&key, 0, sizeof(key))
        memcpy(key.address, <const char *>octets, 16)
        key.port = htons(port)
        key.protocol = protocol
        return key

    def claim(self, address, uint16_t port, uint8_t protocol=TCP):
        """Take what is addressed to (address, port) from the kernel. Claiming twice is claiming once."""
        cdef uint32_t one = 1
        octets = octets_of(address)
        cdef claim_key key = self._claim_key(octets, port, protocol)
        ports = self._claimed_ports.setdefault(octets, set())
        self._put(self._claims, &key, &one, f"claim {address} port {port}", CLAIMS_FULL)
        ports.add((port, protocol))
        try:
            self._set_address(octets, self._flags_by_address.get(octets, 0) | ADDRESS_CLAIMED)
        except OSError:
            self.unclaim(address, port, protocol)
            raise

    def unclaim(self, address, uint16_t port, uint8_t protocol=TCP):
        """Give (address, port) back to the kernel; nothing happens where it was not claimed."""
        octets = octets_of(address)
        cdef claim_key key = self._claim_key(octets, port, protocol)
        ports = self._claimed_ports.get(octets, set())
        self._delete(self._claims, &key, f"give up {address} port {port}")
        ports.discard((port, protocol))
        if not ports:
            self._set_address(octets, self._flags_by_address.get(octets, 0) & ~ADDRESS_CLAIMED)

    def set_local_addresses(self, addresses):
        """The addresses that own outgoing flows come from; replaces what was set before."""
        wanted = {octets_of(address) for address in addresses}
        for octets in self._flags_by_address.keys() - wanted:
            self._set_address(octets, self._flags_by_address[octets] & ~ADDRESS_LOCAL)
        for octets in wanted:
            self._set_address(octets, self._flags_by_address.get(octets, 0) | ADDRESS_LOCAL)

    def set_flow_range(self, uint16_t first, uint16_t last):
        """The ports of own outgoing flows, both included; first > last: none."""
        self._current.flow_first = first
        self._current.flow_last = last
        self._write_config()

    def set_mac(self, bytes mac not None):
        """The address that frames for the stack carry."""
        if len(mac) != 6:
            raise ValueError(f"a MAC address has 6 octets, not {len(mac)}")
        memcpy(self._current.mac, <const char *>mac, 6)
        self._write_config()

    cdef _write_config(self):
        cdef uint32_t only = 0
        self._put(self._config, &only, &self._current, "configure the XDP program")

    def register_xsk(self, uint32_t queue, int fd):
        """What is the stack's and comes in on receive queue `queue` goes to the AF_XDP socket `fd`."""
        if queue >= QUEUES_MAX:
            raise ValueError(f"queue {queue}: the XDP program serves queues 0 to {QUEUES_MAX - 1}")
        self._put(self._xsks, &queue, &fd, f"register the socket of queue {queue}")

    def unregister_xsk(self, uint32_t queue):
        """No socket serves the queue any longer: what is the stack's is dropped there."""
        self._delete(self._xsks, &queue, f"unregister the socket of queue {queue}")

    def renew(self):
        """Have the driver take the program anew, for queues that it has got since or where the interface was down; nothing is
        done where it does so itself.

        By way of another program over the same maps: the kernel does nothing where a link is given its own. No
        packet passes without a program meanwhile. Raises OSError.
        """
        if self.netdev.driver not in FORGETFUL_DRIVERS:
            return
        if self._is_exchanged() or self._object.other_fd < 0:
            with Attachment(link_fd=self.link_fd) as now:
                return now.switch(now.features)
        for fd in (self._object.other_fd, self._object.program_fd):
            failed = bpf_link_update(self.link_fd, fd, NULL)
            if failed:
                raise OSError(-failed, f"cannot install the XDP program anew: {os.strerror(-failed)}")

    cdef bint _is_exchanged(self):
        """Whether somebody else has the link run another program than ours: `underpass shield load` does."""
        return 0 != self._attached_id() != self._loaded_id()

    cdef uint32_t _attached_id(self) noexcept:
        """The number of the program that the link runs; 0: not known."""
        cdef bpf_link_info link
        cdef uint32_t room = sizeof(link)
        memset(&link, 0, sizeof(link))
        return link.prog_id if bpf_obj_get_info_by_fd(self.link_fd, &link, &room) == 0 else 0

    cdef uint32_t _loaded_id(self) noexcept:
        """And of the one that we have loaded."""
        cdef bpf_prog_info program
        cdef uint32_t room = sizeof(program)
        memset(&program, 0, sizeof(program))
        return program.id if bpf_obj_get_info_by_fd(self._object.program_fd, &program, &room) == 0 else 0

    cdef _attached(self):
        """Features and maps of what the link runs: our object, or what another process (`underpass shield load`) has
        exchanged it for. Raises OSError, EPERM without CAP_SYS_ADMIN in the second case.
        """
        if not self._is_exchanged():
            self._others = None
        elif self._others is None or self._others_id != self._attached_id():
            self._others_id = self._attached_id()
            self._others = Attachment(link_fd=self.link_fd)
        return self._object if self._others is None else self._others

    @property
    def features(self):
        """The names of the stages that are in the program besides steering."""
        return self._attached().features

    def maps(self):
        """Descriptors of all maps by name, which stay ours."""
        return self._attached().maps()

    def map(self, str name not None):
        """A map, with a descriptor of its own. Raises KeyError where these features have none of that name."""
        return self._attached().map(name)

    def switch(self, features, dict entries=None):
        """Run the program with other features, and maps of other sizes, `entries`. Raises OSError."""
        before, self._object = self._object, switch(self.link_fd, self, features, entries)
        before.close()
        self._others = None
        self._find_maps()

    def counters(self):
        """Packets by what was done with them and why, summed over all CPUs."""
        cdef uint64_t[1024] by_cpu
        cdef uint32_t reason
        cdef int cpus = min(libbpf_num_possible_cpus(), 1024)
        sums = {}
        for reason in range(COUNTERS_MAX):
            if bpf_map_lookup_elem(self._counters, &reason, by_cpu):
                raise OSError(errno, f"cannot read the XDP counters: {os.strerror(errno)}")
            sums[counter_texts[reason].decode()] = sum([by_cpu[cpu] for cpu in range(cpus)])
        return sums

    @property
    def program_fd(self):
        """Descriptor of the loaded program, for test runs."""
        return self._object.program_fd

    def close(self):
        """Detach (unless another process holds the link too) and unload. May be called twice."""
        self._release()

    cdef void _release(self) noexcept:
        if self.link_fd >= 0:
            close_fd(self.link_fd)
            self.link_fd = -1
        if self._object is not None:
            self._object.close()
            self._others = None
            self._claims = self._addresses = self._config = self._xsks = self._counters = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
