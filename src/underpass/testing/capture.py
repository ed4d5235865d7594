"""Read back what a `PcapLink` wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from underpass.observe.pcapng_blocks import packets


class Captured(NamedTuple):
    """One packet: when, whether the host sent it, and the frame."""

    at_ns: int
    is_sent: bool
    frame: bytes


def read_capture(path: str | os.PathLike[str]) -> Iterator[Captured]:
    """The packets of a capture file of `PcapLink`, in order."""
    for packet in packets(Path(path).read_bytes()):
        yield Captured(packet.at_ns, packet.is_sent, packet.frame)
