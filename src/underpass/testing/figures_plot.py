"""The virtual network's figures as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from underpass.observe import plotting


def plot(report: dict[str, Any], file: Path) -> None:
    """Four panels. Raises ImportError without matplotlib."""
    pyplot = plotting.pyplot()
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.5))
    rate, rtt = f"{report['rate_mbps']:g} Mbit/s", f"{report['rtt_ms']} ms"
    lines(axes[0][0], report, "goodput_by_loss", [100 * loss for loss in report["losses"]])
    label(axes[0][0], f"goodput against loss; {rate}, {rtt}", "loss, %", "Mbit/s", log="x")
    lines(axes[0][1], report, "goodput_by_rtt", report["rtts_ms"])
    label(axes[0][1], f"goodput against round trip; {rate}, 0.1 % loss", "round trip, ms", "Mbit/s", log="x")
    lines(axes[1][0], report, "completion_ms", [size / 1000 for size in report["sizes"]])
    label(axes[1][0], f"completion of a flow; {rate}, {rtt}, 1 % loss", "kilobytes", "ms", log="xy")
    queues(axes[1][1], report)
    label(axes[1][1], f"the bottleneck's queue; {rate}, {rtt}, no other loss", "seconds", "kilobytes")
    axes[0][0].legend(loc="lower left")
    figure.suptitle("One flow on the virtual network, queue of one bandwidth-delay product; "
                    "median and range of three seeds", fontsize=10)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def label(axis: Any, title: str, x: str, y: str, log: str = "") -> None:
    """What an axis shows."""
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    if "x" in log:
        axis.set_xscale("log")
    if "y" in log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)


def lines(axis: Any, report: dict[str, Any], name: str, places: list[float]) -> None:
    """A line for each congestion control, its range behind it."""
    for number, (control, figures) in enumerate(report["controls"].items()):
        axis.plot(places, [one["median"] for one in figures[name]], f"C{number}.-", label=control)
        low, high = ([one[end] for one in figures[name]] for end in ("min", "max"))
        axis.fill_between(places, low, high, color=f"C{number}", alpha=0.15, linewidth=0)


def queues(axis: Any, report: dict[str, Any]) -> None:
    """The queue over time."""
    for number, (control, figures) in enumerate(report["controls"].items()):
        times = [at * report["sample_ms"] / 1000 for at in range(len(figures["queue_kb"]))]
        axis.plot(times, figures["queue_kb"], f"C{number}", label=control, linewidth=0.9)
