"""A worker as its supervisor sees it: a process, the channel to it, and what was opened for it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.linux.netlink import Route
from underpass.workers.adoption import Adopted
from underpass.workers.channel import Channel, Message
from underpass.workers.holdings import Holdings
from underpass.workers.plan import WorkerPlan
from underpass.workers.process import Process

QUICK_S = 2.0                       # a worker that lived no longer is started again later and later
PAUSE_S, PAUSE_MAX_S = 0.1, 5.0
CRASHES = 5                         # of such in a row on the same connections; then they are given up
SIGNS_OF_LIFE = 1000                # messages that are read of a worker at a time


class Waiting:
    """A process that has imported everything, and waits for its plan. A program is not to be interrupted with
    us: it is told to end.
    """

    def __init__(self, its: WorkerPlan) -> None:
        self.channel, other = Channel.pair()
        with other:
            popen = subprocess.Popen(
                [sys.executable, *its.command(other.fileno())], stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()], process_group=0 if its.program else None)
        self.process = Process(popen.pid, popen)
        self.layout = ""

    def is_warm(self) -> bool:
        """Whether it has said so; from then on `layout` is its own."""
        heard = None
        with suppress(EOFError):                        # it died; its process says so by and by
            heard = None if self.layout else self.channel.receive()
        if heard is not None and heard[0].get("say") == "warm":
            self.layout = str(heard[0].get("layout"))
        return bool(self.layout)

    def end(self) -> None:
        """It is not needed."""
        self.process.kill()
        self.process.wait()
        self.process.close()
        self.channel.close()


@dataclass
class RemoteWorker:
    """Worker `number`. `process` is None while it does not run."""

    number: int
    queues: tuple[int, ...]
    core: int | None
    process: Process | None = None
    channel: Channel | None = None
    link: AfXdpLink | None = None
    frames: Frames | None = None
    pending: set[int] = field(default_factory=set)      # queues that it was given and does not serve yet
    ready: bool = False
    settled: bool = False               # it does what it is there for: the next one may be started anew
    keeps: bool = False                 # its connections can pass to another process
    runs_program: bool = False
    ended: bool = False                 # its program, in order and by itself
    replaced: bool = False              # the process has ended in order, and the next one takes its queues
    leaving: bool = False               # it was told to end
    draining: bool = False              # and to serve nobody any more
    registered: bool = False            # XDP gives its queues' packets to its sockets
    started_at: float = 0.0
    start_at: float = 0.0               # when it is to be started again
    pause_s: float = PAUSE_S
    starts: int = 0
    counters: dict[str, dict[str, int]] | None = None
    failed: str = ""                    # why it could not begin, in its own words
    adopted: bool = False               # another supervisor has started its process
    layout: str = ""                    # of its memory: a process with the same can go on with it
    state: tuple[int, ...] = ()         # memfds of arena and application, where another process can go on
    suspended: bool = False             # it has left them in order
    crashed: bool = False               # it has died, and its next process goes on
    crashes: int = 0                    # in a row
    given_up: int = 0                   # times that it had to begin without the connections of the one before

    # what it is to do

    def start(self, plan: Message, holdings: Holdings, its: "Waiting") -> None:
        """Run it, in the process that waits for it. What follows waits until it reads."""
        self._runs(its.process, its.channel, its.layout)
        message = {"do": "start", **plan, "layout": its.layout, "names": holdings.names}
        its.channel.send(message, holdings.descriptors)

    def take_in(self, adopted: Adopted) -> None:
        """It runs already: another supervisor has started it."""
        self._runs(Process(adopted.pid), adopted.channel, str(adopted.plan["layout"]))
        self.given_up = adopted.plan["given_up"]
        self.draining, self.keeps, self.settled = adopted.draining, adopted.keeps, adopted.ready
        if adopted.ready:
            self.is_ready()

    def _runs(self, process: Process, channel: Channel, layout: str) -> None:
        self.process, self.channel, self.layout = process, channel, layout
        self.ready = self.settled = self.keeps = False
        self.leaving = self.draining = self.suspended = False
        self.counters = None
        self.failed = ""
        self.started_at = time.monotonic()
        self.starts += 1

    def suspend(self) -> None:
        """Have it leave everything to the process that waits."""
        self.leaving = True
        self._tell(do="suspend")

    def drain(self, seconds: float) -> None:
        """Have it end in order."""
        self.leaving = self.draining = True
        self._tell(do="drain", seconds=seconds)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()

    def give_queue(self, queue: int) -> None:
        """Have it serve one more queue, by a new socket, or from its next start on; where it cannot be told
        now, the next call does. Raises OSError where there can be no socket.
        """
        if self.link is not None and self.channel is not None:
            if queue not in self.link.queues:
                self.link.open_queue(queue)
                self.pending.add(queue)
            descriptor = self.link.fds[self.link.queues.index(queue)]
            if not self.channel.send({"do": "queue", "queue": queue}, [descriptor]):
                return
        self.queues = (*self.queues, queue)

    def serves(self, queue: object) -> bool:
        """It has filled the rings of a new socket: from now on that queue's packets go to it. False: it was
        given no such queue.
        """
        if self.link is None or not isinstance(queue, int) or queue not in self.pending:
            return False
        self.pending.discard(queue)
        self.link.register_queue(queue)
        return True

    def is_ready(self) -> None:
        """It has filled its rings: from now on its queues' packets go to it."""
        assert self.link is not None
        self.ready = True
        if not self.registered:
            self.registered = True
            for queue in set(self.link.queues) - self.pending:
                self.link.register_queue(queue)

    def set_steering(self, steering: Message | None) -> None:
        """How the device spreads packets over the queues, or that this is not known."""
        self._tell(do="steering", steering=steering)

    def go(self) -> None:
        """Have it listen."""
        self._tell(do="go")

    # what Linux's tables are: `linux.mirror.Controlled`

    def set_mac(self, mac: bytes) -> None:
        """Our station address."""
        self._tell(do="mac", mac=mac.hex())

    def set_mtu(self, mtu: int) -> None:
        """The interface's MTU."""
        self._tell(do="mtu", mtu=mtu)

    def set_addresses(self, addresses: Iterable[tuple[str, int]]) -> None:
        """All addresses."""
        self._tell(do="addresses", addresses=list(addresses))

    def set_routes(self, routes: Iterable[Route]) -> None:
        """All routes."""
        self._tell(do="routes", routes=[tuple(route) for route in routes])

    def set_neighbour(self, address: str, mac: bytes | None, failed: bool = False) -> None:
        """One neighbour."""
        self._tell(do="neighbour", address=address, mac=mac and mac.hex(), failed=failed)

    def set_xdp_counters(self, counters: dict[str, int]) -> None:
        """What the XDP program has counted."""
        self._tell(do="xdp counters", counters=counters)

    def _tell(self, **message: Any) -> None:
        if self.channel is not None:
            self.channel.send(message)

    # what it says

    def hear(self) -> list[Message]:
        """Its messages; malformed ones are left out, and too many wait for the next time."""
        messages: list[Message] = []
        with suppress(EOFError):
            while self.channel is not None and len(messages) < SIGNS_OF_LIFE:
                heard = self.channel.receive()
                if heard is None:
                    break
                message, descriptors = heard
                self._note(message)
                if message.get("say") == "ready" and len(descriptors) == 2 and not self.state:
                    self.state, descriptors = tuple(descriptors), []
                elif message.get("say") == "claim" and len(descriptors) == 1:
                    message["holder"], descriptors = descriptors[0], []
                for descriptor in descriptors:
                    os.close(descriptor)
                messages.append(message)
        return messages

    def _note(self, message: Message) -> None:
        """What it says of itself."""
        match message.get("say"):
            case "warm":
                self.layout = str(message.get("layout"))
            case "suspended":
                self.suspended = True
            case "keeps":
                self.keeps = True
            case "settled":
                self.settled = True
            case "ended":
                self.counters = message.get("counters")

    def answer(self, number: object, error: OSError | None) -> None:
        """To what it asked under that number."""
        self._tell(do="answer", number=number, errno=error.errno if error else 0,
                   why=error.strerror if error else "")

    # its end

    def bury(self) -> str:
        """The process has ended: close what was its, say how it ended, and when it may be started again. What
        another process can go on with stays open.
        """
        assert self.process is not None
        status = self.process.wait()
        lived_s = time.monotonic() - self.started_at
        quick = lived_s < QUICK_S
        self.crashes = self.crashes + 1 if quick and self.crashes else 1
        in_order = status == 0 or self.counters is not None
        self.crashed = bool(self.state and not (in_order or self.draining or self.failed)
                            and self.crashes <= CRASHES)
        often = f" for the {self.crashes}th time in a row" if self.crashes > CRASHES else ""
        self.given_up += bool(self.state and not (in_order or self.crashed or self.draining))
        self.ended = self.runs_program and status == 0 and not self.leaving
        self.replaced = bool(self.runs_program and self.state and in_order and not self.ended
                             and not self.suspended)
        self.release(keep=self.crashed or self.suspended or self.replaced)
        self.pause_s = min(2 * self.pause_s, PAUSE_MAX_S) if quick else PAUSE_S
        self.start_at = time.monotonic() + (0 if self.leaving else self.pause_s)
        if status is None:
            return f"ended, of which its parent alone is told more{often}"
        if status < 0:
            return f"was killed by {signal.Signals(-status).name}{often}"
        return self.failed or f"ended with status {status}{often}"

    def release(self, keep: bool = False) -> None:
        """Close everything that was opened for it, `keep` what another process goes on with. May be called
        twice.
        """
        if self.process is not None:
            self.process.close()
        if self.channel is not None:
            self.channel.close()
        self.process, self.channel = None, None
        if not keep:
            self.release_memory()

    def release_memory(self) -> None:
        """Close sockets, frames and connections: nobody goes on with them."""
        for descriptor in self.state:
            os.close(descriptor)
        if self.link is not None:
            self.link.close()
        self.link, self.frames, self.state, self.registered = None, None, (), False
        self.crashed = self.suspended = self.replaced = False
        self.crashes = 0
        self.pending.clear()


    def abandon(self) -> None:
        """Leave it running, without a supervisor. Its queues' packets go on coming to it: nothing is closed
        here but our descriptors.
        """
        self.link = None
        self.release(keep=True)


def eventfd() -> int:
    """Wakes a worker."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

