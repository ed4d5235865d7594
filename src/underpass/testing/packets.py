"""Segments as frames, built and parsed in plain Python: the reference for the native parsers.

frame = TcpSegment(src="10.0.0.1", dst="10.0.0.2", flags=Flags.SYN, mss=1460).build()
bad = TcpSegment(flags=Flags.SYN).build(data_offset=4)          # any field can be made wrong
seg = TcpSegment.parse(frame)
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import struct
from dataclasses import dataclass
from typing import Any

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_VLAN = 0x8100
PROTOCOL_TCP = 6


class Flags(enum.IntFlag):
    """Control bits of the TCP header (RFC 9293 3.1)."""

    NONE = 0
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


def checksum(octets: bytes, total: int = 0) -> int:
    """The Internet checksum of RFC 1071, word by word as it stands there; odd lengths get a zero octet."""
    padded = octets + bytes(len(octets) % 2)
    total += sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(src: str, dst: str, tcp_bytes: int) -> bytes:
    """The octets that the TCP checksum covers beside the segment (RFC 9293 3.1, RFC 8200 8.1)."""
    one, other = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    form = "!HH" if one.version == 4 else "!II"
    return one.packed + other.packed + struct.pack(form, *_protocol_and_length(one.version, tcp_bytes))


def _protocol_and_length(version: int, tcp_bytes: int) -> tuple[int, int]:
    return (PROTOCOL_TCP, tcp_bytes) if version == 4 else (tcp_bytes, PROTOCOL_TCP)


def extension_header(next_header: int, content: bytes = b"") -> bytes:
    """An IPv6 hop-by-hop, routing or destination options header (RFC 8200 4), padded to eight octets."""
    pad = -(len(content) + 2) % 8
    padding = b"" if pad == 0 else b"\0" if pad == 1 else bytes([1, pad - 2]) + bytes(pad - 2)
    body = content + padding
    return bytes([next_header, (len(body) + 2) // 8 - 1]) + body


@dataclass
class TcpSegment:
    """One segment with all that surrounds it. Sequence numbers are absolute, lengths in octets."""

    src: str = "10.0.0.1"
    dst: str = "10.0.0.2"
    src_port: int = 40000
    dst_port: int = 80
    seq: int = 0
    ack: int = 0
    flags: Flags = Flags.ACK
    window: int = 65535
    urgent: int = 0
    payload: bytes = b""
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None  # TSval, TSecr
    sack: tuple[tuple[int, int], ...] = ()  # start, end of each block
    fast_open: bytes | None = None  # cookie (RFC 7413), empty: the request for one
    src_mac: str = "02:00:00:00:00:01"
    dst_mac: str = "02:00:00:00:00:02"
    vlan: tuple[int, ...] = ()  # tag control information, the outer tag first
    hop_limit: int = 64
    traffic_class: int = 0

    @property
    def is_v4(self) -> bool:
        """Whether this travels in IPv4."""
        return ipaddress.ip_address(self.src).version == 4

    @property
    def length(self) -> int:
        """SEG.LEN (RFC 9293 3.4): payload octets, SYN and FIN counted."""
        return len(self.payload) + bool(self.flags & Flags.SYN) + bool(self.flags & Flags.FIN)

    @property
    def end(self) -> int:
        """The sequence number that acknowledges all of this segment."""
        return (self.seq + self.length) % 2**32

    def build(self, **wrong: Any) -> bytes:
        """The frame. Any field of this class can be overridden, and so can what is else derived:

        `ethertype`, `tag_type`, `padding` (octets after the packet); `ip_version`, `ip_header_words`,
        `ip_total_length` (IPv6: the payload length), `ip_checksum`, `ip_fragment` (flags and offset),
        `ip_options`, `protocol`, `extensions` (pairs of header number and octets, see `extension_header`);
        `options` (raw octets), `data_offset` (words), `tcp_checksum`, `partial_checksum=True`;
        `truncate` (octets of the frame that are left).
        """
        known = {field.name for field in dataclasses.fields(self)}
        own = {name: wrong.pop(name) for name in list(wrong) if name in known}
        return _Builder(dataclasses.replace(self, **own), wrong).frame()

    @classmethod
    def parse(cls, frame: bytes, *, verify: bool = True) -> TcpSegment:
        """The segment in a frame. Raises ValueError for what is not TCP or has a wrong checksum."""
        return _Parser(frame, verify).segment()


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def encode_options(seg: TcpSegment) -> bytes:
    """The segment's options, each aligned to four octets by NOPs in front (RFC 7323 appendix A)."""
    out = b""
    if seg.mss is not None:
        out += struct.pack("!BBH", 2, 4, seg.mss)
    if seg.sack_permitted:
        out += bytes([1, 1, 4, 2])
    if seg.timestamps is not None:
        out += struct.pack("!BBBBII", 1, 1, 8, 10, *seg.timestamps)
    if seg.window_scale is not None:
        out += bytes([1, 3, 3, seg.window_scale])
    if seg.fast_open is not None:
        out += b"\1" * (-(2 + len(seg.fast_open)) % 4) + bytes([34, 2 + len(seg.fast_open)]) + seg.fast_open
    if seg.sack:
        out += bytes([1, 1, 5, 2 + 8 * len(seg.sack)])
        out += b"".join(struct.pack("!II", *edges) for edges in seg.sack)
    return out


_ABSENT = object()


class _Builder:
    """Builds one frame; `wrong` holds the derived fields to be made wrong."""

    def __init__(self, seg: TcpSegment, wrong: dict[str, Any]) -> None:
        self.seg = seg
        self.wrong = wrong

    def _take(self, name: str, right: Any) -> Any:
        value = self.wrong.pop(name, _ABSENT)
        return right if value is _ABSENT else value

    def frame(self) -> bytes:
        truncate: int | None = self._take("truncate", None)
        padding: bytes = self._take("padding", b"")
        tcp = self._tcp()
        packet = self._ipv4(tcp) if self.seg.is_v4 else self._ipv6(tcp)
        frame = (self._ethernet() + packet + padding)[:truncate]
        if self.wrong:
            raise TypeError(f"a segment has no field {', '.join(self.wrong)}")
        return frame

    def _ethernet(self) -> bytes:
        seg = self.seg
        tag_type = self._take("tag_type", ETHERTYPE_VLAN)
        ethertype = self._take("ethertype", ETHERTYPE_IPV4 if seg.is_v4 else ETHERTYPE_IPV6)
        tags = b"".join(struct.pack("!HH", tag_type, tci) for tci in seg.vlan)
        return _mac(seg.dst_mac) + _mac(seg.src_mac) + tags + struct.pack("!H", ethertype)

    def _ipv4(self, tcp: bytes) -> bytes:
        seg = self.seg
        options: bytes = self._take("ip_options", b"")
        words = self._take("ip_header_words", (20 + len(options)) // 4)
        header = struct.pack(
            "!BBHHHBBH4s4s",
            self._take("ip_version", 4) << 4 | words,
            seg.traffic_class,
            self._take("ip_total_length", 20 + len(options) + len(tcp)),
            0,
            self._take("ip_fragment", 0x4000),
            seg.hop_limit,
            self._take("protocol", PROTOCOL_TCP),
            0,
            ipaddress.IPv4Address(seg.src).packed,
            ipaddress.IPv4Address(seg.dst).packed,
        )
        filled = self._take("ip_checksum", checksum(header + options))
        return header[:10] + struct.pack("!H", filled) + header[12:] + options + tcp

    def _ipv6(self, tcp: bytes) -> bytes:
        seg = self.seg
        extensions: tuple[tuple[int, bytes], ...] = tuple(self._take("extensions", ()))
        protocol = self._take("protocol", extensions[0][0] if extensions else PROTOCOL_TCP)
        body = b"".join(octets for _, octets in extensions) + tcp
        return (
            struct.pack(
                "!IHBB16s16s",
                self._take("ip_version", 6) << 28 | seg.traffic_class << 20,
                self._take("ip_total_length", len(body)),
                protocol,
                seg.hop_limit,
                ipaddress.IPv6Address(seg.src).packed,
                ipaddress.IPv6Address(seg.dst).packed,
            )
            + body
        )

    def _tcp(self) -> bytes:
        seg = self.seg
        options: bytes = self._take("options", encode_options(seg))
        options += bytes(-len(options) % 4)
        if len(options) > 40:
            raise ValueError(f"{len(options)} octets of options; a TCP header has room for 40")
        header = struct.pack(
            "!HHIIBBHHH",
            seg.src_port,
            seg.dst_port,
            seg.seq,
            seg.ack,
            self._take("data_offset", 5 + len(options) // 4) << 4,
            seg.flags,
            seg.window,
            0,
            seg.urgent,
        )
        tcp = header + options + seg.payload
        return tcp[:16] + struct.pack("!H", self._tcp_checksum(tcp)) + tcp[18:]

    def _tcp_checksum(self, tcp: bytes) -> int:
        pseudo = pseudo_header(self.seg.src, self.seg.dst, len(tcp))
        partial = self._take("partial_checksum", False)
        right = ~checksum(pseudo) & 0xFFFF if partial else checksum(pseudo + tcp)
        return int(self._take("tcp_checksum", right))


class _Parser:
    """Parses one frame; every refusal is a ValueError that says which field is wrong."""

    def __init__(self, frame: bytes, verify: bool) -> None:
        self.frame = frame
        self.verify = verify

    def segment(self) -> TcpSegment:
        frame = self.frame
        seg = TcpSegment(dst_mac=frame[0:6].hex(":"), src_mac=frame[6:12].hex(":"))
        at = 12
        tags = []
        while frame[at : at + 2] == b"\x81\x00":
            tags.append(int.from_bytes(frame[at + 2 : at + 4], "big"))
            at += 4
        seg.vlan = tuple(tags)
        ethertype = int.from_bytes(frame[at : at + 2], "big")
        if ethertype not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
            raise ValueError(f"Ethernet type {ethertype:#06x} is neither IPv4 nor IPv6")
        packet = frame[at + 2 :]
        tcp = self._ipv4(packet, seg) if ethertype == ETHERTYPE_IPV4 else self._ipv6(packet, seg)
        self._tcp(tcp, seg)
        return seg

    def _ipv4(self, packet: bytes, seg: TcpSegment) -> bytes:
        if len(packet) < 20:
            raise ValueError(f"{len(packet)} octets are too few for an IPv4 header")
        header_bytes = (packet[0] & 15) * 4
        total = int.from_bytes(packet[2:4], "big")
        if packet[0] >> 4 != 4 or header_bytes < 20 or not header_bytes <= total <= len(packet):
            raise ValueError(f"IPv4 header {packet[:4].hex()} does not fit a packet of {len(packet)} octets")
        if self.verify and checksum(packet[:header_bytes]) != 0:
            raise ValueError("the IPv4 header's checksum is wrong")
        if packet[9] != PROTOCOL_TCP:
            raise ValueError(f"protocol {packet[9]} is not TCP")
        seg.src, seg.dst = (str(ipaddress.IPv4Address(packet[at : at + 4])) for at in (12, 16))
        seg.traffic_class, seg.hop_limit = packet[1], packet[8]
        return packet[header_bytes:total]

    def _ipv6(self, packet: bytes, seg: TcpSegment) -> bytes:
        total = 40 + int.from_bytes(packet[4:6], "big")
        if len(packet) < 40 or packet[0] >> 4 != 6 or total > len(packet):
            raise ValueError(f"IPv6 header {packet[:6].hex()} does not fit a packet of {len(packet)} octets")
        seg.src, seg.dst = (str(ipaddress.IPv6Address(packet[at : at + 16])) for at in (8, 24))
        seg.traffic_class = int.from_bytes(packet[:2], "big") >> 4 & 0xFF
        seg.hop_limit = packet[7]
        following, at = packet[6], 40
        while following in (0, 43, 60) and at + 8 <= total:
            following, at = packet[at], at + 8 * (1 + packet[at + 1])
        if following != PROTOCOL_TCP:
            raise ValueError(f"protocol {following} is not TCP")
        return packet[at:total]

    def _tcp(self, tcp: bytes, seg: TcpSegment) -> None:
        if len(tcp) < 20:
            raise ValueError(f"{len(tcp)} octets are too few for a TCP header")
        seg.src_port, seg.dst_port, seg.seq, seg.ack = struct.unpack("!HHII", tcp[:12])
        offset, flags, seg.window, _, seg.urgent = struct.unpack("!BBHHH", tcp[12:20])
        seg.flags = Flags(flags)
        header_bytes = (offset >> 4) * 4
        if not 20 <= header_bytes <= len(tcp):
            raise ValueError(f"data offset of {header_bytes} octets in a segment of {len(tcp)}")
        if self.verify and checksum(pseudo_header(seg.src, seg.dst, len(tcp)) + tcp) != 0:
            raise ValueError("the TCP checksum is wrong")
        seg.payload = tcp[header_bytes:]
        _decode_options(tcp[20:header_bytes], seg)


def _decode_options(options: bytes, seg: TcpSegment) -> None:
    while options and options[0] != 0:
        if options[0] == 1:
            options = options[1:]
            continue
        if len(options) < 2 or not 2 <= options[1] <= len(options):
            raise ValueError(f"malformed TCP options {options.hex()}")
        kind, content, options = options[0], options[2 : options[1]], options[options[1] :]
        if kind == 2:
            (seg.mss,) = struct.unpack("!H", content)
        elif kind == 3:
            seg.window_scale = content[0]
        elif kind == 4:
            seg.sack_permitted = True
        elif kind == 5:
            seg.sack = tuple((start, end) for start, end in struct.iter_unpack("!II", content))
        elif kind == 8:
            value, echo = struct.unpack("!II", content)
            seg.timestamps = (value, echo)
        elif kind == 34:
            seg.fast_open = content
