"""Who is joined to whom on the virtual network, and which way packets take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from underpass.testing.conditions import Conditions
from underpass.testing.fabric import NO_PIPE, Fabric
from underpass.testing.host import Host, Station
from underpass.testing.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

# The last octet of the addresses numbers hosts and routers.
MOST_NODES = 254


@dataclass(frozen=True)
class Router:
    """A node that forwards; it drops what is too big for the next link, and says so by ICMP."""

    name: str
    station: Station


@dataclass(frozen=True)
class Link:
    """Two pipes, from the first node to the second and back."""

    forth: Pipe
    back: Pipe

    def change(self, **fields: object) -> None:
        """Change conditions of both directions, for packets that leave from now on."""
        self.forth.change(**fields)
        self.back.change(**fields)


class Topology:
    """A graph of hosts and routers on a fabric; to the network it is one node that steps them all."""

    def __init__(self, now_ns: int, check: bool) -> None:
        self.fabric = Fabric(now_ns, check)
        self.hosts: list[Host] = []
        self._neighbours: dict[int, dict[int, int]] = {}

    def number(self) -> int:
        """The next free number of a node."""
        if len(self._neighbours) == MOST_NODES:
            raise ValueError(f"a network has at most {MOST_NODES} hosts and routers")
        number = 1 + len(self._neighbours)
        self._neighbours[number] = {}
        return number

    def add_host(self, make: Callable[[Station], Host], station: Station) -> Host:
        """A host of that station; it and all others come to know each other's MAC."""
        host = make(station)
        for other in self.hosts:
            other.know(station)
        self.hosts.append(host)
        self.fabric.attach(station.number, host.stack)
        return host

    def join(self, one: Host | Router, other: Host | Router, there: Conditions, back: Conditions,
             seeds: tuple[int, int]) -> Link:  # fmt: skip
        """Link two nodes, and find all ways anew."""
        for end in (one, other):
            if isinstance(end, Host) and self._neighbours[end.station.number]:
                raise ValueError(f"{end.name} has its link already; join several by a router")
        link = Link(Pipe(there, seeds[0]), Pipe(back, seeds[1]))
        here, far = one.station.number, other.station.number
        self._neighbours[here][far] = self.fabric.join(link.forth, far)
        self._neighbours[far][here] = self.fabric.join(link.back, here)
        for number in self._neighbours:
            self._find_ways_to(number)
        return link

    def _find_ways_to(self, number: int) -> None:
        """Breadth first from the destination: the fewest links, and of those the link that was made first."""
        seen = {number}
        reached = deque([number])
        while reached:
            near = reached.popleft()
            for far in self._neighbours[near]:
                if far not in seen:
                    seen.add(far)
                    reached.append(far)
                    self.fabric.set_route(far, number, self._neighbours[far][near])
        for unreached in self._neighbours.keys() - seen:
            self.fabric.set_route(unreached, number, NO_PIPE)

    # What the network asks of a node.

    def step(self, now_ns: int) -> int:
        """All that happens at this instant, and the applications; returns how much that was."""
        return self.fabric.step(now_ns) + self.serve()

    def serve(self) -> int:
        """Tell the applications what happened."""
        return sum(host.serve() for host in self.hosts)

    def deadline(self) -> int | None:
        """When something happens next."""
        return self.fabric.next_deadline()

    def close(self) -> None:
        """Close all hosts."""
        self.fabric.close()
        for host in self.hosts:
            host.close()

