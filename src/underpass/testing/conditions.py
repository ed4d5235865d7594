"""What one direction of a link of the virtual network is like."""

from __future__ import annotations

from dataclasses import dataclass

from underpass.testing.clock import MS

KBIT = 1_000
MBIT = 1_000_000
GBIT = 1_000_000_000


@dataclass(frozen=True)
class GilbertElliott:
    """Loss that comes in spells (Gilbert 1960, Elliott 1963): before each packet the state may change, then
    it is lost at the state's rate. A spell of bad lasts 1 / `to_good` packets on average.
    """

    to_bad: float
    to_good: float
    lost_in_bad: float = 1.0
    lost_in_good: float = 0.0


@dataclass(frozen=True)
class Burst:
    """Loss of `packets` in a row; at each packet outside a burst one begins with probability `begin`."""

    begin: float
    packets: int


@dataclass(frozen=True)
class Conditions:
    """A queue, a transmitter, and a wire.

    Packets wait in the queue, that in transmission included, until `rate_bps` lets them go (0: at once); a
    packet that finds `queue_packets` or `queue_bytes` used up is dropped. One that finds `mark_packets` or
    `mark_bytes` waiting already and is ECN-capable is marked (RFC 3168, RFC 8257 3.1); 0 is no limit. Sizes
    are those of the whole frame.

    The wire takes `delay_ns` and up to `jitter_ns` more, which keeps the order. It loses by `loss`, a
    probability or a model; `reorder` is the share of packets that arrive `reorder_ns` late while others pass;
    `duplicate` the share that arrives twice, `corrupt` that in which one bit behind the Ethernet header is
    flipped.

    A packet of more than `mtu` octets (0: any) is dropped; a router says so by ICMP, unless `icmp` is False.
    """

    rate_bps: int = 0
    delay_ns: int = 0
    jitter_ns: int = 0
    queue_packets: int = 0
    queue_bytes: int = 0
    mark_packets: int = 0
    mark_bytes: int = 0
    loss: float | GilbertElliott | Burst = 0.0
    reorder: float = 0.0
    reorder_ns: int = MS
    duplicate: float = 0.0
    corrupt: float = 0.0
    mtu: int = 0
    icmp: bool = True
