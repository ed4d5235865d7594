"""Packets out of blocks of pcapng, as `link/pcapng.pyx` writes them; other blocks are left out."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

ENHANCED_PACKET = 6
COMMENT, FLAGS = 1, 2
OUTBOUND = 2
HEAD_BYTES = 28


class Packet(NamedTuple):
    """One packet: when, which interface, whether the host sent it, its length, octets, and the comment."""

    at_ns: int
    interface: int
    is_sent: bool
    original: int
    frame: bytes
    comment: str


def packets(octets: bytes) -> Iterator[Packet]:
    """The packets in order. Raises ValueError for what is no sequence of whole blocks."""
    at = 0
    while at < len(octets):
        try:
            kind, length = struct.unpack_from("=II", octets, at)
            if length < 12 or length % 4 or length > len(octets) - at:
                raise ValueError(f"a block of {length} octets at {at} of {len(octets)}")
            if kind == ENHANCED_PACKET:
                yield _packet(octets[at : at + length - 4])
        except struct.error as error:
            raise ValueError(f"a broken block at {at}: {error}") from None
        at += length


def _packet(block: bytes) -> Packet:
    interface, high, low, captured, original = struct.unpack_from("=IIIII", block, 8)
    if captured > len(block) - HEAD_BYTES:
        raise ValueError(f"a packet of {captured} octets in a block of {len(block)}")
    options = dict(_options(block, HEAD_BYTES + (captured + 3) // 4 * 4))
    (flags,) = struct.unpack("=I", options.get(FLAGS, bytes(4)))
    return Packet(high << 32 | low, interface, flags & 3 == OUTBOUND, original,
                  block[HEAD_BYTES : HEAD_BYTES + captured],
                  options.get(COMMENT, b"").decode(errors="replace"))


def _options(block: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(block):
        code, length = struct.unpack_from("=HH", block, at)
        if code == 0:
            return
        yield code, block[at + 4 : at + 4 + length]
        at += 4 + (length + 3) // 4 * 4
