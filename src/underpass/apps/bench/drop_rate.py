"""How many packets the shield drops in a second of the core, end to end, beside a bare drop program there.

The flood is one that veth's ring takes whole, and there are no clients: what comes in is what is dropped. (Of
all that can be sent much finds the ring full, and what its sender has to take back makes it wait for the same
locks as the receiver: that says little of the program.) Receive work is pinned to the server's core, the
sender to the other; the configurations take turns.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from underpass.apps.bench.ddos_figure import Shielded, configurations, ready, received
from underpass.apps.bench.floods import Target, flooding

SECONDS, WARM_S = 1.0, 0.3
OFFERED_MPPS = 1.0
GOAL = 0.9                              # of the bare drop's rate
LISTED = '[lists.bad]\nprefixes = ["32.0.0.0/4"]\n[interface]\nbogons = "off"\n'     # all sources of a flood
BARE = "bare drop"


class ByList(Shielded):
    """`underpass serve --shield` with all sources of the flood in a deny list."""

    flood = "udp"

    def policy(self) -> str:
        """Instead of dropping by protocol."""
        return LISTED


UNDER_UDP = configurations("udp")       # figure 5's
CONFIGURATIONS: dict[str, Callable[[], AbstractContextManager[Target]]] = {
    BARE: UNDER_UDP["bare drop"], "UDP rule": UNDER_UDP["shield"], "deny list": partial(ready, ByList, "udp")}


def rate(target: Target) -> dict[str, float]:
    """Millions of packets that came in, a second, and a second that the core was not idle."""
    meter = target.lab.meter()
    with flooding(target, OFFERED_MPPS, WARM_S + SECONDS):
        time.sleep(WARM_S)
        before, came = meter.read(), received(target.there)
        time.sleep(SECONDS)
        used, came = meter.read() - before, received(target.there) - came
    return {"mpps": came / used.wall_ns * 1e3, "core_mpps": came / used.busy_ns * 1e3}


def measure(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All configurations, `rounds` times in turns. Raises OSError, CommandError."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONFIGURATIONS}
    for turn in range(rounds):
        say(f"drop rate, round {turn + 1} of {rounds}")
        for name, made in CONFIGURATIONS.items():
            with made() as target:
                found[name].append(rate(target))
    bare = [one["core_mpps"] for one in found[BARE]]
    ratios = {name: [one["core_mpps"] / beside for one, beside in zip(them, bare, strict=True)]
              for name, them in found.items()}
    return {name: {"mpps": statistics.median(one["mpps"] for one in them),
                   "core_mpps": statistics.median(one["core_mpps"] for one in them),
                   "of_bare": statistics.median(ratios[name]),
                   "least": min(ratios[name]), "most": max(ratios[name]), "goal": GOAL}
            for name, them in found.items()}


def cells(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """As text."""
    return [("DROPPED END TO END BY", "MPPS", "MILLIONS A CORE-SECOND", "OF BARE", "GOAL", ""), *(
        (name, f"{row['mpps']:.2f}", f"{row['core_mpps']:.2f}", f"{row['of_bare']:.2f}",
         "" if name == BARE else f">= {row['goal']}",
         "" if name == BARE else "met" if row["of_bare"] >= row["goal"] else "not met")
        for name, row in report.items())]
