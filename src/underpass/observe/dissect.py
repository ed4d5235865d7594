"""One line, or one row, for a packet, in the manner of tcpdump."""

import socket
import struct
from typing import Any

from underpass.observe.pcapng_blocks import Packet

VLAN_TYPES = (0x8100, 0x88A8)
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
EXTENSIONS = (0, 43, 60)        # IPv6 headers whose second octet is the length in 8 octets, less one
FLAG_LETTERS = ((0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x20, "U"), (0x10, "."), (0x40, "E"),
                (0x80, "W"))

Row = dict[str, Any]


def row(packet: Packet) -> Row:
    """What the headers say, as far as they are there: never an error, whatever the octets."""
    found: Row = {"length": packet.original}
    try:
        _ethernet(packet.frame, found)
    except (struct.error, IndexError):
        found["cut"] = True
    return found


def _ethernet(frame: bytes, found: Row) -> None:
    (kind,) = struct.unpack_from("!H", frame, 12)
    at = 14
    while kind in VLAN_TYPES:
        tag, kind = struct.unpack_from("!HH", frame, at)
        found["vlan"] = tag & 0xFFF
        at += 4
    if kind == IPV4:
        _ipv4(frame[at:], found)
    elif kind == IPV6:
        _ipv6(frame[at:], found)
    else:
        found["ethertype"] = kind


def _ipv4(packet: bytes, found: Row) -> None:
    found["family"] = 4
    header = (packet[0] & 15) * 4
    total, _, fragment, _, protocol = struct.unpack_from("!HHHBB", packet, 2)
    found["src"], found["dst"] = (_address(socket.AF_INET, packet, at, 4) for at in (12, 16))
    found["protocol"] = protocol
    if fragment & 0x1FFF:
        found["fragment"] = (fragment & 0x1FFF) * 8
    else:
        _payload(protocol, packet[header:], total - header, found)


def _ipv6(packet: bytes, found: Row) -> None:
    found["family"] = 6
    left, protocol = struct.unpack_from("!HB", packet, 4)
    found["src"], found["dst"] = (_address(socket.AF_INET6, packet, at, 16) for at in (8, 24))
    at = 40
    while protocol in EXTENSIONS:
        protocol, length = packet[at], (packet[at + 1] + 1) * 8
        at += length
        left -= length
    found["protocol"] = protocol
    _payload(protocol, packet[at:], left, found)


def _address(family: int, packet: bytes, at: int, octets: int) -> str:
    return socket.inet_ntop(family, _exactly(packet, at, octets))


def _exactly(packet: bytes, at: int, octets: int) -> bytes:
    if len(packet) < at + octets:
        raise IndexError
    return packet[at : at + octets]


def _payload(protocol: int, octets: bytes, length: int, found: Row) -> None:
    if protocol == TCP:
        sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", octets)
        found.update(src_port=sport, dst_port=dport, seq=seq, ack=ack, win=window,
                     flags="".join(letter for bit, letter in FLAG_LETTERS if flags & bit) or "none",
                     length=max(length - (offset >> 4) * 4, 0))
    elif protocol == UDP:
        found["src_port"], found["dst_port"], said = struct.unpack_from("!HHH", octets)
        found["length"] = max(said - 8, 0)
    elif protocol in (ICMP, ICMPV6):
        found["icmp_type"], found["icmp_code"] = _exactly(octets, 0, 2)


def line(found: Row) -> str:
    """The row in words: IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [S], seq 7, win 64240, length 0."""
    tag = f"vlan {found['vlan']}, " if "vlan" in found else ""
    cut = " [cut]" if "cut" in found else ""
    if "src" not in found:
        what = f"ethertype 0x{found['ethertype']:04x}, " if "ethertype" in found else ""
        return f"{tag}{what}length {found['length']}{cut}"
    family = "IP" if found["family"] == 4 else "IP6"
    if "flags" not in found:
        source, to = (f"{found[end]}.{found[f'{end}_port']}" if "src_port" in found else found[end]
                      for end in ("src", "dst"))
        return f"{tag}{family} {source} > {to}: {_other(found)}length {found['length']}{cut}"
    seq, length = found["seq"], found["length"]
    parts = [f"Flags [{found['flags']}]"]
    if length or set(found["flags"]) & set("SFR"):
        parts.append(f"seq {seq}:{(seq + length) & 0xFFFFFFFF}" if length else f"seq {seq}")
    if "." in found["flags"]:
        parts.append(f"ack {found['ack']}")
    parts += [f"win {found['win']}", f"length {length}"]
    return (f"{tag}{family} {found['src']}.{found['src_port']} > {found['dst']}.{found['dst_port']}: "
            f"{', '.join(parts)}{cut}")


def _other(found: Row) -> str:
    if "fragment" in found:
        return f"fragment at {found['fragment']}, "
    if "icmp_type" in found:
        return f"ICMP type {found['icmp_type']}, code {found['icmp_code']}, "
    if "src_port" in found:
        return "UDP, "
    return f"protocol {found['protocol']}, " if "protocol" in found else ""
