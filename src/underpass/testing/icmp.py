"""ICMP errors as frames (RFC 792, RFC 4443 3): what a router, a host or an attacker sends about a segment.

frame = icmp_error(segment, 3, 4, mtu=1400)             # IPv4: fragmentation needed
frame = icmp_error(segment, 2, 0, mtu=1400)             # IPv6: packet too big
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

from underpass.testing.packets import ETHERTYPE_IPV4, ETHERTYPE_IPV6, TcpSegment, checksum

ICMP, ICMPV6 = 1, 58
ETHERNET_BYTES = 14


def quote(segment: TcpSegment) -> bytes:
    """The segment's IP packet as far as routers quote it: 8 octets of TCP in IPv4, all that fits in IPv6."""
    packet = segment.build()[ETHERNET_BYTES + 4 * len(segment.vlan) :]
    return packet[:28] if segment.is_v4 else packet[: 1280 - 48]


def icmp_error(about: TcpSegment | bytes, kind: int, code: int = 0, *, mtu: int = 0, **wrong: Any) -> bytes:
    """The frame of an error about a segment that its sender gets from whoever received it.

    `about` may be what is quoted, as octets; then `segment` says whose. `src` is the router's address, by
    default the segment's destination; `dst` is who gets it. Made wrong can be: `icmp_checksum`, `protocol`,
    `truncate` (octets of the ICMP message that are left, the checksum right), `ip_fragment`, `vlan`.
    """
    segment: TcpSegment = wrong.pop("segment", about)
    quoted = about if isinstance(about, bytes) else quote(about)
    src, dst = wrong.pop("src", segment.dst), wrong.pop("dst", segment.src)
    message = struct.pack("!BBHI", kind, code, 0, mtu) + quoted
    message = message[: wrong.pop("truncate", None)]
    packet = _packet(src, dst, message, wrong)
    vlan = b"".join(struct.pack("!HH", 0x8100, tag) for tag in wrong.pop("vlan", ()))
    kind_of = ETHERTYPE_IPV4 if segment.is_v4 else ETHERTYPE_IPV6
    if wrong:
        raise TypeError(f"an ICMP error has no field {', '.join(wrong)}")
    macs = bytes.fromhex((segment.src_mac + segment.dst_mac).replace(":", ""))
    return macs + vlan + struct.pack("!H", kind_of) + packet


def _packet(src: str, dst: str, message: bytes, wrong: dict[str, Any]) -> bytes:
    one, other = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    v4 = one.version == 4
    pseudo = b"" if v4 else one.packed + other.packed + struct.pack("!II", len(message), ICMPV6)
    filled = wrong.pop("icmp_checksum", checksum(pseudo + message))
    message = message[:2] + struct.pack("!H", filled)[: len(message) - 2] + message[4:]
    protocol = wrong.pop("protocol", ICMP if v4 else ICMPV6)
    if not v4:
        return struct.pack("!IHBB", 6 << 28, len(message), protocol, 64) + one.packed + other.packed + message
    fragment = wrong.pop("ip_fragment", 0)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 7, fragment, 64, protocol, 0)
    header += one.packed + other.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + message
