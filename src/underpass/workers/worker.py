"""A worker with a native application: takes its plan and its descriptors, gives up every privilege, and
serves its queues until it is told to end.

    warm  <-- everything is imported
    start --> memory, rings and tables mapped; application made; sandbox closed
    go    --> listens; `ready` goes back
    drain --> no new connections; ends when the open ones have ended, or the time is over
    suspend --> leaves everything to another process, whose start says `resume`, and ends
"""

import importlib
import os
import signal
import socket
import sys
import time
from typing import Any, Protocol

from underpass.linux import sandbox
from underpass.stack.arena import VERSION
from underpass.workers.channel import Channel, Message
from underpass.workers.holdings import Holdings
from underpass.workers.member import Member, failure, first_message

TICK_S = 1.0
DRAIN_LOOK_S = 0.05
AFTERMATH_S = 0.1                       # a peer that missed a segment asks back first (RFC 5961 3.2)


class Application(Protocol):
    """What a worker runs: a class that is given the stack, `memory` and the arguments of the plan.

    Its attribute `layout` tells apart versions that cannot take each other's connections up. `memory`: what
    another process has left, or -1.
    """

    @property
    def open(self) -> int:
        """Connections that are open."""

    def listen(self) -> None:
        """Begin to serve."""

    def tick(self) -> None:
        """Called every second."""

    def drain(self) -> None:
        """Accept no more, and end what is open in order."""

    def stats(self) -> dict[str, dict[str, int]]:
        """Counters."""

    @property
    def memory(self) -> int:
        """A memfd with what another process needs, beside the stack, to go on with every connection, however
        this one ends; -1: nobody can go on.
        """

    def suspend(self) -> None:
        """Another process goes on."""

    def take_up(self) -> dict[str, int]:
        """Go on instead of `listen`; returns how many connections were reset, by reason."""


class Worker(Member):
    """Everything of one worker, from its plan on."""

    def __init__(self, channel: Channel, plan: Message, holdings: Holdings) -> None:
        super().__init__(channel, plan, holdings)
        self.drain_until: float | None = None
        self._tick_at = 0.0
        self.application: Application = resolve(plan["application"])(
            self.stack, memory=holdings.one("memory"), **plan["arguments"])
        self._confine()
        self._reset = self.application.take_up() if plan["resume"] else {}
        if self.application.memory >= 0 and not plan["resume"]:
            self.holdings.add("arena", self.stack.arena.memfd)
            self.holdings.add("memory", self.application.memory)

    def _confine(self) -> None:
        """From here on nothing can be opened, and nothing is imported that is not here yet."""
        places = [sandbox.place(it) for it in (*self.plan["readable"], *sandbox.python_files())]
        if self.plan["user"]:
            sandbox.become(self.plan["user"])
        sandbox.no_new_privileges()
        for why in (sandbox.confine_files(places), sandbox.confine_calls()):
            if why:
                self.channel.send({"say": "unconfined", "why": why})

    def run(self) -> None:
        """Until drained."""
        fds = [self.asked.fileno(), self.channel.fileno()]
        while not self._ended():
            ready = self.stack.run(TICK_S if self.drain_until is None else DRAIN_LOOK_S, fds)
            self.attend(changed=self.channel.fileno() in ready, asked=self.asked.fileno() in ready)
            self._tick()
        self.asked.close()
        if self.stack.abort_all():
            self.stack.run(AFTERMATH_S)
        self.channel.send({"say": "ended", "counters": self.application.stats()})
        self.stack.close()

    def _tick(self) -> None:
        """Once a second, however often the loop comes by."""
        now = time.monotonic()
        if now >= self._tick_at:
            self._tick_at = now + TICK_S
            self.application.tick()
            self.stack.publish()

    def drain(self, seconds: float) -> None:
        """End in order, within so many seconds; a second call shortens them."""
        if self.drain_until is None:
            self.channel.send({"say": "draining"})
            self.application.drain()
        self.drain_until = time.monotonic() + seconds

    @property
    def is_draining(self) -> bool:
        """Whether it has been told to end."""
        return self.drain_until is not None

    def _ended(self) -> bool:
        if self.drain_until is None:
            return False
        if time.monotonic() >= self.drain_until:
            return True
        # What the application has closed may still be on its way: it ends with the last acknowledgment.
        return self.application.open == 0 and self.stack.stats()["tcp"]["connections"] == 0

    def told(self, message: Message) -> None:
        """What it is to do."""
        match message.get("do"):
            case "go":
                if not self.serves:
                    self.serves = True
                    self.application.listen()
                self._say_ready()
            case "drain":
                self.drain(message["seconds"])
            case "suspend":
                self._suspend()

    def _suspend(self) -> None:
        """Leave everything as it is to the process that comes after; nothing is closed."""
        self.asked.close()
        self.stack.suspend()
        self.application.suspend()
        self.channel.send({"say": "suspended"})
        os._exit(0)

    def _say_ready(self) -> None:
        """With what another process needs to go on, unless it came from the supervisor."""
        message: Message = {"say": "ready", "pid": os.getpid(), "kept": 0, "reset": self._reset}
        if self.stack.recovery is not None:
            message["kept"] = self.stack.recovery["kept"] - sum(self._reset.values())
            message["reset"] = self.stack.recovery["aborted"] | self._reset
            message["midway"] = self.stack.recovery["midway"]
        leaves = self.application.memory >= 0 and not self.plan["resume"]
        self.channel.send(message, [self.stack.arena.memfd, self.application.memory] if leaves else [])


def resolve(name: str) -> Any:
    """The function "module:function"."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def layout_of(application: str) -> str:
    """What a process must have in common with the one whose connections it takes over."""
    return f"{VERSION}:{resolve(application).layout}"


def main(descriptor: int, application: str) -> int:
    """The process's life; `application` is known before the plan, so that it is imported meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C reaches the supervisor, which lets us drain
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())      # a new supervisor has some wait
    channel = Channel(socket.socket(fileno=descriptor))
    channel.send({"say": "warm", "layout": layout_of(application)})
    try:
        plan, holdings = first_message(channel)
        worker = Worker(channel, plan, holdings)
    except EOFError:
        return 1
    except (OSError, ValueError) as error:
        channel.send(failure(error))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: worker.drain(plan["drain_s"]))
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
