"""A trace as a picture: what was in flight and allowed, the round trip, what was sent again, over time."""

from collections.abc import Sequence
from typing import Any

from underpass.observe import plotting
from underpass.observe.trace_text import heading

Row = dict[str, Any]

MARKS = {"timeout": ("v", "black"), "loss probe": ("s", "C4"), "RACK": ("x", "C3"),
         "duplicate ACKs": ("x", "C5"), "path MTU": ("d", "C6"), "handshake": ("^", "C7")}


def draw(rows: Sequence[Row], path: str) -> None:
    """Write the picture of a trace that has rows. Raises ImportError without matplotlib."""
    pyplot = plotting.pyplot()
    figure, (octets, times) = pyplot.subplots(2, sharex=True, figsize=(10, 7), height_ratios=(3, 1))
    at = [(row["at_ns"] - rows[0]["at_ns"]) / 1e9 for row in rows]
    for key, label in (("cwnd", "cwnd"), ("in_flight", "in flight"), ("ssthresh", "ssthresh")):
        values = [float("nan") if row[key] is None else row[key] / 1000 for row in rows]
        octets.step(at, values, ":" if key == "ssthresh" else "-", where="post", label=label, linewidth=1)
    for why, (mark, colour) in MARKS.items():
        again = [(when, row["in_flight"] / 1000)
                 for when, row in zip(at, rows, strict=True) if row["why"] == why]
        if again:
            octets.plot(*zip(*again, strict=True), mark, color=colour, markersize=8, linestyle="",
                        label=f"sent again: {why}")
    octets.set_ylabel("kB")
    octets.set_ylim(bottom=0)
    octets.legend(loc="upper right", fontsize="small")
    octets.set_title(heading(rows[0]), fontsize="small")
    times.step(at, [row["srtt_us"] / 1000 for row in rows], where="post", color="C2", label="srtt")
    times.set_ylabel("srtt, ms")
    times.set_xlabel("s")
    times.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
