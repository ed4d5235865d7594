"""Random frames for filters: right ones, nearly right ones, and octets, with addresses that policies name."""

import ipaddress
import random
import struct

from underpass.testing.packets import Flags, TcpSegment, checksum

SOURCES_V4 = ("198.51.100.1", "198.51.100.77", "203.0.113.9", "203.0.113.200", "8.8.8.8", "9.9.9.9",
              "10.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255", "0.0.0.0", "100.64.1.1", "192.168.7.7")
SOURCES_V6 = ("2001:db8::1", "2001:db8:1::7", "2a00:1450::5", "2a00:1450:1::9", "fe80::1", "::", "::1",
              "ff02::1", "fd00::9", "::ffff:8.8.8.8", "2606:4700::1111")
PORTS = (0, 22, 53, 67, 80, 81, 123, 443, 6000, 6010, 8080, 33000, 40000, 61000, 61050, 65535)
PROTOCOLS = (6, 6, 6, 6, 17, 17, 17, 1, 58, 47, 50, 2, 0, 43, 60, 132)
SUM_AT = {6: 16, 17: 6}                 # where the checksum is
FLAGS = (0x02, 0x10, 0x18, 0x12, 0x04, 0x14, 0x00, 0x01, 0x29, 0x03, 0x06, 0x11, 0xC2, 0x3F)


def random_frame(chance: random.Random, mac: bytes, ours: tuple[str, ...]) -> bytes:
    """One frame, to `mac` most of the time, to one of our addresses most of the time."""
    if chance.random() < 0.05:
        return mac + chance.randbytes(chance.randrange(8, 300))
    if chance.random() < 0.25:
        return likely_frame(chance, mac, ours)
    to_mac = mac if chance.random() < 0.9 else chance.choice((b"\xff" * 6, b"\x33\x33\0\0\0\1", bytes(6)))
    head = to_mac + b"\2\0\0\0\0\7"
    for _ in range(chance.choice((0, 0, 0, 0, 1, 2, 3))):
        head += struct.pack("!HH", chance.choice((0x8100, 0x88A8)),
                            chance.choice((0, 5, 10, 4094)) | chance.randrange(16) << 12)
    six = chance.random() < 0.4
    packet = _ipv6(chance, ours) if six else _ipv4(chance, ours)
    kind = chance.choice((0x86DD if six else 0x0800,) * 12 + (0x0806, 0x0800, 0x86DD))
    frame = head + struct.pack("!H", kind) + packet
    if chance.random() < 0.1:
        frame = frame[: chance.randrange(14, len(frame) + 1)]
    return frame + bytes(max(0, 14 - len(frame)))


def likely_frame(chance: random.Random, mac: bytes, ours: tuple[str, ...]) -> bytes:
    """A segment that is right but for its checksum, and that for once in five, to a port that is served or
    Linux's own.
    """
    to = chance.choice(ours)
    segment = TcpSegment(src=chance.choice(SOURCES_V6 if ":" in to else SOURCES_V4), dst=to,
                         src_mac="02:00:00:00:00:07", dst_mac=mac.hex(":"), payload=chance.randbytes(20),
                         src_port=chance.choice(PORTS), dst_port=chance.choice((80, 80, 443, 443, 22)),
                         vlan=chance.choice(((), (), (5,))), flags=chance.choice((
                             Flags.SYN, Flags.ACK, Flags.ACK | Flags.PSH, Flags.SYN | Flags.ACK, Flags.RST)))
    wrong: dict[str, int] = chance.choice(({}, {}, {}, {"partial_checksum": 1}, {"tcp_checksum": 0x1234}))
    return segment.build(**wrong)


def _transport(chance: random.Random, protocol: int, ours: tuple[str, ...], six: bool) -> bytes:
    ports = struct.pack("!HH", chance.choice(PORTS), chance.choice(PORTS))
    text = chance.randbytes(chance.choice((0, 1, 8, 40)))
    if protocol == 6:
        words = chance.choice((5, 5, 5, 5, 6, 15, 4, 0))
        return ports + struct.pack("!IIBBHHH", 1, 2, words << 4, chance.choice(FLAGS), 1000, 0, 0) + text
    if protocol == 17:
        return ports + struct.pack("!HH", 8 + len(text) + chance.choice((0, 0, 0, 1, -1, -8, 100)), 0) + text
    if protocol in (1, 58):
        kind = chance.choice((0, 1, 2, 3, 4, 8, 11, 12, 128, 130, 133, 135, 136, 143))
        return bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + _quoted(chance, ours, six)
    return chance.randbytes(chance.randrange(40))


def _summed(chance: random.Random, protocol: int, content: bytes, source: bytes, to: bytes) -> bytes:
    """A segment or datagram with its checksum: right, left to the device, without one, or damaged."""
    if protocol not in SUM_AT:
        return content
    at, kind = SUM_AT[protocol], chance.choice(("right",) * 6 + ("partial", "none", "damaged"))
    bare = content[:at] + bytes(2) + content[at + 2 :]
    pseudo = source + to + struct.pack("!II", len(content), protocol)
    sums = {"right": checksum(pseudo + bare), "partial": checksum(pseudo) ^ 0xFFFF, "none": 0,
            "damaged": chance.randrange(0x10000)}
    return bare[:at] + struct.pack("!H", sums[kind]) + bare[at + 2 :]


def _quoted(chance: random.Random, ours: tuple[str, ...], six: bool) -> bytes:
    """A segment that we may have sent, as an error quotes it."""
    ports = struct.pack("!HHI", chance.choice(PORTS), 4000, 7)
    if six:
        return struct.pack("!IHBB", 6 << 28, 20, chance.choice((6, 6, 17)), 64) + _address(chance, ours, 6) \
            + bytes(16) + ports
    return struct.pack("!BBHHHBBH", chance.choice((0x45, 0x45, 0x46, 0x44)), 0, 40, 1,
                       chance.choice((0, 0, 0x4000, 0x2000, 8)), 64, chance.choice((6, 6, 17)), 0) \
        + _address(chance, ours, 4) + bytes(4) + ports


def _address(chance: random.Random, ours: tuple[str, ...], version: int) -> bytes:
    known = [it for it in ours if ipaddress.ip_address(it).version == version]
    other = {4: "192.0.2.77", 6: "2001:db8:77::1"}[version]
    return ipaddress.ip_address(chance.choice(known * 3 + [other])).packed


def _ipv4(chance: random.Random, ours: tuple[str, ...]) -> bytes:
    protocol = chance.choice(PROTOCOLS)
    source = ipaddress.ip_address(chance.choice((*SOURCES_V4, *(it for it in ours if "." in it)))).packed
    to = _address(chance, ours, 4)
    content = _summed(chance, protocol, _transport(chance, protocol, ours, six=False), source, to)
    words = chance.choice((5, 5, 5, 5, 5, 6, 15, 4))
    options = b"\1" * max(0, words * 4 - 20)
    total = 20 + len(options) + len(content) + chance.choice((0,) * 12 + (1, -1, -30, 1000))
    head = struct.pack("!BBHHHBBH", 4 << 4 | words, 0, max(0, total) & 0xFFFF, 1,
                       chance.choice((0,) * 8 + (0x4000, 0x2000, 0x2010, 8)), 64, protocol, 0) \
        + source + to + options
    right = checksum(head)
    said = chance.choice((right,) * 15 + (chance.randrange(0x10000),))
    head = head[:10] + struct.pack("!H", said) + head[12:]
    return head + content


def _ipv6(chance: random.Random, ours: tuple[str, ...]) -> bytes:
    protocol = chance.choice(PROTOCOLS)
    source = ipaddress.ip_address(chance.choice((*SOURCES_V6, *(it for it in ours if ":" in it)))).packed
    to = _address(chance, ours, 6)
    content = _summed(chance, protocol, _transport(chance, protocol, ours, six=True), source, to)
    for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2, 7))):
        kind = chance.choice((0, 43, 60, 44))
        if kind == 44:
            content = struct.pack("!BBHI", protocol, 0, chance.choice((0, 1, 8, 9)), 7) + content
        else:
            more = chance.choice((0, 0, 1))
            content = bytes([protocol, more]) + bytes(6 + 8 * more) + content
        protocol = kind
    size = len(content) + chance.choice((0,) * 12 + (1, -1, -30, 1000))
    head = struct.pack("!IHBB", 6 << 28, max(0, size) & 0xFFFF, protocol, 64)
    return head + source + to + content


def arbitrary_frame(chance: random.Random, mac: bytes, ours: tuple[str, ...], longest: int) -> bytes:
    """Octets, 14 to `longest`: most of a right frame, with bits flipped, parts cut out, repeated and
    put behind it; some of nothing at all.
    """
    frame = bytearray(random_frame(chance, mac, ours))
    if chance.random() < 0.1:
        frame = bytearray(chance.randbytes(chance.randrange(14, longest + 1)))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        at, end = sorted((chance.randrange(len(frame) + 1), chance.randrange(len(frame) + 1)))
        kind = chance.randrange(4)
        if kind == 0:
            frame[at:end] = b""
        elif kind == 1:
            frame[at:at] = frame[at:end]
        elif kind == 2 and at < len(frame):
            frame[at] ^= 1 << chance.randrange(8)
        elif kind == 3:
            frame[at:end] = chance.randbytes(end - at)
    if chance.random() < 0.2:
        frame += bytes(chance.randrange(longest))
    return bytes(frame[:longest]).ljust(14, b"\0")
