"""Scripts of loss recovery: a connection with a round trip of 20 ms, and its segments named by number.

conn = in_flight(peer, segments=10)
ack(peer, 0, block(1, 4))               # segments 1 to 3 arrived, 0 did not
assert numbers(peer) == [0]             # it is sent again
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from underpass.testing.peer import ACK, Peer

if TYPE_CHECKING:
    from underpass.stack.sockets import Connection

MSS = 1000
RTT = 20
INITIAL = 10  # segments (RFC 6928)


def at(number: int) -> int:
    """Sequence number of a segment."""
    return 1 + MSS * number


def block(first: int, behind: int | None = None) -> tuple[int, int]:
    """The SACK block of segments first..behind - 1, or of one."""
    return at(first), at(first + 1 if behind is None else behind)


def numbers(peer: Peer) -> list[int]:
    """Numbers of the data segments that have come, in this order."""
    peer.wire.settle()
    return [(seg.seq - 1) // MSS for seg in peer.drain() if seg.payload]


def opened(peer: Peer, segments: int = 0, **options: Any) -> Connection:
    """An open connection with SACK and a round trip of 20 ms; so many segments are given to it."""
    options.setdefault("sack_permitted", True)
    options.setdefault("mss", MSS)
    conn = peer.open(rtt_ms=RTT, **options)
    if segments:
        conn.send(bytes(segments * MSS))
    return conn


def in_flight(peer: Peer, segments: int = INITIAL, **options: Any) -> Connection:
    """The same a round trip after the first ten segments, or fewer, went out."""
    conn = opened(peer, segments, **options)
    if numbers(peer) != list(range(min(segments, INITIAL))):
        raise AssertionError("the initial window was not sent")
    peer.wire.run(ms=RTT)
    return conn


def ack(peer: Peer, number: int, *blocks: tuple[int, int], **fields: Any) -> None:
    """Acknowledge all segments before that one, and report blocks."""
    peer.send(ACK, ack=at(number), sack=blocks, **fields)
