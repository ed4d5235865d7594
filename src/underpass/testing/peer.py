"""A scripted remote end: hand-made segments to a stack under test, and assertions about what it answers.

with Wire() as wire:
    wire.stack.listen(("0.0.0.0", 80))
    peer = wire.peer(to_port=80)
    peer.send(Flags.SYN, mss=1460)
    peer.expect(Flags.SYN | Flags.ACK, ack=1)
    peer.send(Flags.ACK)
    peer.send(Flags.ACK | Flags.PSH, b"hello")
    peer.expect(Flags.ACK, ack=6)

Sequence numbers in scripts are relative: 0 is each side's SYN. The peer's real ones wrap around early.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any

from underpass.testing.clock import MS
from underpass.testing.host import Host, Station
from underpass.testing.icmp import icmp_error
from underpass.testing.network import Network
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_link import LinkProbe

if TYPE_CHECKING:
    from underpass.stack.sockets import Connection
    from underpass.stack.stack import Stack

ACK, FIN, PSH, RST, SYN = Flags.ACK, Flags.FIN, Flags.PSH, Flags.RST, Flags.SYN

FlowKey = tuple[str, int, int]


def describe(seg: TcpSegment) -> str:
    """A segment on one line."""
    values = {name: getattr(seg, name) for name in ("mss", "window_scale", "timestamps")}
    options = [f"{name} {value}" for name, value in values.items() if value is not None]
    options += [f"sack {seg.sack}"] if seg.sack else []
    options += ["sack permitted"] if seg.sack_permitted else []
    options += [f"fast open {seg.fast_open.hex() or '?'}"] if seg.fast_open is not None else []
    flags = "|".join(flag.name or "" for flag in Flags if flag and flag in seg.flags)
    numbers = f"seq {seg.seq} ack {seg.ack} len {len(seg.payload)} win {seg.window}"
    return f"{flags} {numbers} {', '.join(options)}".rstrip()


class Wire:
    """A stack under test and the other end of its cable, where scripts stand. Virtual time.

    `limits` are the stack's. The stack is host .1, the scripts are host .2, or whoever they claim to be.
    """

    def __init__(self, *, seed: int = 0, mtu: int = 1500, frames: int = 4096, **limits: int | str) -> None:
        self.network = Network(seed)
        link, end = self.network.cable(frames, mtu)
        self.remote = Station(2)
        secret = self.network.secret("host")
        self.host = Host.on(link, Station(1), self.remote, seed=secret, now_ns=self.now_ns, **limits)
        self.probe = LinkProbe(end)
        self.network.nodes = [self.host, self]
        self.flows: dict[FlowKey, Peer] = {}
        self.strays: list[TcpSegment] = []
        self.frames: deque[bytes] = deque(maxlen=1000)  # that the stack sent, as they are
        self.log: list[str] = []

    @property
    def stack(self) -> Stack:
        """The stack under test."""
        return self.host.stack

    @property
    def now_ns(self) -> int:
        """The virtual clock's time."""
        return self.network.clock.now_ns

    def peer(self, port: int = 40000, to_port: int = 80, *, v6: bool = False, iss: int = 0xFFFFFFF0) -> Peer:
        """A remote end that talks from `port` to `to_port` of the stack."""
        return Peer(self, port, to_port, v6=v6, iss=iss)

    def send_frame(self, *frames: bytes) -> None:
        """Put any octets on the cable and let the stack take a turn; it finds these frames in one batch."""
        if self.probe.transmit(frames, now_ns=self.now_ns) != len(frames):
            raise AssertionError("the cable is full")
        self.settle()

    def settle(self) -> None:
        """Let everything happen that can happen without time passing."""
        self.network.run(for_ns=0)

    def run(self, ms: float) -> None:
        """Let virtual milliseconds pass."""
        self.network.run(for_ns=round(ms * MS))

    def accepted(self) -> list[Connection]:
        """Connections that the stack accepted so far."""
        return self.host.accepted()

    def count(self, name: str, layer: str = "tcp") -> int:
        """One of the stack's counters."""
        return self.stack.stats()[layer][name]

    # What the network asks of a node.

    def step(self, now_ns: int) -> int:
        """Collect what the stack has sent, for the flow that it belongs to."""
        frames = self.probe.receive(now_ns=now_ns, room=1024)
        self.frames.extend(frames)
        for frame in frames:
            seg = TcpSegment.parse(frame)
            flow = self.flows.get((seg.dst, seg.dst_port, seg.src_port))
            if flow is None:
                self.strays.append(seg)
                self.note("stray <-", seg)
            else:
                flow.collect(seg)
        return len(frames)

    def deadline(self) -> int | None:
        """When something comes out of the cable."""
        return self.probe.deadline()

    def note(self, direction: str, seg: TcpSegment) -> None:
        """Write down what passed, for the message of a failed expectation."""
        self.log.append(f"{self.network.clock.elapsed_ms:10.3f} ms {direction} {describe(seg)}")

    def close(self) -> None:
        """Unplug the cable."""
        self.probe.link.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *failure: Any) -> None:
        error = failure[1]
        if error is not None:
            error.add_note("\n".join(self.log[-60:]))
        self.network.__exit__(*failure)


class Peer:
    """One flow of a `Wire`. Keeps SND.NXT and RCV.NXT as a correct peer would; every field can be given."""

    def __init__(self, wire: Wire, port: int, to_port: int, *, v6: bool, iss: int) -> None:
        here = wire.host.station
        self.wire = wire
        self.iss = iss
        self.irs: int | None = None
        self.snd_nxt = 0
        self.rcv_nxt = 0
        self.window = 65535
        self.timestamp: int | None = None
        self.ts_recent = 0
        self.inbox: deque[tuple[int, TcpSegment]] = deque()
        self.base = TcpSegment(
            src=wire.remote.v6 if v6 else wire.remote.v4,
            dst=here.v6 if v6 else here.v4,
            src_port=port,
            dst_port=to_port,
            src_mac=wire.remote.mac.hex(":"),
            dst_mac=here.mac.hex(":"),
        )
        wire.flows[self.base.src, port, to_port] = self

    # ---- sending

    def make(self, flags: Flags, payload: bytes = b"", **fields: Any) -> TcpSegment:
        """A segment with absolute numbers. `seq`, `ack` and `sack` are given relative."""
        seq = fields.pop("seq", self.snd_nxt)
        ack = fields.pop("ack", self.rcv_nxt if flags & ACK else None)
        sack = fields.pop("sack", ())
        if self.timestamp is not None:
            fields.setdefault("timestamps", (self.timestamp, self.ts_recent))
        irs = self.irs or 0
        return dataclasses.replace(
            self.base,
            flags=flags,
            payload=payload,
            seq=(self.iss + seq) % 2**32,
            ack=0 if ack is None else (irs + ack) % 2**32,
            sack=tuple(((irs + start) % 2**32, (irs + end) % 2**32) for start, end in sack),
            window=fields.pop("window", self.window),
            **fields,
        )

    def send(self, flags: Flags = ACK, payload: bytes = b"", **fields: Any) -> TcpSegment:
        """Send a segment and let the stack answer. Without `seq`, it moves SND.NXT on."""
        moves = "seq" not in fields
        seg = self.make(flags, payload, **fields)
        if moves:
            self.snd_nxt += seg.length
        self.wire.note("->", self._relative(seg, self.iss, self.irs))
        self.wire.send_frame(seg.build())
        return seg

    def icmp(self, about: TcpSegment, kind: int, code: int = 0, *, mtu: int = 0, **wrong: Any) -> None:
        """Have the stack get an ICMP error about a segment that it sent, given in relative numbers."""
        sent = dataclasses.replace(
            about, seq=((self.irs or 0) + about.seq) % 2**32, ack=(self.iss + about.ack) % 2**32, sack=()
        )
        self.wire.send_frame(icmp_error(sent, kind, code, mtu=mtu, **wrong))

    # ---- receiving

    def collect(self, seg: TcpSegment) -> None:
        """Take a segment that the stack sent, in relative numbers."""
        if seg.flags & SYN or self.irs is None:
            self.irs = seg.seq
        relative = self._relative(seg, self.irs, self.iss)
        if relative.seq == self.rcv_nxt:
            self.rcv_nxt += relative.length
        if seg.timestamps is not None:
            self.ts_recent = seg.timestamps[0]
        self.wire.note("<-", relative)
        self.inbox.append((self.wire.now_ns, relative))

    @staticmethod
    def _relative(seg: TcpSegment, own: int | None, other: int | None) -> TcpSegment:
        """The segment with numbers from each side's SYN on; `own` is the sender's."""
        own, other = own or 0, other or 0
        return dataclasses.replace(
            seg,
            seq=(seg.seq - own) % 2**32,
            ack=(seg.ack - other) % 2**32 if seg.flags & ACK else 0,
            sack=tuple(((start - other) % 2**32, (end - other) % 2**32) for start, end in seg.sack),
        )

    def expect(self, flags: Flags | None = None, *, within_ms: float = 1000, **fields: Any) -> TcpSegment:
        """The next segment from the stack, which must come in time with these flags (PSH aside) and fields.

        A field may be a function that judges the value.
        """
        if not self.inbox:
            self.wire.network.run(until=lambda: bool(self.inbox), for_ns=round(within_ms * MS))
        if not self.inbox:
            raise AssertionError(f"nothing within {within_ms} ms; expected {flags!r} {fields}")
        _, seg = self.inbox.popleft()
        if flags is not None and seg.flags & ~PSH != flags & ~PSH:
            raise AssertionError(f"expected {flags!r}, got {describe(seg)}")
        for name, wanted in fields.items():
            got = getattr(seg, name)
            if not (wanted(got) if callable(wanted) else got == wanted):
                raise AssertionError(f"expected {name} {wanted!r}, got {got!r} in {describe(seg)}")
        return seg

    def expect_nothing(self, for_ms: float = 0) -> None:
        """That the stack sends nothing on this flow for a while."""
        self.wire.run(for_ms)
        if self.inbox:
            raise AssertionError(f"expected nothing for {for_ms} ms, got {describe(self.inbox[0][1])}")

    def drain(self) -> list[TcpSegment]:
        """What the stack has sent and nobody expected yet."""
        segments = [seg for _, seg in self.inbox]
        self.inbox.clear()
        return segments

    # ---- the usual openings

    def open(self, *, rtt_ms: float = 0, **options: Any) -> Connection:
        """The handshake of a passive open (RFC 9293 3.5); returns the stack's new connection.

        A `window` is the peer's for all later segments as well. `rtt_ms` is the time that our ACK takes.
        """
        before = len(self.wire.accepted())
        options.setdefault("mss", 1460)
        self.window = options.get("window", self.window)
        self.send(SYN, **options)
        self.expect(SYN | ACK, ack=1)
        self.wire.run(ms=rtt_ms)
        self.send(ACK)
        self.expect_nothing()
        (conn,) = self.wire.accepted()[before:]
        return conn

    def answer(self, **options: Any) -> TcpSegment:
        """The handshake of the stack's active open; returns its SYN."""
        options.setdefault("mss", 1460)
        syn = self.expect(SYN)
        self.send(SYN | ACK, **options)
        self.expect(ACK, seq=1, ack=1)
        return syn
