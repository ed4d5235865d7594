"""What the XDP program does with a frame, in plain Python: no maps, no tricks, a line for each thing asked.

`Model(...).verdict(frame)` is ("DROP", "dropped_denied"), as BPF_PROG_TEST_RUN and the counters say. What
depends on time is in shield_clock.py: rates, connections, and blocks that come of themselves.
"""

import ipaddress
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from underpass.shield.policy import (
    BOGON_NETWORKS,
    MARTIANS,
    Address,
    Network,
    Policy,
    Ports,
    Rule,
    Section,
)
from underpass.testing.packets import checksum

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
VLAN_TYPES, TAGS_MAX = (0x8100, 0x88A8), 2
EXTENSIONS, FRAGMENT, EXTENSIONS_MAX = (0, 43, 60), 44, 6
WHOLE, FIRST, LATER = range(3)
DISCOVERY = {130, 131, 132, 133, 134, 135, 136, 137, 143}
QUOTED_ERRORS = {ICMP: {3, 11, 12}, ICMPV6: {1, 2, 3, 4}}
SUM_AT = {TCP: 16, UDP: 6}              # where the checksum is
SUMMED_MAX, SUMMED_FROM_MAX = 1520, 1023        # octets that are summed, and where they begin at the latest
NO_SOCKET = ("DROP", "dropped_no_socket")


class Refused(Exception):
    """Not for the stack, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Packet:
    """What was understood of a frame."""

    frame: bytes
    other_mac: bool = False
    tags: int = 0
    vlan: int = 0
    version: int = 0
    source: Address | None = None
    to: Address | None = None           # for an error about a segment: where that came from
    protocol: int = 0
    from_port: int | None = None
    port: int | None = None
    flags: int | None = None            # of TCP, where its header is whole
    icmp_type: int = 0
    fragment: int = WHOLE
    error: bool = False
    payload: int = 0
    there: int = 0
    said: int = 0
    ip_at: int = 0                      # offsets of the headers
    transport_at: int = 0
    whose: str = "kernel"
    section: Section | None = None      # that it comes under, where there is one
    allowed: bool = False               # whatever else is said; in dry runs, what would have been dropped

    @property
    def octets(self) -> int:
        """Of the frame."""
        return len(self.frame)

    @property
    def is_discovery(self) -> bool:
        """What IPv6 does not work without."""
        return self.protocol == ICMPV6 and self.icmp_type in DISCOVERY


@dataclass
class Model:
    """A host with a policy. `claims` are addresses with ports; `lists` has the networks of each list.

    `tallied` has packets and octets by ("rules", name), ("lists", name), ("dropped", section, reason) and
    ("would_drop", section, reason), as `Shield.stats`.
    """

    mac: bytes
    policy: Policy | None = None
    claims: set[tuple[Address, int]] = field(default_factory=set)
    addresses: set[Address] = field(default_factory=set)
    flows: Ports = (1, 0)
    blocks: Mapping[Network, str] = field(default_factory=dict)
    lists: Mapping[str, Sequence[Network]] = field(default_factory=dict)
    has_socket: Callable[[Address, int], bool] = lambda address, port: False
    chosen_ports: Ports = (32768, 60999)
    tallied: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)

    def verdict(self, frame: bytes) -> tuple[str, str]:
        """What becomes of a frame, and the counter that says why."""
        packet = Packet(frame)
        refused = ""
        try:
            self._parse(frame, packet)
        except Refused as why:
            refused = why.reason
        if not refused and packet.fragment != LATER:
            packet.whose = self._whose(packet)
        said = self._filter(packet, refused) or self._limited(packet)
        if said is not None:
            return "DROP", said
        return ("PASS", refused) if refused else self._deliver(packet)

    def _limited(self, packet: Packet) -> str | None:
        """The reason to drop it, by what came before it."""
        return None

    def _begins_too_many(self, packet: Packet) -> str | None:
        """The reason to drop a segment to a claimed port, by what came before it."""
        return None

    # the parsers

    def _parse(self, frame: bytes, packet: Packet) -> None:
        if len(frame) < 14:
            raise Refused("passed_malformed")
        packet.other_mac = frame[:6] != self.mac
        (kind,) = struct.unpack_from("!H", frame, 12)
        at = 14
        while kind in VLAN_TYPES and packet.tags < TAGS_MAX:
            if at + 4 > len(frame):
                raise Refused("passed_malformed")
            control, kind = struct.unpack_from("!HH", frame, at)
            if packet.tags == 0:
                packet.vlan = control & 0xFFF
            packet.tags, at = packet.tags + 1, at + 4
        try:
            if kind == 0x0800:
                self._parse_ipv4(frame, at, packet)
            elif kind == 0x86DD:
                self._parse_ipv6(frame, at, packet)
            else:
                raise Refused("passed_not_ip")
        except Refused as why:
            raise Refused("passed_other_mac" if packet.other_mac else why.reason) from None
        if packet.other_mac:
            raise Refused("passed_other_mac")

    def _parse_ipv4(self, frame: bytes, at: int, packet: Packet) -> None:
        if at + 20 > len(frame) or frame[at] >> 4 != 4 or frame[at] & 15 < 5:
            raise Refused("passed_malformed")
        words, total, offset = frame[at] & 15, *struct.unpack_from("!HxxH", frame, at + 2)
        if at + words * 4 > len(frame):
            raise Refused("passed_malformed")
        packet.version, packet.ip_at, packet.source = 4, at, ipaddress.IPv4Address(frame[at + 12 : at + 16])
        packet.to = ipaddress.IPv4Address(frame[at + 16 : at + 20])
        packet.payload, packet.there = total - words * 4, len(frame) - at - words * 4
        packet.fragment = WHOLE if not offset & 0x3FFF else LATER if offset & 0x1FFF else FIRST
        self._parse_transport(frame, at + words * 4, frame[at + 9], packet)

    def _parse_ipv6(self, frame: bytes, at: int, packet: Packet) -> None:
        if at + 40 > len(frame) or frame[at] >> 4 != 6:
            raise Refused("passed_malformed")
        packet.version, packet.ip_at, packet.source = 6, at, ipaddress.IPv6Address(frame[at + 8 : at + 24])
        packet.to = ipaddress.IPv6Address(frame[at + 24 : at + 40])
        (packet.payload,) = struct.unpack_from("!H", frame, at + 4)
        kind, at = frame[at + 6], at + 40
        packet.there = len(frame) - at
        for _ in range(EXTENSIONS_MAX):
            if packet.fragment == LATER or kind not in (*EXTENSIONS, FRAGMENT):
                self._parse_transport(frame, at, kind, packet)
                return
            if at + 8 > len(frame):
                raise Refused("passed_malformed")
            size = 8 if kind == FRAGMENT else 8 + frame[at + 1] * 8
            if at + size > len(frame):
                raise Refused("passed_malformed")
            packet.payload, packet.there = packet.payload - size, packet.there - size
            if kind == FRAGMENT:
                (offset,) = struct.unpack_from("!H", frame, at + 2)
                packet.fragment = WHOLE if not offset & 0xFFF9 else LATER if offset & 0xFFF8 else FIRST
            kind, at = frame[at], at + size
        if kind in (*EXTENSIONS, FRAGMENT):
            raise Refused("passed_extensions")
        self._parse_transport(frame, at, kind, packet)

    def _parse_transport(self, frame: bytes, at: int, protocol: int, packet: Packet) -> None:
        packet.protocol = protocol
        if packet.fragment == LATER:
            if protocol != TCP:
                raise Refused("passed_not_tcp")
        elif protocol == TCP:
            if at + (8 if packet.fragment else 20) > len(frame):
                raise Refused("passed_malformed")
            packet.transport_at = at
            packet.from_port, packet.port = struct.unpack_from("!HH", frame, at)
            if not packet.fragment:
                packet.said, packet.flags = (frame[at + 12] >> 4) * 4, frame[at + 13]
        elif protocol in (ICMP, ICMPV6):
            self._parse_icmp(frame, at, packet)
        else:
            if protocol == UDP and at + 8 <= len(frame):
                packet.transport_at = at
                packet.from_port, packet.port, packet.said = struct.unpack_from("!HHH", frame, at)
            raise Refused("passed_not_tcp")

    def _parse_icmp(self, frame: bytes, at: int, packet: Packet) -> None:
        """An error about a segment of ours is about where that came from."""
        if at + 8 <= len(frame):
            packet.icmp_type = frame[at]
        if at + 8 > len(frame) or packet.fragment or frame[at] not in QUOTED_ERRORS[packet.protocol]:
            raise Refused("passed_not_tcp")
        at += 8
        if packet.protocol == ICMP:
            is_there = at + 20 <= len(frame) and frame[at] >> 4 == 4 and frame[at] & 15 >= 5
            if not is_there or frame[at + 9] != TCP or struct.unpack_from("!H", frame, at + 6)[0] & 0x1FFF:
                raise Refused("passed_not_tcp")
            source: Address = ipaddress.IPv4Address(frame[at + 12 : at + 16])
            at, header = at + (frame[at] & 15) * 4, at
            if at > len(frame):
                raise Refused("passed_not_tcp")
            packet.to = source
        else:
            if at + 40 > len(frame) or frame[at] >> 4 != 6 or frame[at + 6] != TCP:
                raise Refused("passed_not_tcp")
            header = at
            packet.to, at = ipaddress.IPv6Address(frame[header + 8 : header + 24]), at + 40
        if at + 8 > len(frame):
            raise Refused("passed_not_tcp")
        self._quote(frame, at, packet)

    @staticmethod
    def _quote(frame: bytes, at: int, packet: Packet) -> None:
        (packet.port,) = struct.unpack_from("!H", frame, at)
        packet.error = True

    # whose it is

    def _whose(self, packet: Packet) -> str:
        assert packet.to is not None
        if (mapped(packet.to), packet.port) in {(mapped(it), port) for it, port in self.claims}:
            return "claimed"
        first, last = self.flows
        ours = mapped(packet.to) in set(map(mapped, self.addresses))
        return "flow" if packet.port is not None and first <= packet.port <= last and ours else "kernel"

    def _deliver(self, packet: Packet) -> tuple[str, str]:
        if packet.fragment == FIRST and packet.whose != "kernel":
            return "DROP", "dropped_first_fragment"
        if packet.fragment:
            known = {mapped(it) for it in self.addresses} | {mapped(it) for it, _ in self.claims}
            assert packet.to is not None
            return "PASS", "passed_fragment" if mapped(packet.to) in known else "passed_unclaimed"
        if packet.whose == "kernel":
            return "PASS", "passed_not_tcp" if packet.error else "passed_unclaimed"
        said = self._begins_too_many(packet) if packet.whose == "claimed" and not packet.error else None
        return NO_SOCKET if said is None else ("DROP", said)

    # the filters

    def _filter(self, packet: Packet, refused: str) -> str | None:
        """The reason to drop it."""
        if self.policy is None:
            return None
        section = self._section(packet)
        if section is None:
            return None
        packet.section = section
        why = self._judge(packet, section, refused)
        if why:
            self._tally(packet, "would_drop" if section.dry_run else "dropped", section.name, why)
        packet.allowed |= section.dry_run and why is not None
        return None if section.dry_run else why

    def _tally(self, packet: Packet, *of: str) -> None:
        packets, octets = self.tallied.get(of, (0, 0))
        self.tallied[of] = packets + 1, octets + packet.octets

    def _section(self, packet: Packet) -> Section | None:
        assert self.policy is not None
        if packet.whose == "kernel":
            return self.policy.interface
        if packet.whose == "claimed":
            for address in (packet.to, None):
                for it in self.policy.service:
                    if it.port == packet.port and it.address == address:
                        return it.section
        return self.policy.services

    def _judge(self, packet: Packet, section: Section, refused: str) -> str | None:
        why = misformed(packet, section, refused)
        if why or not packet.version:
            return why
        assert packet.source is not None
        if is_bogon(packet, section):
            return "dropped_bogon"
        by_hand = max((("", "block", "allow").index(kind) for network, kind in self.blocks.items()
                       if within(packet.source, [network])), default=0)
        if by_hand == 2:
            packet.allowed = True
            return None
        packet.allowed = any(within(packet.source, self.lists[name]) for name in section.allow)
        decided, why = self._ordered(packet, section)
        if why:
            return why
        if by_hand and not packet.allowed:
            return "dropped_blocked"
        why = None if decided else self._by_port(packet, section)
        is_summed = section.checksums and not packet.allowed
        return why or ("dropped_checksum" if is_summed and is_damaged(packet) else None)

    def _ordered(self, packet: Packet, section: Section) -> tuple[bool, str | None]:
        """Whether lists or rules decide, and the reason to drop it."""
        assert packet.source is not None
        for word in section.order:
            if word == "allow" and packet.allowed:
                return True, None
            denied = [name for name, networks in self.lists.items()
                      if name in section.deny and within(packet.source, networks)]
            if word == "deny" and denied:
                self._tally(packet, "lists", denied[0])
                return True, "dropped_denied"
            for rule in section.rules if word == "rules" else ():
                if not self._fits(packet, rule):
                    continue
                self._tally(packet, "rules", rule.name)
                if rule.action != "count":
                    return True, "dropped_rule" if rule.action == "drop" else None
        return False, None

    def _fits(self, packet: Packet, rule: Rule) -> bool:
        assert packet.source is not None
        assert packet.to is not None
        has_ports = packet.port is not None and not packet.error
        return all((
            rule.version in (None, packet.version), rule.protocol in (None, packet.protocol),
            not rule.sources or within(packet.source, rule.sources),
            not rule.destinations or within(packet.to, rule.destinations),
            not rule.source_lists or any(within(packet.source, self.lists[it]) for it in rule.source_lists),
            not rule.source_ports or (has_ports and between(packet.from_port, rule.source_ports)),
            not rule.ports or (has_ports and between(packet.port, rule.ports)),
            rule.vlan in (None, packet.vlan if packet.tags else 0),
            rule.flags is None or (packet.flags is not None
                                   and packet.flags & rule.flags[0] == rule.flags[1])))

    def _by_port(self, packet: Packet, section: Section) -> str | None:
        has_port = packet.port is not None and not packet.error
        kernels = packet.whose == "kernel"
        is_open = has_port and between(packet.port, section.udp_ports if packet.protocol == UDP
                                       else section.tcp_ports or ())
        if packet.protocol == UDP and has_port and between(packet.port, section.closed_udp_ports):
            return "dropped_port"
        is_reply = packet.protocol == UDP and has_port and self._is_reply(packet, section)
        if packet.protocol in section.drop and kernels and not packet.error and not packet.is_discovery and \
                not (packet.protocol == UDP and (is_open or is_reply)):
            return "dropped_protocol"
        begins = packet.flags is not None and packet.flags & (SYN | ACK) == SYN
        if packet.protocol == TCP and kernels and has_port and between(packet.port, section.closed_tcp_ports):
            return "dropped_port"
        if packet.protocol == TCP and kernels and section.tcp_ports is not None and begins and not is_open:
            return "dropped_port"
        if section.default == "pass" or packet.error or packet.is_discovery or packet.whose == "flow":
            return None
        goes_on = kernels and packet.flags is not None and packet.flags & (ACK | RST) != 0
        return None if kernels and (is_open or is_reply or goes_on) else "dropped_default"

    def _is_reply(self, packet: Packet, section: Section) -> bool:
        assert packet.to is not None
        assert packet.port is not None
        first, last = self.chosen_ports
        is_chosen = first <= packet.port <= last
        return section.udp_replies and is_chosen and self.has_socket(packet.to, packet.port)


def mapped(address: Address) -> int:
    """As 128 bits; IPv4 is ::ffff:a.b.c.d."""
    return int(address) if address.version == 6 else int(address) | 0xFFFF << 32


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks has it."""
    return any(address.version == it.version and address in it for it in networks)


def between(port: int | None, ranges: Iterable[Ports]) -> bool:
    """Whether one of the ranges has it."""
    return port is not None and any(first <= port <= last for first, last in ranges)


def misformed(packet: Packet, section: Section, refused: str) -> str | None:
    """What is wrong with it whoever sent it."""
    if section.vlans is not None and (packet.vlan if packet.tags else 0) not in section.vlans:
        return "dropped_vlan"
    if section.lengths and is_length_wrong(packet, refused):
        return "dropped_length"
    if packet.fragment and (section.fragments == "drop"
                            or (section.fragments == "first" and packet.fragment == LATER)):
        return "dropped_fragment"
    if section.tcp_flags and packet.protocol == TCP and packet.flags is not None and cannot_be(packet.flags):
        return "dropped_flags"
    return None


def is_length_wrong(packet: Packet, refused: str) -> bool:
    """Lengths that contradict each other."""
    if refused == "passed_malformed" or packet.payload < 0 or packet.payload > packet.there:
        return True
    if packet.protocol == UDP and packet.port is not None:
        return packet.said < 8 or (not packet.fragment and packet.said > packet.payload)
    return packet.flags is not None and (packet.said < 20 or packet.said > packet.payload)


def cannot_be(flags: int) -> bool:
    """No segment has them."""
    if not flags & (SYN | RST | ACK):
        return True
    return bool((flags & SYN and flags & (FIN | RST)) or (flags & FIN and flags & RST))


def is_damaged(packet: Packet) -> bool:
    """A checksum is wrong: of IPv4's header, or of a TCP segment or a datagram that is whole and not longer
    than is summed. One that was left to the device, the sum of the pseudo-header alone, is right.
    """
    frame, at, size = packet.frame, packet.transport_at, packet.payload
    if packet.version == 4 and checksum(frame[packet.ip_at : packet.ip_at + (frame[packet.ip_at] & 15) * 4]):
        return True
    if packet.fragment or packet.error or not 0 < at <= SUMMED_FROM_MAX:
        return False
    if not 0 <= size <= SUMMED_MAX or at + size > len(frame):
        return False
    (said,) = struct.unpack_from("!H", frame, at + SUM_AT[packet.protocol])
    if packet.protocol == UDP and said == 0:
        return packet.version == 6
    assert packet.source is not None
    assert packet.to is not None
    pseudo = packet.source.packed + packet.to.packed + struct.pack("!II", size, packet.protocol)
    return checksum(pseudo) ^ 0xFFFF != said and checksum(pseudo + frame[at : at + size]) != 0


def is_bogon(packet: Packet, section: Section) -> bool:
    """From nowhere."""
    assert packet.source is not None
    assert packet.to is not None
    if section.bogons == "off" or packet.is_discovery or (packet.protocol == UDP and packet.port == 67):
        return False
    martian = within(packet.source, map(ipaddress.ip_network, MARTIANS))
    to_itself = not packet.error and mapped(packet.source) == mapped(packet.to)
    return martian or to_itself or (section.bogons == "all"
                                    and within(packet.source, map(ipaddress.ip_network, BOGON_NETWORKS)))
