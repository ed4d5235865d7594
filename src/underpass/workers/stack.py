"""A worker's stack: over what its supervisor has opened for it, with the tables that it is told."""

import errno
from collections.abc import Iterable
from typing import Self, TypeVar

from underpass.link.afxdp import AfXdpLink
from underpass.link.frames import Frames
from underpass.link.gate import GateMemory
from underpass.link.handover import HandoverArea, HandoverLink
from underpass.link.link import LinkBase
from underpass.linux.netdev_features import NetdevFeatures
from underpass.stack.sockets import Connection
from underpass.stack.stack import Stack
from underpass.tcp.flows import FlowTable
from underpass.tcp.services import ServiceTable
from underpass.workers.channel import Message
from underpass.workers.holdings import Holdings

SPIN_S = 0.05


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


AnyStack = TypeVar("AnyStack", bound=WorkerStack)


def make_stack(kind: type[AnyStack], plan: Message, holdings: Holdings) -> AnyStack:
    """The stack over what was opened for it."""
    arena = holdings.one("arena")
    frames = Frames(plan["frames"], plan["frame_bytes"], memfd=holdings.one("frames"), resume=plan["resume"])
    netdev = NetdevFeatures(**{**plan["netdev"], "mac": bytes.fromhex(plan["netdev"]["mac"])})
    facts = plan["link"] | {"resumed": plan["resume"], "mend": plan["crashed"]}
    own = AfXdpLink(frames, netdev, facts["queues"], ring_size=facts["ring_size"], adopted=facts,
                    adopted_fds=holdings.all("socket"))
    flows = FlowTable(memfd=holdings.one("flows"), bytes=plan["flows_bytes"])
    if plan["workers"] == 1:
        stack = kind(own, plan, arena)
    else:
        area = HandoverArea(plan["workers"], holdings.one("area"))
        link = HandoverLink(own, area, plan["number"], holdings.all("eventfd"))
        stack = kind(link, plan, arena)
        stack.share_flows(flows, link, ServiceTable(holdings.one("services")))
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
