from typing import Literal

from underpass.link.link import LinkBase

class FaultLink(LinkBase):
    """A link over `inner` on which packets suffer, the same way for the same seed and the same packets.

    `drop`, `duplicate`, `reorder` and `corrupt` are probabilities, 0.0 to 1.0. A reordered packet lets up to
    3 others overtake it, or waits 2 ms. `delay_ns` plus a random part of `jitter_ns` holds packets back
    without changing their order. A corrupted packet has one bit flipped, in a copy of its own. Raises
    ValueError for values out of range.
    """

    inner: LinkBase
    def __init__(
        self,
        inner: LinkBase,
        seed: int,
        drop: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        delay_ns: int = 0,
        jitter_ns: int = 0,
        corrupt: float = 0.0,
        direction: Literal["both", "receive", "transmit"] = "both",
    ) -> None: ...
