"""One worker: takes its plan and its descriptors, gives up every privilege, and serves its queues until it
is told to end.

    warm  <-- everything is imported
    start --> memory, rings and tables mapped; application made; sandbox closed
    go    --> listens; `ready` goes back
    drain --> no new connections; ends when the open ones have ended, or the time is over
    suspend --> leaves everything to another process, whose start says `resume`, and ends

Should the supervisor die, the worker goes on: it holds the XDP attachment too. It learns no more of
Linux's tables then, until another supervisor takes it over (see adoption.py): for that it keeps a descriptor
of everything that was opened for it.
"""

import errno
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, Protocol, Self

from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.link.gate import GateMemory
from underpass.link.handover import HandoverArea, HandoverLink
from underpass.link.link import LinkBase
from underpass.linux import sandbox
from underpass.linux.commands import commands
from underpass.linux.control_socket import Answer, ControlSocket, Request, Session, user_of
from underpass.linux.cookie import namespace_cookie
from underpass.linux.mirror import REFRESH_SECONDS, USED_LATELY_NS
from underpass.linux.netdev_features import NetdevFeatures
from underpass.log import Event, Log
from underpass.stack.arena import VERSION
from underpass.stack.sockets import Connection
from underpass.stack.stack import Stack
from underpass.tcp.flows import FlowTable
from underpass.workers.channel import PROTOCOL, Channel, Message
from underpass.workers.holdings import Holdings

TICK_S = 1.0
DRAIN_LOOK_S = 0.05
SPIN_S = 0.05
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


class WorkerStack(Stack):
    """A stack whose tables the supervisor fills."""

    def __new__(cls, link: HandoverLink | AfXdpLink, plan: Message, arena: int = -1) -> Self:
        limits = dict(plan["limits"])
        if plan["ports"]:
            limits["ephemeral_first"], limits["ephemeral_last"] = plan["ports"]
        return super().__new__(cls, link, bytes.fromhex(plan["netdev"]["mac"]),  # type: ignore[call-arg]
                               seed=bytes.fromhex(plan["seed"]), arena=arena, crashed=plan["crashed"],
                               **limits)

    def __init__(self, link: HandoverLink | AfXdpLink, plan: Message, arena: int = -1) -> None:
        self._xdp_counters: dict[str, int] = {}
        self._ports: tuple[int, int] | None = plan["ports"] and tuple(plan["ports"])
        self._steering: Message | None = plan["steering"]
        self._gate: GateMemory | None = None
        self.set_interface(plan["netdev"]["name"])
        self.note_given_up(plan["given_up"])
        self.set_moderation(plan["moderation"])

    def open_gate(self, holdings: Holdings, tells: Message) -> None:
        """Tell the XDP program, by its maps, how much this worker can take."""
        admissions, pressures = (holdings.one(f"program map {name}") for name in ("admissions", "pressures"))
        self._gate = GateMemory(admissions, pressures, own_link(self.link).queues)
        self.set_gate(self._gate, cookies=tells["cookies"], refuses=tells["refuses"])

    def publish(self) -> None:
        """Copy what Linux counts to where others can read it."""
        self.set_kernel_counters(self._xdp_counters, self.link.kernel_stats())

    def connect(
        self,
        address: tuple[str, int],
        source: tuple[str, int] | None = None,
        options: Iterable[tuple[int, int, int | bytes | str]] = (),
    ) -> Connection:
        """Open a connection from one of this worker's share of the reserved ports.

        Raises OSError: EADDRNOTAVAIL where none were reserved, or for a port that is not of them, and what
        `Stack.connect` raises.
        """
        port = source[1] if source else 0
        if self._ports is None:
            raise OSError(errno.EADDRNOTAVAIL, "the supervisor's plan reserves no source ports")
        if port and not self._ports[0] <= port <= self._ports[1]:
            share = f"{self._ports[0]} to {self._ports[1]}"
            raise OSError(errno.EADDRNOTAVAIL, f"source ports of this worker are {share}, not {port}")
        return super().connect(address, source, options)

    def steer(self) -> bool:
        """Choose source ports by what is known of the device. Returns whether that is of use."""
        it = self._steering
        if it is None:
            return self.set_steering()
        queues = set(own_link(self.link).queues)
        return self.set_steering(bytes.fromhex(it["key"]), list(it["indirection"]), queues, it["v4"],
                                 it["v6"])

    def add_queue(self, queue: int, descriptor: int) -> None:
        """Serve one more queue, by this socket. Raises OSError."""
        own_link(self.link).adopt_queue(queue, descriptor)
        if isinstance(self.link, HandoverLink):
            self.link.follow_inner()
        if self._gate is not None:
            self._gate.set_queues(own_link(self.link).queues)
        self.steer()

    def carry_out(self, message: Message) -> bool:
        """What the supervisor says of Linux's tables. False: it is about something else."""
        match message.get("do"):
            case "mac":
                self.set_mac(bytes.fromhex(message["mac"]))
            case "mtu":
                self.set_mtu(message["mtu"])
            case "addresses":
                self.set_addresses([(address, prefix) for address, prefix in message["addresses"]])
            case "routes":
                self.set_routes([tuple(route) for route in message["routes"]])
            case "neighbour":
                mac = message["mac"]
                self.set_neighbour(message["address"], mac and bytes.fromhex(mac), message["failed"])
            case "steering":
                self._steering = message["steering"]
                self.steer()
            case "xdp counters":
                self._xdp_counters = message["counters"]
            case _:
                return False
        return True


class Worker:
    """Everything of one worker, from its plan on."""

    def __init__(self, channel: Channel, plan: Message, holdings: Holdings) -> None:
        self.channel, self.plan, self.holdings, self.say = channel, plan, holdings, Log(plan["log"])
        self.supervised = True
        self.supervisor: int = plan["supervisor"]
        self._adopter: tuple[socket.socket, int] | None = None
        self._adoptions = 0
        self._serves = bool(plan["resume"])
        self._namespace = namespace_cookie()
        self.drain_until: float | None = None
        self._refresh_at = time.monotonic() + REFRESH_SECONDS
        self._tick_at = 0.0
        if plan["core"] is not None:
            os.sched_setaffinity(0, {plan["core"]})
        self.stack = make_stack(plan, holdings)
        self.application: Application = resolve(plan["application"])(
            self.stack, memory=holdings.one("memory"), **plan["arguments"])
        own = {"worker": self._tell, "adopt": self._adopt}
        self._asked = ControlSocket({**commands(self.stack, plan["netdev"]["name"]), **own})
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
        while not self._ended():
            wait = TICK_S if self.drain_until is None else DRAIN_LOOK_S
            fds = [self._asked.fileno(), *([self.channel.fileno()] if self.supervised else [])]
            ready = self.stack.run(wait, fds)
            if self._asked.fileno() in ready:
                self._asked.serve()
                self._welcome()
            if self.channel.fileno() in ready:
                self._hear()
            self._ask()
            self._tick()
        self._asked.close()
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

    def _ended(self) -> bool:
        if self.drain_until is None:
            return False
        if time.monotonic() >= self.drain_until:
            return True
        # What the application has closed may still be on its way: it ends with the last acknowledgment.
        return self.application.open == 0 and self.stack.stats()["tcp"]["connections"] == 0

    def _hear(self) -> None:
        """Carry out what the supervisor has said."""
        while self.supervised:
            try:
                heard = self.channel.receive()
            except EOFError:
                self.supervised = False
                self.say(f"worker {self.plan['number']}: the supervisor is gone; serving on",
                         Event.SUPERVISOR_GONE, worker=self.plan["number"], pid=os.getpid())
                return
            if heard is None:
                return
            message, descriptors = heard
            if message.get("do") == "queue":
                self._add_queue(message["queue"], descriptors[0])
                continue
            for descriptor in descriptors:
                os.close(descriptor)
            if self.stack.carry_out(message):
                continue
            if message.get("do") == "go":
                if not self._serves:
                    self._serves = True
                    self.application.listen()
                self._say_ready()
            elif message.get("do") == "drain":
                self.drain(message["seconds"])
            elif message.get("do") == "suspend":
                self._suspend()

    def _suspend(self) -> None:
        """Leave everything as it is to the process that comes after; nothing is closed."""
        self._asked.close()
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

    # another supervisor

    def _tell(self, _session: Session, _request: Request) -> Answer:
        """Who it is, and whose."""
        return {"pid": os.getpid(), "interface": self.plan["netdev"]["name"], "number": self.plan["number"],
                "namespace": self._namespace, "supervisor": self.supervisor if self.supervised else 0,
                "adoptions": self._adoptions, "renews": self.plan["renews"]}, ()

    def _adopt(self, session: Session, request: Request) -> Answer:
        """Hand everything over to a new supervisor, where the old one is gone and the new one is its user."""
        self._hear()
        if self.supervised or self._adopter:
            raise OSError(errno.EBUSY, f"process {self.supervisor} supervises worker {self.plan['number']}")
        if user_of(session.peer) != self.plan["uid"]:
            raise PermissionError(errno.EPERM, "only the supervisor's own user takes its place")
        if request.get("protocol") != PROTOCOL:
            raise ValueError("the worker is of another version")
        session.taken = True
        self._adopter = session.peer, int(request["pid"])
        link = own_link(self.stack.link)
        held = Holdings(it for it in self.holdings if it[0] != "socket")
        for descriptor in link.all_fds:
            held.add("socket", descriptor)
        return {"plan": self.plan | {"link": link.facts()}, "names": held.names,
                "ready": self._serves, "draining": self.drain_until is not None}, held.descriptors

    def _welcome(self) -> None:
        """The connection of the new supervisor becomes the channel."""
        if self._adopter is not None:
            self.channel.close()
            peer, self.supervisor = self._adopter
            self.channel, self.supervised, self._adopter = Channel(peer), True, None
            self._adoptions += 1
            self._refresh_at = 0.0
            self.say(f"worker {self.plan['number']}: process {self.supervisor} is the supervisor now",
                     Event.SUPERVISOR_CAME, worker=self.plan["number"], pid=os.getpid(),
                     supervisor=self.supervisor)

    def _add_queue(self, queue: int, descriptor: int) -> None:
        """What cannot be served is left as it is: the other queues go on."""
        try:
            self.stack.add_queue(queue, descriptor)
        except OSError as error:
            self.say(f"worker {self.plan['number']}: queue {queue}: {error.strerror}", Event.QUEUE_REFUSED,
                     worker=self.plan["number"], queue=queue, reason=error.strerror)
        else:
            self.channel.send({"say": "serves", "queue": queue})

    def _ask(self) -> None:
        """Neighbours that the stack wants, and now and then those that it uses."""
        wanted = self.stack.wanted()
        if wanted:
            self.channel.send({"say": "wanted", "neighbours": wanted})
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            known = self.stack.neighbours()
            using = [address for address, _, _, idle_ns in known if idle_ns < USED_LATELY_NS]
            self.channel.send({"say": "using", "neighbours": using[:1000]})


def make_stack(plan: Message, holdings: Holdings) -> WorkerStack:
    """The stack over what was opened for it."""
    arena = holdings.one("arena")
    frames = Frames(plan["frames"], plan["frame_bytes"], memfd=holdings.one("frames"), resume=plan["resume"])
    netdev = NetdevFeatures(**{**plan["netdev"], "mac": bytes.fromhex(plan["netdev"]["mac"])})
    facts = plan["link"] | {"resumed": plan["resume"], "mend": plan["crashed"]}
    own = AfXdpLink(frames, netdev, facts["queues"], ring_size=facts["ring_size"], adopted=facts,
                    adopted_fds=holdings.all("socket"))
    flows = FlowTable(memfd=holdings.one("flows"), bytes=plan["flows_bytes"])
    if plan["workers"] == 1:
        stack = WorkerStack(own, plan, arena)
    else:
        area = HandoverArea(plan["workers"], holdings.one("area"))
        link = HandoverLink(own, area, plan["number"], holdings.all("eventfd"))
        stack = WorkerStack(link, plan, arena)
        stack.share_flows(flows, link, plan["services"])
        stack.steer()
    if plan["gate"]:
        if plan["workers"] == 1:
            stack.show_flows(flows)
        stack.open_gate(holdings, plan["gate"])
    if own.busy_poll:
        stack.set_spin(SPIN_S)
    return stack


def own_link(link: LinkBase) -> AfXdpLink:
    """The link that has the queues."""
    own = link.inner if isinstance(link, HandoverLink) else link
    assert isinstance(own, AfXdpLink)
    return own


def resolve(name: str) -> Any:
    """The function "module:function"."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def first_message(channel: Channel) -> tuple[Message, Holdings]:
    """The plan; waits for it. Raises EOFError where the supervisor is gone."""
    select.select([channel], [], [])
    heard = channel.receive()
    if heard is None or heard[0].get("do") != "start":
        raise ValueError("the first message is not a plan")
    return heard[0], Holdings.received(heard[0].get("names"), heard[1])


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
        why = str(getattr(error, "strerror", None) or error)
        channel.send({"say": "failed", "why": " ".join(why.split())})
        return 1
    signal.signal(signal.SIGTERM, lambda *_: worker.drain(plan["drain_s"]))
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
