"""Underpass beside nginx: every row in several rounds, the servers taking turns, medians and spreads."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from underpass.apps.bench.cost import HOW
from underpass.apps.bench.lab import PLACEMENTS, lab, machine
from underpass.apps.bench.rows import PLOTTED, ROWS, UNITS, EngineRow, Figures, Goal, Row
from underpass.apps.bench.servers import Nginx, Server, Underpass

Say = Callable[[str], None]
AnyRow = Row | EngineRow


class Named(Protocol):
    """What can be chosen by its name."""

    @property
    def name(self) -> str:
        """As it is given on the command line."""


AnyNamed = TypeVar("AnyNamed", bound=Named)


@dataclass(slots=True)
class Series:
    """One server's figures in one row, round by round."""

    server: str
    path: str = ""
    rounds: list[Figures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, dict[str, float]]:
        """Median and spread of each figure."""
        names = dict.fromkeys(name for one in self.rounds for name in one)
        return {name: spread([one[name] for one in self.rounds if name in one]) for name in names}


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def chosen(only: Iterable[str]) -> list[AnyRow]:
    """The rows by name, all of them for none."""
    return by_name(ROWS, only)


def by_name(rows: Sequence[AnyNamed], only: Iterable[str]) -> list[AnyNamed]:
    """The rows by name, all of them for none. Raises ValueError for a name that is not a row's."""
    wanted = list(only)
    names = [row.name for row in rows]
    for name in wanted:
        if name not in names:
            raise ValueError(f"no row {name!r}; rows are {', '.join(names)}")
    return [row for row in rows if not wanted or row.name in wanted]


def measure(rows: list[AnyRow], rounds: int, seconds: float, say: Say) -> dict[str, dict[str, Series]]:
    """All rows, `rounds` times: in each round the servers take turns, in changing order."""
    results: dict[str, dict[str, Series]] = {row.name: {} for row in rows}
    for turn in range(rounds):
        for row in rows:
            for kind in row.servers if turn % 2 == 0 else reversed(row.servers):
                say(f"round {turn + 1}/{rounds}: {row.name}, {kind.name}")
                once(row, kind, seconds, results[row.name].setdefault(kind.name, Series(kind.name)), say)
    return results


def once(row: AnyRow, kind: type[Server], seconds: float, series: Series, say: Say) -> None:
    """One row with one server, in namespaces of its own. A failure is a result too: it is kept and said."""
    try:
        if isinstance(row, EngineRow):
            series.rounds.append(row.measure(seconds))
            return
        with lab(kind, row.placement) as place:
            series.path = place.server.path()
            series.rounds.append(row.measure(place, seconds))
    except (OSError, ValueError, RuntimeError) as error:
        series.failures.append(str(error))
        say(f"  failed: {error}")


def report(results: dict[str, dict[str, Series]], rounds: int, seconds: float) -> dict[str, Any]:
    """Everything as one JSON document."""
    by_name = {row.name: row for row in ROWS}
    return {
        "machine": machine(), "how": f"processor time: {HOW}", "rounds": rounds, "seconds": seconds,
        "length": f"{rounds} rounds of {seconds:g} s", "units": UNITS, "plotted": PLOTTED,
        "rows": [row_report(by_name[name], series) for name, series in results.items()],
    }


def row_report(row: AnyRow, series: dict[str, Series]) -> dict[str, Any]:
    """One row: its placement, each server's figures, and what came of its goals."""
    servers = {name: {"path": one.path, "figures": one.figures(), "failures": one.failures}
               for name, one in series.items()}
    return {"name": row.name, "what": row.what, "placement": f"{row.placement}: {PLACEMENTS[row.placement]}",
            "servers": servers, "goals": goals(row.goals, series, Nginx.name)}


def goals(wanted: Iterable[Goal], series: dict[str, Series], against: str,
          ours: str = Underpass.name) -> list[dict[str, Any]]:
    """Each goal with what was reached and whether that is enough, beside the server named `against`."""
    mine = series[ours].figures() if ours in series else {}
    peer = series[against].figures() if against in series else {}
    found = []
    for goal in wanted:
        own = mine.get(goal.figure, {}).get("median")
        other = peer.get(goal.figure, {}).get("median")
        met = None if own is None else goal.met(own, other)
        ratio = own / other if own is not None and other else None
        found.append({"figure": goal.figure, "bound": goal.bound, "at_most": goal.most,
                      "times": against if goal.relative else None, "ratio": ratio, "met": met})
    return found
