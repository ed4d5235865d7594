from collections.abc import Mapping, Sequence

from underpass.link.link import LinkBase

RULES: dict[str, float]

def rules(**given: float) -> dict[str, float]: ...

class Relay:
    """Passes packets on between two links over one pool of frames, each direction by rules of its own.

    The rules of a direction: `lose`, `reorder` and `duplicate`, probabilities; `delay_ms`; `reorder_ms`, how
    much later a reordered packet leaves; `rate_mbit` and `queue_bytes`, a bottleneck with a drop-tail queue.
    Raises ValueError for links that do not share their frames.
    """

    def __init__(self, left: LinkBase, right: LinkBase) -> None: ...
    def start(self, rightward: Mapping[str, float] = ..., leftward: Mapping[str, float] = ...,
              seed: int = 1) -> None:
        """Begin anew under these rules. Raises ValueError for one that does not exist or is out of range."""
    def step(self, now_ns: int) -> int:
        """One turn at the given time, for virtual clocks: packets that came in or left."""
    def deadline(self) -> int | None:
        """When the next packet is due, in nanoseconds of the caller's clock, or None."""
    def run(self, timeout: float, wake_fds: Sequence[int] = ()) -> list[int]:
        """Relay until some of `wake_fds` (at most 4) are readable (returned), the timeout, or a signal."""
    def stats(self) -> dict[str, dict[str, float]]:
        """Counters of both directions, "rightward" and "leftward", with the time that packets queued."""
    def close(self) -> None:
        """Release what is held. The links stay open."""
