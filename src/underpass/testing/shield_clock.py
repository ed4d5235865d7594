"""What the XDP program does that depends on time, in plain Python: rates, new connections, heavy senders.

The program reads a clock that nobody else can read at the same moment. So the model is told a span that this
moment lies in, and reckons with both ends; where they come to different ends, it takes what the program did
for given, and counts that (`unsure`). Sources are kept for ever: a test has few.
"""

import ipaddress
from dataclasses import dataclass, field

from underpass.shield.policy import Address, Network, Rate
from underpass.testing.shield_model import ACK, SYN, Model, Packet

SECOND = 256 * 10**9                    # in the program's units
LARGEST = 1522                          # octets that may always come, whatever the burst
WINDOW_BITS = 30                        # of nanoseconds: heavy senders are counted in windows
NOTED = 64                              # one packet of so many of a source is looked at

Span = tuple[int, int]                  # earliest and latest
Key = tuple[str, int, str, Network | None]


@dataclass
class TimedModel(Model):
    """A `Model` whose `policy` may have rates and detection; blocks that are not its own are in `blocks`."""

    unsure: int = 0
    found: dict[Network, str] = field(default_factory=dict)     # blocked as heavy
    refused_blocks: int = 0
    _even: dict[Key, Span] = field(default_factory=dict)
    _sent: dict[tuple[int, Network], int] = field(default_factory=dict)
    _now: Span = (0, 0)
    _happened: str = ""

    def verdict_at(self, frame: bytes, now_ns: Span, happened: tuple[str, str]) -> tuple[str, str]:
        """As `verdict`, for a frame that was looked at within `now_ns`, of which `happened` became."""
        self._now, self._happened = now_ns, happened[1]
        self.blocks = {**self.blocks, **self.found}
        return self.verdict(frame)

    def _limited(self, packet: Packet) -> str | None:
        if self.policy is None or not packet.version:
            return None
        self._detect(packet)
        if packet.section is None or packet.allowed:
            return None
        return self._first(packet, [it for it in packet.section.rates if it.of_packets], "sent")

    def _begins_too_many(self, packet: Packet) -> str | None:
        if packet.section is None or packet.allowed or not begins(packet):
            return None
        return self._first(packet, [it for it in packet.section.rates if it.of_connections], "begun")

    def _first(self, packet: Packet, rates: list[Rate], what: str) -> str | None:
        """The reason by the first of the rates that says anything."""
        assert packet.section is not None
        for number, rate in enumerate(rates):
            reason = "dropped_new_connections" if what == "begun" else f"dropped_{rate.per}_rate"
            place = (packet.section.name, number, what)
            if not self._is_too_much(packet, rate, place, self._happened == reason):
                continue
            if packet.section.dry_run:
                packet.allowed = True
                return None
            return reason
        return None

    def _is_too_much(self, packet: Packet, rate: Rate, place: tuple[str, int, str], happened: bool) -> bool:
        """ITU-T I.371, virtual scheduling, with a clock that is known to a span."""
        costs = costs_of(packet, rate) if place[2] == "sent" else begin_cost(rate)
        source = None if rate.per == "service" else prefix(packet.source, rate.v4, rate.v6)
        burst = burst_of(rate, place[2])
        first, last = self._now[0] << 8, self._now[1] << 8
        after: dict[Key, Span] = {}
        most, least = 0, 0
        for kind, cost in costs.items():
            key = (place[0], place[1], f"{place[2]} {kind}", source)
            before = self._even.get(key, (0, 0))
            after[key] = (max(before[0], first) + cost, max(before[1], last) + cost)
            most, least = max(most, after[key][1] - first), max(least, after[key][0] - last)
        if least > burst:
            return True
        if most > burst:
            self.unsure += 1
            if happened:
                return True
        self._even.update(after)
        return False

    def _detect(self, packet: Packet) -> None:
        """A source that has sent more than it may in this window is blocked from the next packet on."""
        assert self.policy is not None
        by = self.policy.detection
        if by is None:
            return
        windows = {at >> WINDOW_BITS for at in self._now}
        if len(windows) > 1:
            raise TimeoutError("a window of heavy senders has ended meanwhile")
        source = prefix(packet.source, by.v4, by.v6)
        key = (windows.pop(), source)
        sent = self._sent[key] = self._sent.get(key, 0) + 1
        if sent <= by.packets or (sent - by.packets) % NOTED != 1 or not by.block_s or by.dry_run:
            return
        if packet.section is None or packet.allowed or source in self.found:
            return
        if len(self.found) < by.blocks:
            self.found[source] = "block"
        else:
            self.refused_blocks += 1


def begins(packet: Packet) -> bool:
    """Whether it is a SYN."""
    return packet.flags is not None and packet.flags & (SYN | ACK) == SYN


def prefix(source: Address | None, v4: int, v6: int) -> Network:
    """The source's network."""
    assert source is not None
    return ipaddress.ip_network((source, v4 if source.version == 4 else v6), strict=False)


def step_of(a_second: int) -> int:
    """How far one of so many a second moves the sender's time, in units of 2^-16."""
    return max(1, (SECOND << 16) // a_second)


def costs_of(packet: Packet, rate: Rate) -> dict[str, int]:
    """How far a packet moves the sender's time, for each thing that the rate counts and the packet is."""
    units = (("packets", rate.packets, 1), ("syns", rate.syns, int(begins(packet))),
             ("octets", rate.octets, packet.octets))
    costs = {kind: many * step_of(limit) >> 16 for kind, limit, many in units if limit is not None}
    return {kind: cost for kind, cost in costs.items() if cost}


def begin_cost(rate: Rate) -> dict[str, int]:
    """The same for a connection that begins."""
    return {} if rate.new is None else {"new": step_of(rate.new) >> 16}


def burst_of(rate: Rate, what: str) -> int:
    """How far a sender may be ahead of the clock."""
    sent = ((rate.packets, 1), (rate.syns, 1), (rate.octets, LARGEST))
    counted = sent if what == "sent" else ((rate.new, 1),)
    least = [step_of(limit) * many >> 16 for limit, many in counted if limit is not None]
    return max([int(rate.burst * SECOND), *least])
