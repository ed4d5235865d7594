"""A process that dies between any two instructions of a turn, and another one that goes on with its arena.

The server's turn is carried out instruction by instruction in a child. Now and then what lies in shared
memory is copied, as it would be left by a kill at that instant; a new stack goes on with the copy, and the
clients, who know nothing of it, must get every octet that they asked for, but for the one connection that was
at work.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.apps.http_peer import MS, SECOND, Web
from tests.stack.stepping import stepped

from underpass.apps.serve import HttpServer
from underpass.link.frames import Frames
from underpass.stack.stack import Stack
from underpass.testing.invariants import is_midway, what_is_broken
from underpass.testing.network import Network

LIMITS = {"connections": 64, "time_waits": 64, "rcv_bytes": 65536}
FRAMES = 1024
SIZES = {"blocks": 8}
EVERY = 331                         # instructions, between two copies
AT_WORK = "it was at work when its process died"
GET = "GET /{} HTTP/1.1\r\nHost: h\r\n\r\n"
SMALL = b"small" * 200
LARGE = bytes(range(256)) * 1200    # more than is kept in memory, and than a send queue holds at once


class Site(Web):
    """Server and clients on a link, in the middle of all sorts of requests; what arrives at the server waits,
    for its process stands still.
    """

    def __init__(self, directory: Path) -> None:
        self.network = Network(seed=5, capture=False, check=True)
        self._started_ns = self.network.clock.now_ns
        self.stepped_ns = 0
        self.client = self.network.host()
        self.host = self.network.host(frames=FRAMES, **LIMITS)
        self.network.link(self.client, self.host, rate_bps=200_000_000, delay_ns=MS)
        self.directory = str(directory)
        self.server = self.serve(self.host.stack)
        self.server.listen("", 80)
        self.address = self.host.station.v4
        self.client.application = self._happened
        self.open = {}
        self.browsers = [self.connect() for _ in range(9)]
        self.expected = [b""] * len(self.browsers)
        self._begin()

    def serve(self, stack: Stack, memory: int = -1) -> HttpServer:
        return HttpServer(stack, self.directory, wall=self.wall_ns, now=lambda: self.network.clock.now_ns,
                          memory=memory, **SIZES)

    def _begin(self) -> None:
        """Some have been served, some are being served; then more comes, and nobody is there."""
        idle, asked, half, large, late, ended, many, reset, paused = self.browsers
        for browser in (idle, asked, half, ended, reset):
            browser.send(GET.format("small").encode())
        paused.paused = True
        for browser in (large, paused):
            browser.send(GET.format("large").encode())
        self.run(for_ns=9 * MS)
        half.send(GET.format("small").encode()[:20])
        self.run(for_ns=3 * MS)
        self.network.topology.fabric.detach(self.host.station.number)
        asked.send(GET.format("small").encode())
        half.send(GET.format("small").encode()[20:])
        late.send(GET.format("large").encode())
        ended.finish()
        for _ in range(3):
            many.send(GET.format("small").encode())
        reset.conn.abort()
        self.open[self.connect().conn].send(GET.format("small").encode())     # a SYN
        self.browsers = list(self.open.values())
        self.run(for_ns=4 * MS)

    def turn(self) -> None:
        """The server's next turn."""
        self.host.stack.step(self.network.clock.now_ns)

    def memories(self) -> tuple[int, int, int]:
        """Memfds of arena, frames and application."""
        return self.host.stack.arena.memfd, self.host.link.frames.memfd, self.server.memory

    def go_on(self, memories: tuple[int, int, int], crashed: bool = True) -> dict[str, int]:
        """Another process takes the server's part; what had arrived was the dead one's. Returns the reset
        connections by reason.
        """
        arena, frames, memory = memories
        number, fabric = self.host.station.number, self.network.topology.fabric
        fabric.drop(number)
        link = fabric.port(number, Frames(FRAMES, memfd=frames, resume=True), 1500)
        self.host.stack = Stack(link, self.host.station.mac, arena=arena, crashed=crashed, **LIMITS)
        self.host.link = link
        self.server = self.serve(self.host.stack, memory)
        aborted = self.server.take_up()
        fabric.attach(number, self.host.stack)
        return self.host.stack.recovery["aborted"] | aborted if self.host.stack.recovery else aborted


@dataclass
class Outcome:
    """What a client got."""

    octets: bytes
    reset: bool


def finished(site: Site) -> list[Outcome]:
    """Everybody reads to the end of what they asked for, and asks for one more."""
    for browser in site.browsers:
        browser.paused = False
        browser.read()
    site.run(for_ns=30 * SECOND)
    for browser in site.browsers:
        if not browser.ended:
            browser.send(GET.format("small").encode())
    site.run(for_ns=10 * SECOND)
    for browser in site.browsers:
        if not browser.ended:
            browser.finish()
    site.run(for_ns=200 * SECOND)           # TIME-WAIT included
    return [Outcome(without_dates(browser.received), browser.reset) for browser in site.browsers]


def without_dates(octets: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*", lambda found: b"Date: " + b"x" * (len(found[0]) - 6), octets)


def copied(memfd: int) -> int:
    """Another memfd with the same octets."""
    copy = os.memfd_create("copy")
    size = os.fstat(memfd).st_size
    os.ftruncate(copy, size)
    at = 0
    while at < size:
        at += os.copy_file_range(memfd, copy, size - at, at, at)
    return copy


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "small").write_bytes(SMALL)
    (tmp_path / "large").write_bytes(LARGE)
    os.utime(tmp_path / "small", (1, 1))
    os.utime(tmp_path / "large", (1, 1))
    return tmp_path


@pytest.fixture
def undisturbed(directory: Path) -> list[Outcome]:
    """What everybody gets where nothing happens."""
    with Site(directory) as site:
        site.network.topology.fabric.attach(site.host.station.number, site.host.stack)
        return finished(site)


def moments(site: Site) -> Iterator[tuple[int, int, int]]:
    """The server's memory at many moments of its turn."""
    with stepped(site.turn) as child:
        while not is_midway(site.host.stack):
            child.step()
            assert not child.ended
        while is_midway(site.host.stack):
            memories = tuple(copied(memfd) for memfd in site.memories())
            yield memories[0], memories[1], memories[2]
            for memfd in memories:
                os.close(memfd)
            for _ in range(EVERY):
                child.step()


def hold_to_the_end(site: Site, reasons: dict[str, int], undisturbed: list[Outcome]) -> None:
    """One connection at most is reset, all others get everything, and nothing is left over."""
    assert sum(reasons.values()) <= 1, reasons
    assert what_is_broken(site.host.stack) is None or site.host.stack.recovery
    got = finished(site)
    differ = [(one, other) for one, other in zip(got, undisturbed, strict=True) if one != other]
    assert len(differ) <= sum(reasons.values())
    for one, other in differ:
        assert one.reset
        assert other.octets.startswith(one.octets)
    assert what_is_broken(site.host.stack) is None
    assert site.host.is_idle()
    assert site.server.open == 0
    assert site.http()["blocks"] == 0


def test_it_may_die_anywhere_in_a_turn(directory: Path, undisturbed: list[Outcome]) -> None:
    assert sum(len(it.octets) for it in undisturbed) > 3 * len(LARGE)
    seen = []
    with Site(directory) as dying:
        for memories in moments(dying):
            with Site(directory) as site:
                reasons = site.go_on(memories)
                assert site.host.stack.recovery["midway"]
                hold_to_the_end(site, reasons, undisturbed)
            seen.append(reasons)
    assert len(seen) > 50
    assert {} in seen
    assert {AT_WORK: 1} in seen


def test_between_two_turns_nothing_is_lost(directory: Path, undisturbed: list[Outcome]) -> None:
    with Site(directory) as site:
        before = site.host.stack
        reasons = site.go_on(tuple(copied(memfd) for memfd in site.memories()))     # type: ignore[arg-type]
        assert reasons == {}
        assert site.host.stack.recovery == {"midway": False, "kept": 9, "aborted": {}}
        assert site.host.stack.stats()["tcp"]["recovery_kept"] == 9
        assert finished(site) == undisturbed
        assert before is not site.host.stack
