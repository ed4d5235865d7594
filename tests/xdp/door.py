"""An XDP program that decides who comes in, and the engine behind it: the same keys, clock and memory."""

import socket
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from underpass.link.frames import Frames
from underpass.link.gate import GateMemory
from underpass.link.memory import memory_pair
from underpass.linux.admission import Admission, AdmissionPlan
from underpass.linux.netdev_features import netdev_features
from underpass.stack.stack import ACCEPTED, Stack
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_link import LinkProbe
from underpass.testing.probe_xdp import run
from underpass.xdp.loader import XdpProgram

AF_XDP = 44                             # not in Python's socket module
PORT = 80
FIRST_PORT = 10000
MTU = 1500
SEED = b"the same in both" * 2
TICK_NS = 1 << 20
LAG_NS = 16_000_000                     # what the kernel's clock of the last tick may be behind
FULL = {"mss": 1460, "window_scale": 7, "sack_permitted": True, "timestamps": (1234, 0)}


class Engine:
    """The stack on a cable whose other end the test holds. It is given the time."""

    def __init__(self, veth: VethPair, now_ns: int, **limits: int) -> None:
        small = {"connections": 256, "time_waits": 64}
        wire, own = memory_pair(Frames(512), Frames(512))
        self.now_ns = now_ns
        self.stack = Stack(own, veth.ours.mac, seed=SEED, **(small | limits))
        self.stack.set_addresses([(veth.ours.v4, 24), (veth.ours.v6, 64)])
        self.stack.set_routes([("10.77.0.0", 24, None, None, 0, 0), ("fd77::", 64, None, None, 0, 0)])
        for address in (veth.peer.v4, veth.peer.v6):
            self.stack.set_neighbour(address, veth.peer.mac)
        self.stack.step(now_ns)
        self.stack.listen(("0.0.0.0", PORT))
        self.stack.listen(("::", PORT))
        self.wire = LinkProbe(wire)
        self.accepted: list[Any] = []

    def gets(self, frame: bytes, now_ns: int | None = None) -> list[bytes]:
        """What it sends when this arrives."""
        self.now_ns = max(self.now_ns + 1, now_ns or time.monotonic_ns())
        self.wire.transmit([frame])
        self.stack.step(self.now_ns)
        self.accepted += [conn for conn, ready in self.stack.events() if ready & ACCEPTED]
        self.stack.step(self.now_ns)
        return list(self.wire.receive(self.now_ns))

    def count(self, name: str) -> int:
        """One of its counters."""
        return self.stack.stats()["tcp"][name]

    def overload_level(self) -> int:
        """What it has the program refuse."""
        return self.stack.stats()["overload"]["level"]


class Door:
    """The program on one end of a veth pair: port 80 of both families is claimed, and there is a socket."""

    def __init__(self, veth: VethPair, plan: AdmissionPlan, *, multi_buffer: bool = False,
                 **limits: int) -> None:
        self.veth, self.port = veth, FIRST_PORT
        veth.peer.run("ip", "link", "set", veth.peer.interface, "down")     # Linux's packets would be counted
        with ExitStack() as undo, veth.ours.entered():
            netdev = netdev_features(veth.ours.interface)
            self.program = undo.enter_context(XdpProgram(
                netdev, multi_buffer=multi_buffer, features=plan.features, entries=plan.sizes))
            for address in (veth.ours.v4, veth.ours.v6):
                self.program.claim(address, PORT)
            if plan.features:
                self.admission = Admission(plan, netdev, self.program, seed=SEED, limits=limits)
                self.gate = GateMemory(*self.admission.gate_fds, [0])
            socket_ = undo.enter_context(socket.socket(AF_XDP, socket.SOCK_RAW))
            self.program.register_xsk(0, socket_.fileno())
            self._undo = undo.pop_all()

    def begin(self) -> Self:
        """For a test: a flow that none before it has had."""
        self.port += 1
        self.admission.set_mtu(MTU)
        return self

    def engine(self, *, behind_ns: int = 0, **limits: int) -> Engine:
        """A stack that shares the program's memory; its time begins so long ago."""
        engine = Engine(self.veth, time.monotonic_ns() - behind_ns, **limits)
        engine.stack.show_flows(self.admission.table)
        engine.stack.set_gate(self.gate, cookies=True, refuses=self.admission.plan.overload)
        return engine

    def segment(self, family: str, **fields: Any) -> TcpSegment:
        """One from the peer to the claimed port."""
        ours, peer = self.veth.ours, self.veth.peer
        return TcpSegment(**({"src": getattr(peer, family), "dst": getattr(ours, family), "seq": 1000,
                              "src_port": self.port, "dst_port": PORT, "src_mac": peer.mac_text,
                              "dst_mac": ours.mac_text} | fields))

    def syn(self, family: str, **fields: Any) -> TcpSegment:
        """A SYN."""
        return self.segment(family, **({"flags": Flags.SYN} | fields))

    def gets(self, frame: bytes) -> tuple[str, str, bytes]:
        """The verdict, the one counter that counted the packet, and what became of it."""
        before = self.program.counters()
        verdict, left = run(self.program, frame)
        ((reason, more),) = [(name, value - before[name]) for name, value in self.program.counters().items()
                             if value != before[name]]
        assert more == 1
        return verdict, reason, left

    def answers(self, syn: TcpSegment, **wrong: Any) -> TcpSegment:
        """The SYN-ACK by which the program answers a SYN; its checksums are right."""
        verdict, reason, left = self.gets(syn.build(**wrong))
        assert (verdict, reason) == ("TX", "answered_cookie")
        return TcpSegment.parse(left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._undo.close()


def ack_of(syn: TcpSegment, answer: TcpSegment, **fields: Any) -> TcpSegment:
    """What the peer answers to the SYN-ACK."""
    stamps = None if answer.timestamps is None else (2000, answer.timestamps[0])
    return TcpSegment(**({
        "src": syn.src, "dst": syn.dst, "src_port": syn.src_port, "dst_port": syn.dst_port, "vlan": syn.vlan,
        "src_mac": syn.src_mac, "dst_mac": syn.dst_mac, "seq": answer.ack, "ack": (answer.seq + 1) % 2**32,
        "flags": Flags.ACK, "timestamps": stamps} | fields))
