"""Linux stays the control plane: what it knows of one interface is read once, and followed as it changes.

    rtnetlink events --> Mirror.update --> Stack.set_mac, set_mtu, set_addresses, set_routes, set_neighbour
    Stack.wanted     --> Mirror.serve_wanted --> Linux resolves or probes the neighbour: an event

Link, addresses and routes are few: an event only says that they must be read again. Neighbours are many, so
each is followed by its own event. Linux sees none of the stack's traffic; `refresh` tells it which neighbours
are in use.
"""

import errno
from collections.abc import Iterable
from typing import Protocol

from underpass.linux import netlink
from underpass.linux.interface import missing
from underpass.linux.netlink import NeighbourRecord, Route
from underpass.linux.netlink_message import Message
from underpass.linux.netlink_socket import NetlinkSocket

USED_LATELY_NS = 30_000_000_000     # a neighbour is kept fresh this long after the last packet to it
REFRESH_SECONDS = 5.0               # how often `refresh` ought to be called

_ROUTE_EVENTS = (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE)
_NEIGHBOUR_EVENTS = (netlink.RTM_NEWNEIGH, netlink.RTM_DELNEIGH)
_OF_ONE_INTERFACE = (netlink.RTM_NEWLINK, netlink.RTM_DELLINK, netlink.RTM_NEWADDR, netlink.RTM_DELADDR,
                     *_NEIGHBOUR_EVENTS)
_STATIC = netlink.NUD_PERMANENT | netlink.NUD_NOARP


class Told(Protocol):
    """Whom the mirror tells what Linux's tables are."""

    def set_mac(self, mac: bytes) -> None: ...
    def set_mtu(self, mtu: int) -> None: ...
    def set_addresses(self, addresses: Iterable[tuple[str, int]]) -> None: ...
    def set_routes(self, routes: Iterable[Route]) -> None: ...
    def set_neighbour(self, address: str, mac: bytes | None, failed: bool = False) -> None: ...


class Controlled(Told, Protocol):
    """What the mirror needs of a `Stack`."""

    def wanted(self) -> list[tuple[str, str]]: ...
    def neighbours(self) -> list[tuple[str, bytes | None, str, int]]: ...


class Mirror:
    """What Linux knows of one interface of the current network namespace.

    Raises OSError ENODEV where the interface does not exist. Once it has been removed, `gone` is true.
    """

    def __init__(self, ifname: str) -> None:
        self._events = NetlinkSocket(netlink.EVENT_GROUPS)
        self._requests = NetlinkSocket()
        self.gone = False
        self.resyncs = 0                # how often events were lost and everything was read again
        self._was_down = False
        record = netlink.link(self._requests, name=ifname)
        if record is None:
            self.close()
            raise missing(ifname)
        self.link = record
        self.addresses: list[tuple[str, int]] = []
        self.routes: list[Route] = []
        self.neighbours: dict[str, NeighbourRecord] = {}
        self._read()

    def fileno(self) -> int:
        """The descriptor to poll: readable when `update` has something to do."""
        return self._events.fileno()

    def close(self) -> None:
        """Close both sockets. May be called twice."""
        self._events.close()
        self._requests.close()

    def apply(self, stack: Told) -> None:
        """Push everything into the stack."""
        stack.set_mac(self.link.mac)
        stack.set_mtu(self.link.mtu)
        stack.set_addresses(self.addresses)
        stack.set_routes(self.routes)
        for record in self.neighbours.values():
            _push_neighbour(stack, record)

    def update(self, stack: Controlled) -> bool:
        """Push what has changed since the last call; returns whether anything did.

        Where the kernel dropped events (ENOBUFS), everything is read again.
        """
        changed: set[str] = set()
        try:
            while (events := self._events.receive()) is not None:
                for event in events:
                    self._take(event, changed)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._resync(stack)
            return True
        tables = changed & {"link", "addresses", "routes"}
        if tables and self._read_tables():
            self._push_tables(stack)
        for address in changed - tables:
            self._push_changed(stack, address)
        return bool(changed)

    def came_up(self) -> bool:
        """Whether the interface, which is up, was down at some time since the last call, or may have been."""
        came_up = self._was_down and self.link.up
        self._was_down = self._was_down and not came_up
        return came_up

    def serve_wanted(self, stack: Controlled) -> bool:
        """Ask Linux for the neighbours that the stack wants resolved or probed; returns whether any."""
        wanted = stack.wanted()
        for address, kind in wanted:
            record = self.neighbours.get(address)
            if record is not None and record.mac is not None and kind == "resolve":
                _push_neighbour(stack, record)
            self._ask(address, probe=kind == "probe")
        return bool(wanted)

    def refresh(self, stack: Controlled) -> None:
        """Tell Linux which neighbours are in use, so that it checks those that went stale. Call every 5 s.

        An unused one needs no call: Linux, and the stack, let go of it by themselves.
        """
        for address, _, _, idle_ns in stack.neighbours():
            record = self.neighbours.get(address)
            if idle_ns < USED_LATELY_NS and (record is None or record.state == netlink.NUD_STALE):
                self._ask(address, probe=False)

    def _ask(self, address: str, probe: bool) -> None:
        """One request to the kernel. A static entry is left alone: asking would make it an ordinary one."""
        record = self.neighbours.get(address)
        if record is not None and record.state & _STATIC:
            return
        probe = probe and record is not None and record.mac is not None
        try:
            netlink.ask_neighbour(self._requests, self.link.index, address, probe)
        except OSError as error:
            # The entry or the interface went, or the table is full: the stack asks again while it needs it.
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENETDOWN, errno.EINVAL, errno.ENOBUFS):
                raise

    def _read_tables(self) -> bool:
        """Read link, addresses and routes; returns False when the interface is gone."""
        record = netlink.link(self._requests, index=self.link.index)
        if record is None:
            self.gone = True
            return False
        self.link = record
        self.addresses = netlink.addresses(self._requests, record.index)
        self.routes = netlink.routes(self._requests, record.index) if record.up else []
        return True

    def _read(self) -> None:
        """Read everything."""
        if self._read_tables():
            found = netlink.neighbours(self._requests, self.link.index)
            self.neighbours = {it.address: it for it in found}

    def _resync(self, stack: Controlled) -> None:
        """Events were lost: what is there now replaces all that was known."""
        self.resyncs += 1
        self._was_down = True
        while self._drain():
            pass
        before = set(self.neighbours)
        self._read()
        self._push_tables(stack)
        for address in before | set(self.neighbours):
            self._push_changed(stack, address)

    def _drain(self) -> bool:
        """Throw one datagram of events away; returns False when none is left."""
        try:
            return self._events.receive() is not None
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True

    def _push_tables(self, stack: Controlled) -> None:
        stack.set_mac(self.link.mac)
        stack.set_mtu(self.link.mtu)
        stack.set_addresses(self.addresses)
        stack.set_routes(self.routes)

    def _push_changed(self, stack: Controlled, address: str) -> None:
        """Push a neighbour. One that Linux let go of is asked for again while in use, and kept till then."""
        record = self.neighbours.get(address)
        if record is not None:
            _push_neighbour(stack, record)
        elif any(it[0] == address and it[3] < USED_LATELY_NS for it in stack.neighbours()):
            self._ask(address, probe=False)
        else:
            stack.set_neighbour(address, None)

    def _take(self, event: Message, changed: set[str]) -> None:
        """Note what an event changes: of a neighbour what it says, of others that they must be read again."""
        if event.kind in _OF_ONE_INTERFACE and netlink.index_of(event) != self.link.index:
            return
        if event.kind in _ROUTE_EVENTS and netlink.route_of_another(event, self.link.index):
            return
        if event.kind not in _NEIGHBOUR_EVENTS:
            self._was_down |= event.kind == netlink.RTM_NEWLINK and not netlink.link_is_up(event)
            changed.update({"link", "addresses", "routes"})
            return
        record = netlink.neighbour_record(event)
        if record is None:
            return
        if record.gone:
            self.neighbours.pop(record.address, None)
        else:
            self.neighbours[record.address] = record
        changed.add(record.address)


def _push_neighbour(stack: Told, record: NeighbourRecord) -> None:
    stack.set_neighbour(record.address, record.mac, failed=record.state == netlink.NUD_FAILED)
