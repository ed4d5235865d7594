from collections.abc import Iterable, Sequence
from typing import Any

def parse_tcp(octets: bytes, head_bytes: int | None = None) -> dict[str, Any] | str:
    """The TCP segment in `octets` as a dict, or the name of the reason why it is refused."""

def write_header(
    src_port: int, dst_port: int, seq: int, ack: int, flags: int, window: int, header_bytes: int
) -> bytes: ...
def write_options(
    mss: int | None = None,
    window_scale: int | None = None,
    sack_permitted: bool = False,
    timestamps: tuple[int, int] | None = None,
    sack: Sequence[tuple[int, int]] = (),
) -> bytes: ...
def checksum(parts: Iterable[bytes]) -> int:
    """The complemented checksum, as it stands in a header, of octets that lie in several parts."""

def pseudo(src: str, dst: str, tcp_bytes: int) -> int: ...
def update(old_checksum: int, old: int, new: int) -> int: ...
def sip24(key: bytes, octets: bytes) -> int: ...
def sip13(key: bytes, octets: bytes) -> int: ...
def compare(one: int, other: int) -> tuple[bool, bool, bool, int, int]:
    """Comparisons of two sequence numbers: before, upto, after, span, and the later one."""

def within(point: int, start: int, length: int) -> bool: ...
def address(text: str) -> tuple[str, set[str]]:
    """The address's text as it comes back, and what kinds of address it is."""

def toeplitz(key: bytes, src: str, src_port: int, dst: str, dst_port: int) -> int:
    """The RSS hash of a TCP segment under a key."""
