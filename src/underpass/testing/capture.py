"""Read back what a `PcapLink` wrote."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ENHANCED_PACKET = 6
OUTBOUND = 2
# Of an Enhanced Packet Block: up to the octets of the packet, and of its option epb_flags.
PACKET_AT = 28
FLAGS_AT = 4


class Captured(NamedTuple):
    """One packet: when, whether the host sent it, and the frame."""

    at_ns: int
    is_sent: bool
    frame: bytes


def read_capture(path: str | os.PathLike[str]) -> Iterator[Captured]:
    """The packets of a capture file of `PcapLink`, in order."""
    octets = Path(path).read_bytes()
    at = 0
    while at < len(octets):
        kind, length = struct.unpack_from("<II", octets, at)
        if kind == ENHANCED_PACKET:
            high, low, captured = struct.unpack_from("<III", octets, at + 12)
            option = at + PACKET_AT + (captured + 3) // 4 * 4
            (flags,) = struct.unpack_from("<I", octets, option + FLAGS_AT)
            frame = octets[at + PACKET_AT : at + PACKET_AT + captured]
            yield Captured(high << 32 | low, flags == OUTBOUND, frame)
        at += length
