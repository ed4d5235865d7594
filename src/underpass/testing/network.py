"""The virtual network: stacks on links with rate, delay and queue, that lose, double, reorder and damage
packets by seed, all on one virtual clock.

with Network(seed=7) as network:
    client, server = network.host(), network.host()
    network.link(client, server, rate_bps=10 * MBIT, delay_ns=20 * MS, queue_packets=50, loss=0.01)
    server.stack.listen(("0.0.0.0", 80))
    conn = client.stack.connect((server.station.v4, 80))
    assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)

Nothing waits: where nobody has anything to do, the clock jumps to the earliest deadline. A failure inside the
`with` block names the seed and the captures of what passed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from underpass.link.fault import FaultLink
from underpass.link.frames import Frames
from underpass.link.link import LinkBase
from underpass.link.memory import memory_pair
from underpass.link.pcap import PcapLink
from underpass.testing.clock import Clock
from underpass.testing.conditions import Conditions
from underpass.testing.host import Host, Station
from underpass.testing.segmenter import SegmenterLink
from underpass.testing.topology import Link, Router, Topology

# As good as for ever, and far from where nanoseconds overflow.
FAR_NS = 1 << 62
# Turns at one instant after which the network is taken to go round in circles.
TURNS_AT_ONCE = 100_000


class Node(Protocol):
    """What stands on a network: something with turns and deadlines."""

    def step(self, now_ns: int) -> int:
        """One turn; returns how much happened, 0 for nothing."""

    def deadline(self) -> int | None:
        """When there is something to do next, or None."""

    def close(self) -> None:
        """Release everything."""


class Network:
    """Nodes and the clock that they share.

    `seed` decides about every fault and every secret of the stacks, so that a run can be repeated. With
    `capture` what passes is written to pcapng files in that directory, one for each host; by default to
    temporary ones, kept only where the block fails; with False not at all. With `check` the invariants of
    every stack (see invariants.pyx) are looked at after each of its turns. With `segmentation` the hosts'
    links offer to cut packets into segments, as network devices do.
    """

    def __init__(
        self, seed: int = 0, capture: str | os.PathLike[str] | bool = True, check: bool = False,
        segmentation: bool = False,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.segmentation = segmentation
        self.check = check
        self.clock = Clock()
        self.nodes: list[Node] = []
        self.links: list[Link] = []
        self._topology: Topology | None = None
        self._keep_capture = not isinstance(capture, bool)
        self._captures: list[tuple[PcapLink, Path]] = []
        self._directory = None if isinstance(capture, bool) else capture
        self._capture = capture is not False

    def secret(self, purpose: str) -> bytes:
        """16 octets that depend on the seed and the purpose alone."""
        return hashlib.blake2b(f"{self.seed} {purpose}".encode(), digest_size=16).digest()

    def cable(self, frames: int = 4096, mtu: int = 1500, latency_ns: int = 0, depth: int = 4096,
              **faults: Any) -> tuple[LinkBase, LinkBase]:  # fmt: skip
        """Two ends of a cable; the first is captured, and `faults` (see FaultLink) strike there."""
        one: LinkBase
        one, other = memory_pair(Frames(frames), Frames(frames), mtu=mtu, depth=depth, latency_ns=latency_ns)
        if faults:
            one = FaultLink(one, self.seed, **faults)
        return self._captured(one, "cable"), other

    def _captured(self, link: LinkBase, name: str) -> LinkBase:
        if not self._capture:
            return link
        suffix = f"-{name}-seed-{self.seed}.pcapng"
        descriptor, path = tempfile.mkstemp(suffix, "underpass-", self._directory)
        os.close(descriptor)
        captured = PcapLink(link, path)
        self._captures.append((captured, Path(path)))
        return captured

    def _offloading(self, link: LinkBase) -> LinkBase:
        return SegmenterLink(link) if self.segmentation else link

    @property
    def topology(self) -> Topology:
        """The hosts, routers and links that were made one by one."""
        if self._topology is None:
            self._topology = Topology(self.clock.now_ns, self.check)
            self.nodes.append(self._topology)
        return self._topology

    def host(self, name: str | None = None, *, mtu: int = 1500, frames: int = 4096, **limits: int) -> Host:
        """A stack of its own with addresses 10.0.0.n and fd00::n, and a pool of `frames`; `limits` are the
        stack's.
        """
        topology = self.topology
        station = Station(topology.number())

        def make(station: Station) -> Host:
            port = topology.fabric.port(station.number, Frames(frames), mtu)
            link = self._offloading(self._captured(port, name or station.v4))
            others = [other.station for other in topology.hosts]
            secret = self.secret(station.v4)
            host = Host.on(link, station, *others, seed=secret, now_ns=self.clock.now_ns, **limits)
            host.name = name or station.v4
            return host

        return topology.add_host(make, station)

    def router(self, name: str | None = None) -> Router:
        """A node that joins several links. Packets take the way with the fewest links."""
        station = Station(self.topology.number())
        return Router(name or station.v4, station)

    def link(self, one: Host | Router, other: Host | Router, *, back: Conditions | None = None,
             **conditions: Any) -> Link:  # fmt: skip
        """Join two nodes by a link under `conditions` (see Conditions), both ways unless `back` says
        otherwise.
        """
        there = Conditions(**conditions)
        number = len(self.links)
        first, second = (self._number(f"link {number} {way}") for way in ("there", "back"))
        self.links.append(self.topology.join(one, other, there, back or there, (first, second)))
        return self.links[-1]

    def _number(self, purpose: str) -> int:
        return int.from_bytes(self.secret(purpose)[:8])

    def pair(self, frames: int = 4096, mtu: int = 1500, latency_ns: int = 0,
             limits: dict[str, int | str] | None = None, **faults: Any) -> tuple[Host, Host]:  # fmt: skip
        """Two hosts on one cable, .1 and .2, that know each other; `limits` go to both stacks."""
        stations = Station(1), Station(2)
        links = [self._offloading(it) for it in self.cable(frames, mtu, latency_ns, **faults)]
        hosts = [
            Host.on(link, here, there, seed=self.secret(here.v4), now_ns=self.clock.now_ns, **(limits or {}))
            for link, here, there in zip(links, stations, stations[::-1], strict=True)
        ]
        self.nodes += hosts
        return hosts[0], hosts[1]

    def run(self, until: Callable[[], bool] | None = None, for_ns: int | None = None) -> bool:
        """Let time pass until `until` holds (True), `for_ns` is over, or nothing is left to do (False)."""
        end_ns = None if for_ns is None else self.clock.now_ns + for_ns
        while True:
            if self._settle(until):
                return True
            when_ns = self.next_deadline()
            if when_ns is None or (end_ns is not None and when_ns > end_ns):
                if end_ns is not None:
                    self.clock.advance_to(end_ns)
                return until is not None and until()
            self._pass_time(when_ns, end_ns or FAR_NS, until is None)

    def _pass_time(self, when_ns: int, end_ns: int, alone: bool) -> None:
        """On to what happens next; over all that happens within the topology, where nobody looks at it
        meanwhile.
        """
        if alone and self._topology is not None:
            others = (node.deadline() for node in self.nodes if node is not self._topology)
            end_ns = min([end_ns, *(when for when in others if when is not None)])
            when_ns = self._topology.fabric.run(end_ns)
        self.clock.advance_to(when_ns)

    def _settle(self, until: Callable[[], bool] | None) -> bool:
        """Turns at the present instant until nothing moves; whether `until` came to hold."""
        for _ in range(TURNS_AT_ONCE):
            moved = [node.step(self.clock.now_ns) for node in self.nodes]
            if until is not None and until():
                return True
            when_ns = self.next_deadline()
            if not any(moved) and (when_ns is None or when_ns > self.clock.now_ns):
                return False
        raise AssertionError(f"{TURNS_AT_ONCE} turns at {self.clock.elapsed_ms:.3f} ms, and no end")

    def check_conduct(self) -> int:
        """Hold everything that the captured hosts have sent to the rules of TCP; returns how many segments.

        Raises `conduct.MisconductError`, which says which segment broke which rule.
        """
        from underpass.testing.conduct import check_conduct

        for link, _ in self._captures:
            link.flush()
        return sum(check_conduct(path) for _, path in self._captures)

    def next_deadline(self) -> int | None:
        """The earliest of all nodes' deadlines."""
        return min((when for node in self.nodes if (when := node.deadline()) is not None), default=None)

    def close(self) -> None:
        """Close all nodes, and forget captures that nobody asked for."""
        for node in self.nodes:
            node.close()
        self.nodes = []
        if not self._keep_capture:
            for _, path in self._captures:
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._keep_capture = True
            at = f"seed {self.seed}, {self.clock.elapsed_ms:.3f} ms after the start"
            paths = ", ".join(str(path) for _, path in self._captures)
            error.add_note(f"{at}; packets: {paths or 'none'}")
        self.close()
