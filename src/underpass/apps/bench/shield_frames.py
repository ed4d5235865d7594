"""Frames for test runs of the XDP program, and sources in an order that no cache foresees."""

import ipaddress
import socket
import struct
from collections.abc import Iterator

SEED = 1
MAC, CLIENT_MAC = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
TO_V4, TO_V6, PORT = "10.0.0.1", "fd00::1", 80
ORDINARY = 0x08080808                   # a source that no list has
FROM_V4, FROM_V6, FROM_PORT = "8.8.8.8", "2001:4860::8", 5000
NOBODYS_PORT = FROM_PORT + 1            # from where there is no connection
SYN, ACK = 0x02, 0x10
# What Linux offers: MSS 1460, SACK, timestamps, window scale 7.
OFFERED = bytes.fromhex("020405b4" "0402080a" "00000001" "00000000" "01030307")


def numbers(count: int, seed: int = SEED) -> Iterator[int]:
    """The generator of xdp/bench.bpf.c."""
    for _ in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        yield seed


def v4_of(number: int) -> str:
    """The source that the program makes of a number."""
    return socket.inet_ntoa(struct.pack("!I", number))


def v6_of(number: int) -> str:
    """The same for IPv6, a /64."""
    words = 0x20000000 | number >> 3, number << 3 & 0xFFFFFFFF, 0, 0
    return f"{ipaddress.IPv6Address(struct.pack('!4I', *words))}/64"


def checksum(octets: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def v4(source: int, protocol: int, payload: bytes) -> bytes:
    """A packet to our address, with its checksum."""
    address = socket.inet_aton(TO_V4)
    head = struct.pack("!BBHHHBBHI4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, source, address)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return MAC + CLIENT_MAC + b"\x08\x00" + head + payload


def v6(source: bytes, protocol: int, payload: bytes) -> bytes:
    """The same over IPv6."""
    head = struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64, source,
                       socket.inet_pton(socket.AF_INET6, TO_V6))
    return MAC + CLIENT_MAC + b"\x86\xdd" + head + payload


DATAGRAM = struct.pack("!HHHH", FROM_PORT, 9999, 26, 0) + bytes(18)


def udp_v4(source: int = SEED) -> bytes:
    """A datagram to a port of Linux, its source at the beginning of the generator."""
    return v4(source, socket.IPPROTO_UDP, DATAGRAM)


def udp_ordinary() -> bytes:
    """The same from somewhere else."""
    return udp_v4(ORDINARY)


def udp_v6() -> bytes:
    """The same over IPv6."""
    return v6(struct.pack("!B11xI", 0x20, SEED), socket.IPPROTO_UDP, DATAGRAM)


def tcp(addresses: bytes, flags: int, options: bytes = b"", port: int = FROM_PORT) -> bytes:
    """A segment to the claimed port, with its checksum: source and destination are in `addresses`."""
    words = 5 + len(options) // 4
    acked = 2 if flags & ACK else 0
    segment = struct.pack("!HHIIBBHHH", port, PORT, 1, acked, words << 4, flags, 999, 0, 0) + options
    pseudo = addresses + struct.pack("!II", len(segment), socket.IPPROTO_TCP)
    return segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]


def tcp_v4(flags: int = ACK, options: bytes = b"", port: int = FROM_PORT) -> bytes:
    """A segment of an established connection, at least 60 octets long on the wire."""
    addresses = struct.pack("!I", ORDINARY) + socket.inet_aton(TO_V4)
    return v4(ORDINARY, socket.IPPROTO_TCP, tcp(addresses, flags, options, port)).ljust(60, b"\0")


def stray_v4() -> bytes:
    """A segment of a connection that nobody has."""
    return tcp_v4(port=NOBODYS_PORT)


def syn_v4() -> bytes:
    """A SYN of Linux."""
    return tcp_v4(SYN, OFFERED, NOBODYS_PORT)


def syn_v6() -> bytes:
    """The same over IPv6."""
    source = socket.inet_pton(socket.AF_INET6, FROM_V6)
    addresses = source + socket.inet_pton(socket.AF_INET6, TO_V6)
    return v6(source, socket.IPPROTO_TCP, tcp(addresses, SYN, OFFERED))
