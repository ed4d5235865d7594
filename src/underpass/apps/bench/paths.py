"""The rows of `bench recovery`: a path, what is carried over it, what must be reached beside Linux's TCP."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from underpass.apps.bench.rows import Goal

MB = 1 << 20
RATE_MBIT = 100.0
BDP_BYTES = RATE_MBIT * 1e6 / 8 * 0.040         # of 100 Mbit/s and 40 ms
FLOWS = 4
FAIRNESS_S = 20.0

UNITS = {
    "down_mbit": "Mbit/s sent to Linux", "up_mbit": "Mbit/s received from Linux",
    "down_queue_ms": "ms mean queue, sending", "up_queue_ms": "ms mean queue, receiving",
    "down_again": "% of segments sent again", "share": "% of the bottleneck", "down_timeouts": "timeouts",
}
PLOTTED = ("down_mbit", "up_mbit", "down_queue_ms", "down_again", "share")


@dataclass(frozen=True, slots=True)
class PathRow:
    """One path. `rules`: those of the relay, in each direction; None: no relay, a veth pair by itself."""

    name: str
    what: str
    rules: Mapping[str, float] | None
    octets: int
    goals: tuple[Goal, ...]
    figures: tuple[str, ...] = ("down_mbit", "up_mbit", "down_again", "down_timeouts")
    flows: int = field(default=1)

    @property
    def path(self) -> str:
        """The path in words, with the size of a transfer."""
        where = "veth, TSO, GSO and GRO off" if self.rules is None else "through the relay, offloads off"
        return f"{where}; {self.octets // MB} MB" if self.octets else where


def ratio(bound: float) -> tuple[Goal, ...]:
    """Goodput in both directions, beside Linux's."""
    return (Goal("down_mbit", bound, most=False), Goal("up_mbit", bound, most=False))


def lossy(name: str, percent: float, octets: int) -> PathRow:
    """Random loss in both directions, no delay but the relay's."""
    return PathRow(name, f"{percent:g} % loss", {"lose": percent / 100}, octets, ratio(1))


BOTTLENECK = {"rate_mbit": RATE_MBIT, "queue_bytes": BDP_BYTES, "delay_ms": 20}

PATHS: tuple[PathRow, ...] = (
    PathRow("veth", "no loss", None, 64 * MB, ratio(1)),
    lossy("loss-0.1", 0.1, 64 * MB),
    lossy("loss-1", 1, 64 * MB),
    lossy("loss-3", 3, 32 * MB),
    PathRow("loss-delay", "1 % loss, 20 ms", {"lose": 0.01, "delay_ms": 10}, 8 * MB, ratio(0.95)),
    PathRow("bottleneck", "100 Mbit/s, 40 ms, queue of one BDP", BOTTLENECK, 32 * MB,
            (*ratio(0.95), Goal("down_queue_ms", 1, most=True)),
            ("down_mbit", "up_mbit", "down_queue_ms", "up_queue_ms", "down_again", "down_timeouts")),
    PathRow("reorder", "5 % of packets 1 ms late", {"reorder": 0.05, "reorder_ms": 1}, 64 * MB,
            (*ratio(0.9), Goal("down_again", 1, most=True, relative=False))),
    PathRow("reorder-delay", "5 % of packets 1 ms late, 10 ms",
            {"reorder": 0.05, "reorder_ms": 1, "delay_ms": 5}, 64 * MB,
            (*ratio(0.9), Goal("down_again", 1, most=True, relative=False))),
    PathRow("fairness", f"{FLOWS} flows each, 100 Mbit/s, 40 ms, queue of one BDP", BOTTLENECK, 0,
            (Goal("share", 40, most=False, relative=False), Goal("share", 60, most=True, relative=False)),
            figures=("share",), flows=FLOWS),
)
