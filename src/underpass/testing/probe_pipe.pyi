from collections.abc import Iterable

from underpass.testing.pipe import Pipe

def carry(pipe: Pipe, frames: Iterable[bytes]) -> list[bytes]:
    """Offer all frames at one instant; what comes out, in order, once all time has passed."""

def lost_by(pipe: Pipe, packets: int) -> list[bool]:
    """Whether each of so many small packets is lost, one after the other."""

def too_big(packet: bytes, router: int, mtu: int) -> bytes | None:
    """The ICMP error that a router sends about a packet."""
