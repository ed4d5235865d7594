"""The checker on the wire: that what a host sends keeps to the rules of TCP, whatever it was sent.

It sees what passed a host's interface, both ways, and keeps for each connection what the host has sent, and
what has reached it. Every rule is about a segment that the host sent:

    numbers     no octet is left out (RFC 9293 3.4), sent differently (3.8.1), or sent behind the FIN (3.6)
    windows     nothing goes beyond the edge that the peer offered, but for a probe of one octet (3.8.6);
                our own edge never moves back (3.8.6.2.1)
    acks        nothing is acknowledged, or reported by SACK (RFC 2018 4), that did not come; none moves back
    timestamps  never move back, are never left out once agreed on (RFC 7323 3.2), echo only what came (4.3)
    sizes       options counted, no segment is larger than the peer's MSS (RFC 6691 2)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from underpass.testing.capture import read_capture
from underpass.testing.clock import MS
from underpass.testing.packets import Flags, TcpSegment, encode_options
from underpass.testing.peer import describe

ACK, FIN, RST, SYN, URG = Flags.ACK, Flags.FIN, Flags.RST, Flags.SYN, Flags.URG
HALF = 2**31
# Octets beyond the window's edge up to which a segment may reach that has some within it.
OVERSHOOT = 65536
DEFAULT_MSS = {True: 536, False: 1220}


class MisconductError(AssertionError):
    """A host broke a rule of TCP."""


class Spans:
    """Octets of a stream that are there: spans in order, none touching the next."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Octets `start` up to `end` are there."""
        if start >= end:
            return
        touching = [span for span in self.spans if span[0] <= end and span[1] >= start]
        apart = [span for span in self.spans if span not in touching]
        start, end = min([start, *(s for s, _ in touching)]), max([end, *(e for _, e in touching)])
        self.spans = sorted([*apart, (start, end)])

    def holds(self, start: int, end: int) -> bool:
        """Whether all of them are there."""
        return any(first <= start and end <= last for first, last in self.spans)

    @property
    def contiguous(self) -> int:
        """Behind the last octet that is there with all before it."""
        return self.spans[0][1] if self.spans and self.spans[0][0] == 0 else 0


@dataclass
class Side:
    """One direction of a connection; numbers count from its SYN, which is 0."""

    iss: int | None = None
    scale: int | None = None            # of its windows, where its SYN offered to scale
    mss: int | None = None
    timestamps: bool = False
    octets: bytearray = field(default_factory=bytearray)
    highest: int = 0                    # behind everything sent
    fin: int | None = None
    edge: int = 0                       # of the window that it offered, the farthest
    ack: int = 0
    ts_values: set[int] = field(default_factory=set)
    ts_last: int | None = None
    arrived: Spans = field(default_factory=Spans)

    def relative(self, number: int) -> int:
        """A sequence number of this side as an offset from its SYN, near the present end."""
        offset = (number - (self.iss or 0) - self.highest + HALF) % 2**32 - HALF
        return self.highest + offset


class Conversation:
    """One connection as a host sees it; `own` is its side."""

    def __init__(self) -> None:
        self.own = Side()
        self.peer = Side()

    @property
    def scaled(self) -> bool:
        """Whether both SYNs offered window scaling (RFC 7323 2.2)."""
        return self.own.scale is not None and self.peer.scale is not None

    def _window(self, side: Side, seg: TcpSegment) -> int:
        return seg.window << (side.scale or 0) if self.scaled and not seg.flags & SYN else seg.window

    def received(self, seg: TcpSegment) -> None:
        """Note what reached the host."""
        peer, own = self.peer, self.own
        if seg.flags & SYN and own.ack and peer.iss != seg.seq:
            return                      # the handshake was over: an answer to a SYN that came late
        if seg.flags & SYN:
            self._begin(peer, seg)
        if peer.iss is None or seg.flags & RST:
            return
        start = peer.relative(seg.seq)
        if start > own.edge + OVERSHOOT:
            return                      # far from the window: of another incarnation
        peer.arrived.add(max(start, 0), start + seg.length)
        peer.highest = max(peer.highest, start + seg.length)
        if seg.flags & FIN:
            peer.fin = start + seg.length - 1
        if seg.timestamps is not None:
            peer.ts_values.add(seg.timestamps[0])
        if seg.flags & SYN and not seg.flags & ACK:
            peer.edge = max(peer.edge, 1 + seg.window)      # RFC 7413 4.2.2: what an answer to it may fill
        elif seg.flags & ACK and own.iss is not None:
            peer.edge = max(peer.edge, own.relative(seg.ack) + self._window(peer, seg))

    @staticmethod
    def _begin(side: Side, seg: TcpSegment) -> None:
        if side.iss not in {None, seg.seq}:
            side.highest, side.fin, side.octets, side.ack, side.edge = 0, None, bytearray(), 0, 0
        side.iss, side.scale, side.mss = seg.seq, seg.window_scale, seg.mss
        side.timestamps = seg.timestamps is not None

    def sent(self, seg: TcpSegment) -> None:
        """Hold a segment that the host sent to the rules."""
        own, peer = self.own, self.peer
        if seg.flags & URG:
            raise MisconductError("it is marked urgent")
        if seg.flags & SYN:
            self._begin(own, seg)
        elif own.iss is None or seg.flags & RST:
            return                      # a reset for nobody's segment, or the end of the connection
        elif not seg.flags & ACK:
            raise MisconductError("it acknowledges nothing (RFC 9293 3.10.7.4)")
        self._check_numbers(own, peer, seg)
        self._check_timestamps(own, peer, seg)
        if seg.flags & ACK and peer.iss is not None:
            self._check_ack(own, peer, seg)

    def _check_numbers(self, own: Side, peer: Side, seg: TcpSegment) -> None:
        start = own.relative(seg.seq)
        end = start + seg.length
        if start > own.highest:
            raise MisconductError(f"octets {own.highest} to {start} were left out")
        if own.fin is not None and (end > own.fin + 1 or (seg.flags & FIN and end != own.fin + 1)):
            raise MisconductError(f"the FIN stood at {own.fin}")
        first = start + bool(seg.flags & SYN)
        self._check_octets(own, first, seg.payload)
        if seg.flags & FIN:
            own.fin = end - 1
        own.highest = max(own.highest, end)
        if peer.iss is not None and seg.payload and end - bool(seg.flags & FIN) > peer.edge + 1:
            raise MisconductError(f"the peer's window ends at {peer.edge}")
        longest = peer.mss or DEFAULT_MSS[seg.is_v4]
        if len(seg.payload) + len(encode_options(seg)) > longest and not seg.flags & SYN:
            raise MisconductError(f"the peer takes {longest} octets at most")

    def _check_octets(self, own: Side, first: int, payload: bytes) -> None:
        """The same numbers always carry the same octets; before the first number there is nothing."""
        at = first - 1
        if at < 0 and payload:
            raise MisconductError("a payload before the SYN")
        known = own.octets[at : at + len(payload)] if payload else b""
        if known != payload[: len(known)]:
            raise MisconductError("octets differ from those sent before under the same numbers")
        own.octets += payload[len(known) :]

    def _check_ack(self, own: Side, peer: Side, seg: TcpSegment) -> None:
        ack = peer.relative(seg.ack)
        if ack > peer.arrived.contiguous:
            raise MisconductError(f"only {peer.arrived.contiguous} octets of the peer came")
        if ack < own.ack:
            raise MisconductError(f"{own.ack} was acknowledged before")
        own.ack = ack
        edge = ack + self._window(own, seg)
        # RFC 7323 2.2: the window of a SYN has no scale, and a challenge ACK may have told of more meanwhile.
        if edge < own.edge and (peer.fin is None or ack <= peer.fin) and not seg.flags & SYN:
            raise MisconductError(f"the window's edge was at {own.edge} before, {edge} now")
        own.edge = max(own.edge, edge)
        for left, right in seg.sack:
            start, end = peer.relative(left), peer.relative(right)
            if not start < end or not peer.arrived.holds(start, end):
                raise MisconductError(f"the SACK block {start} to {end} is of what did not come")

    def _check_timestamps(self, own: Side, peer: Side, seg: TcpSegment) -> None:
        agreed = own.timestamps and (peer.timestamps or not seg.flags & ACK)
        if peer.iss is not None and agreed != (seg.timestamps is not None):
            raise MisconductError(f"timestamps were {'' if agreed else 'not '}agreed on")
        if seg.timestamps is None:
            return
        value, echo = seg.timestamps
        if own.ts_last is not None and (value - own.ts_last) % 2**32 >= HALF:
            raise MisconductError(f"the timestamp was {own.ts_last} before")
        own.ts_last = value
        if seg.flags & ACK and echo not in peer.ts_values:
            raise MisconductError(f"the peer never sent the timestamp {echo}")


class Conduct:
    """All conversations of one host, from what passed its interface."""

    def __init__(self) -> None:
        self.talks: dict[tuple[str, int, int], Conversation] = {}
        self.checked = 0

    def see(self, frame: bytes, is_sent: bool) -> None:
        """One frame. Damaged ones that came are as good as lost; what is not TCP is passed over."""
        try:
            seg = TcpSegment.parse(frame)
        except ValueError:
            if is_sent:
                raise MisconductError("it is malformed") from None
            return
        if is_sent:
            key = (seg.dst, seg.dst_port, seg.src_port)
            self._talk(key, seg, is_sent).sent(seg)
            self.checked += 1
        else:
            key = (seg.src, seg.src_port, seg.dst_port)
            self._talk(key, seg, is_sent).received(seg)

    def _talk(self, key: tuple[str, int, int], seg: TcpSegment, is_sent: bool) -> Conversation:
        """The conversation that a segment belongs to: a SYN of another number begins a new one."""
        talk = self.talks.setdefault(key, Conversation())
        side = talk.own if is_sent else talk.peer
        if seg.flags & SYN and side.iss not in (None, seg.seq) and not seg.flags & ACK:
            talk = self.talks[key] = Conversation()
        return talk


def check_conduct(path: str | os.PathLike[str]) -> int:
    """Hold everything in a host's capture file to the rules; returns how many segments the host sent.

    Raises MisconductError that says which segment broke which rule.
    """
    conduct = Conduct()
    start_ns: int | None = None
    for number, packet in enumerate(read_capture(path), 1):
        start_ns = packet.at_ns if start_ns is None else start_ns
        try:
            conduct.see(packet.frame, packet.is_sent)
        except MisconductError as wrong:
            text = describe(TcpSegment.parse(packet.frame, verify=False))
            at = f"packet {number}, {(packet.at_ns - start_ns) / MS:.3f} ms"
            raise MisconductError(f"{at}: {text}: {wrong}") from None
    return conduct.checked
