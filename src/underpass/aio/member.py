"""A process that runs an asyncio program as a worker: its stack, and what its supervisor is told and says.

    it listens somewhere --> claim, answered by the supervisor
    drain   --> SIGTERM, as the program knows it; SIGINT, where it does not handle that
    suspend --> idle connections are left to the next process, which runs the program anew (departure.py)
"""

import errno
import os
import select
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from underpass.aio import restart
from underpass.aio.departure import Departure, empty, read, write
from underpass.aio.dispatch import Dispatcher, Endpoint
from underpass.aio.succession import disinherit, exchanged, inherit
from underpass.linux.control import unused
from underpass.log import Event
from underpass.workers.channel import Channel, Message
from underpass.workers.holdings import Holdings
from underpass.workers.member import Member
from underpass.workers.stack import WorkerStack

TICK_S = 1.0
ASK_S = 0.005                       # how often what is at work is asked whether it still is
ANSWER_S = 60.0                     # how long the supervisor may take, which waits for all workers to begin
MORE_S = 0.1                        # a program listens on all its ports one soon after the other
SETTLE_S = 5.0                      # a program that listens nowhere has begun by then
RETURN_S = 30.0                     # and what another process has left is taken up by then, or reset
AFTERMATH_S = 0.1                   # a peer that missed a segment asks back first (RFC 5961 3.2)


class Ports(NamedTuple):
    """Source ports that are ours."""

    first: int
    last: int


class ProgramStack(WorkerStack):
    """A worker's stack whose ports are claimed while it runs."""

    member: "ProgramMember"
    addresses: tuple[str, ...] = ()

    def carry_out(self, message: Message) -> bool:
        """As `WorkerStack.carry_out`."""
        if message.get("do") == "addresses":
            self.addresses = tuple(address for address, _ in message["addresses"])
        return super().carry_out(message)

    def claim(self, address: tuple[str, int], holder: socket.socket) -> Callable[[], None]:
        """As `NicStack.claim`, where a kernel socket of the program's listens on it."""
        held = self.member.claim(address, holder)
        return lambda: self.member.leave(address, held)

    @property
    def control_fds(self) -> tuple[int, int]:
        """Readable when the control work has something to do: the supervisor's channel, the control socket.
        """
        return self.member.channel.fileno(), self.member.asked.fileno()

    def control(self, changed: bool, asked: bool) -> float:
        """The control work that is due; see `NicStack.control`."""
        return self.member.control(changed, asked)


class ProgramMember(Member):
    """A process that runs a program, once that has asked for an event loop."""

    kind = ProgramStack
    stack: ProgramStack

    def __init__(self, channel: Channel, plan: Message, holdings: Holdings) -> None:
        super().__init__(channel, plan, holdings)
        self.stack.member = self
        self.dispatcher = Dispatcher(self.stack)
        self._answers: dict[int, Message] = {}
        self._asked_for = 0
        self._claims: dict[tuple[str, int], list[weakref.ref[socket.socket]]] = {}
        self._lingering: list[tuple[str, int]] = []
        self._departure: Departure | None = None
        self._begun: weakref.WeakKeyDictionary[Endpoint, tuple[tuple[int, int], bytes]] \
            = weakref.WeakKeyDictionary()
        self._drain_until: float | None = None
        self._settled = False
        self._tick_at = 0.0
        now = time.monotonic()
        self._settle_at, self._return_at = now + SETTLE_S, now + RETURN_S
        self._memory = holdings.one("memory") if plan["resume"] else empty()
        self._reset = self._take_up() if plan["resume"] else {}
        if not plan["resume"]:
            holdings.add("arena", self.stack.arena.memfd)
            holdings.add("memory", self._memory)

    @property
    def is_draining(self) -> bool:
        """Whether it has been told to end."""
        return self._drain_until is not None

    @property
    def keeps_connections(self) -> bool:
        """Whether the application says of its connections what another process has to know."""
        return restart.handler() is not None

    @property
    def claims(self) -> list[tuple[tuple[str, int], int]]:
        """Addresses and ports that it has asked for, and the sockets that hold them."""
        held = [(address, holder()) for address, holders in self._claims.items() for holder in holders[:1]]
        return [(address, it.fileno()) for address, it in held if it is not None and it.fileno() >= 0]

    # the supervisor

    def told(self, message: Message) -> None:
        """What it is to do, or the answer to what it asked."""
        match message.get("do"):
            case "go":
                self.serves = True
                self._say_ready()
                restart.when_said(self._say_keeps)
            case "drain":
                self.drain(message["seconds"])
            case "suspend":
                self._depart()
            case "answer":
                self._answers[message["number"]] = message

    def _say_ready(self) -> None:
        """With what another process needs to take its place, unless it came from the supervisor."""
        message: Message = {"say": "ready", "pid": os.getpid(), "kept": len(self.dispatcher.left),
                            "reset": self._reset}
        if self.stack.recovery is not None:
            message["reset"] = self.stack.recovery["aborted"] | self._reset
            message["midway"] = self.stack.recovery["midway"]
        mine = [] if self.plan["resume"] else [self.stack.arena.memfd, self._memory]
        self.channel.send(message, mine)

    def _say_keeps(self) -> None:
        self.channel.send({"say": "keeps"})

    def control(self, changed: bool, asked: bool) -> float:
        """Hear the supervisor and others, and do what is due; returns when to be called again at the latest.
        """
        self.attend(changed, asked)
        now = time.monotonic()
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            self.stack.publish()
            self._let_go()
        if not self._settled and now >= self._settle_at and not self.dispatcher.inherited:
            self._settle()
        if self.dispatcher.inherited and now >= self._return_at:
            self._disinherit()
        if self._drain_until is not None and now >= self._drain_until:
            self._cut_short()
        if self._departure is not None:
            self._leave_off(self._departure)
            return now + ASK_S
        due = self._tick_at if self._settled else min(self._tick_at, self._settle_at + MORE_S)
        return min(due, self._drain_until or due)

    def wait_for_others(self) -> None:
        """Until each share has its process. Before, no port can be claimed, and what the kernel accepts on it
        is reset once it is. Raises OSError ETIMEDOUT.
        """
        self._request("wait")

    def _request(self, what: str, address: tuple[str, int] = ("", 0),
                 descriptors: Sequence[int] = ()) -> None:
        """Ask the supervisor for something. Raises OSError with what it answers, or that it does not."""
        self._asked_for += 1
        number, end = self._asked_for, time.monotonic() + ANSWER_S
        message = {"say": what, "number": number, "address": address[0], "port": address[1]}
        if not self.supervised or not self.channel.send(message, descriptors):
            raise OSError(errno.ENOTCONN, "the supervisor is gone: ports are claimed by another one")
        while number not in self._answers:
            select.select([self.channel], [], [], max(0.0, end - time.monotonic()))
            self.hear()
            if not self.supervised or time.monotonic() >= end:
                raise OSError(errno.ETIMEDOUT, f"not every worker has begun within {ANSWER_S:g} s")
        answer = self._answers.pop(number)
        if answer["errno"]:
            raise OSError(answer["errno"], answer["why"])

    # ports

    def claim(self, address: tuple[str, int], holder: socket.socket) -> "weakref.ref[socket.socket]":
        """What is to be given to `leave`. Raises OSError as `WorkerClaims.claim`."""
        self._request("claim", address, [holder.fileno()])
        held = weakref.ref(holder)
        self._claims.setdefault(address, []).append(held)
        self._settle_at = min(self._settle_at, time.monotonic() + MORE_S)
        return held

    def leave(self, address: tuple[str, int], held: "weakref.ref[socket.socket]") -> None:
        """The program closes its listener, where others of its own may go on: who comes goes to others; the
        port is given back with the last connection, which the kernel would reset.
        """
        self._claims[address].remove(held)
        if not self._claims[address]:
            del self._claims[address]
            self._lingering.append(address)
            with suppress(OSError):                 # the next supervisor asks what is claimed
                self._request("leave", address)

    def _let_go(self) -> None:
        if not self._lingering:
            return
        for address in unused(self._lingering, self.stack.connections()):
            self._lingering.remove(address)
            if address not in self._claims:
                with suppress(OSError):
                    self._request("release", address)

    def _settle(self) -> None:
        """It does what it is there for."""
        self._settled = True
        self.channel.send({"say": "settled"})

    # the end

    def drain(self, seconds: float) -> None:
        """Have the program end, within so many seconds; a second call shortens them."""
        if self._drain_until is None:
            self.channel.send({"say": "draining"})
            handled = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            os.kill(os.getpid(), signal.SIGTERM if handled else signal.SIGINT)
        self._drain_until = time.monotonic() + seconds

    def _cut_short(self) -> None:
        """What is open now is reset."""
        open_now = self.close()
        self.say(f"worker {self.number}: the program did not end in time; {open_now} connections are reset",
                 Event.WORKER_CUT_SHORT, worker=self.number, pid=os.getpid(), connections_lost=open_now)
        leave_process()

    def close(self) -> int:
        """Reset what is open; returns how many connections that were."""
        self.asked.close()
        count = self.stack.abort_all()
        if count:
            self.stack.run(AFTERMATH_S)
        self.stack.close()
        return count

    # another process

    def _depart(self) -> None:
        """Begin to leave what is quiet to the process that comes after."""
        handler = restart.handler()
        if handler is None:
            self.drain(self.plan["drain_s"])
        elif self._departure is None:
            self._departure = Departure(self.dispatcher, handler, self._begun, self.plan["drain_s"])

    def _leave_off(self, departure: Departure) -> None:
        left = departure.ask()
        if left is None:
            return
        self.asked.close()
        left = departure.let_go(left)
        self.stack.suspend()
        write(self._memory, left | departure.come_late())
        self.channel.send({"say": "suspended"})
        leave_process()

    def _take_up(self) -> dict[str, int]:
        """What another process has left waits until the program listens where it came."""
        left = read(self._memory)
        reset = inherit(self.dispatcher, {} if self.plan["crashed"] else left, self._resumed)
        return {"only the program knew what they were": reset} if reset else {}

    def _resumed(self, endpoint: Endpoint, state: bytes) -> None:
        self._begun[endpoint] = exchanged(endpoint), state
        handler, protocol = restart.handler(), endpoint.get_protocol()      # type: ignore[attr-defined]
        if handler is not None and handler.resume is not None:
            handler.resume(protocol, state)

    def _disinherit(self) -> None:
        """The program does not listen where it did."""
        services, count = disinherit(self.dispatcher)
        for service in services:
            self._lingering.append(service)
        self._settle()
        where = ", ".join(f"{address} port {port}" for address, port in services)
        self.say(f"worker {self.number}: nobody listens on {where} any more; {count} connections are reset",
                 Event.LISTENER_GONE, worker=self.number, connections_lost=count)


def leave_process() -> None:
    """Without asking the program: what it has written is written."""
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
