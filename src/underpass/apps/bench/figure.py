"""A figure of the paper, measured: each configuration at each place on the x axis, in rounds that take turns.

A figure's report has every round's values, so that rounds can be added to those of an earlier run.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from underpass.apps.bench.lab import machine
from underpass.observe import plotting

Say = Callable[[str], None]
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Plot:
    """How a figure is drawn: which value over x, in which words."""

    value: str
    x: str
    y: str
    title: str


@dataclass(frozen=True, slots=True)
class Figure:
    """`configurations` by name give a context in which `measure` is called once for each of `places`.

    `against` names for a configuration the one whose value `compares`, or the first plotted one, it is
    divided by, round by round. `measure` returns nothing where a configuration cannot be at that place.
    """

    name: str
    what: str
    configurations: dict[str, Callable[[], AbstractContextManager[Any]]]
    places: Sequence[float]
    measure: Callable[[Any, float, float], Values]
    path: Callable[[Any], str]
    units: dict[str, str]
    plots: tuple[Plot, ...]
    against: dict[str, str] = field(default_factory=dict)
    compares: str = ""

    @property
    def compared(self) -> str:
        """The value that a configuration has so many times of, as `ratio`, as the one it is held against."""
        return self.compares or self.plots[0].value

    def part(self, only: Sequence[str], at: Sequence[float]) -> "Figure":
        """These configurations and places alone; all where none are named. Raises ValueError."""
        for name in only:
            if name not in self.configurations:
                raise ValueError(f"{self.name} has no {name!r}, but: {', '.join(self.configurations)}")
        for place in at:
            if place not in self.places:
                raise ValueError(f"{self.name} is not measured at {place:g}, but at: "
                                 + ", ".join(f"{one:g}" for one in self.places))
        return replace(self, places=[it for it in self.places if it in at or not at], configurations={
            name: one for name, one in self.configurations.items() if name in only or not only})


class Results:
    """Values by configuration and place, round by round; `failures` and active paths beside them."""

    def __init__(self, figure: Figure, seconds: float) -> None:
        self.figure = figure
        self.seconds = seconds
        self.values: dict[str, dict[str, list[Values]]] = {name: {} for name in figure.configurations}
        self.failures: dict[str, list[str]] = {}
        self.paths: dict[str, str] = {}
        self.interrupted = False
        self.failed = False             # this time

    def add(self, name: str, place: float, values: Values) -> None:
        """One more round's values."""
        self.values[name].setdefault(f"{place:g}", []).append(values)

    def take_up(self, earlier: dict[str, Any]) -> None:
        """Go on with the rounds of an earlier report. Raises ValueError where that was measured otherwise."""
        if earlier["seconds"] != self.seconds:
            raise ValueError(f"{self.figure.name} was measured for {earlier['seconds']:g} s each, not for"
                             f" {self.seconds:g} s: other rounds cannot be added to these")
        for name, one in earlier["configurations"].items():
            self.values[name] = {place: points["rounds"] for place, points in one["places"].items()}
            self.paths[name] = one["path"]
            if one["failures"]:
                self.failures[name] = one["failures"]

    def compared(self, name: str, place: str, rounds: list[Values]) -> list[Values]:
        """The rounds, each with its ratio to that of the configuration that this one is held against."""
        other = self.values.get(self.figure.against.get(name, ""), {}).get(place, [])
        value = self.figure.compared
        return [one | ({"ratio": one[value] / peer[value]} if peer.get(value) else {})
                for one, peer in zip(rounds, other, strict=False)] + rounds[len(other):]

    def report(self) -> dict[str, Any]:
        """The document: mean and standard error of each value, and the rounds behind them."""
        return {
            "figure": self.figure.name, "what": self.figure.what, "machine": machine(),
            "seconds": self.seconds, "interrupted": self.interrupted, "units": self.figure.units,
            "configurations": {name: {
                "path": self.paths.get(name, ""), "failures": self.failures.get(name, []),
                "places": {place: {"rounds": rounds, "values": summary(self.compared(name, place, rounds))}
                           for place, rounds in places.items()},
            } for name, places in self.values.items()},
        }


def summary(rounds: Sequence[Values]) -> dict[str, dict[str, float]]:
    """Mean and standard error of each value; the error of a single round is not known, and left out."""
    found = {}
    for name in dict.fromkeys(name for one in rounds for name in one):
        values = [one[name] for one in rounds if name in one]
        found[name] = {"mean": statistics.fmean(values), "rounds": len(values)}
        if len(values) > 1:
            found[name]["standard_error"] = statistics.stdev(values) / len(values) ** 0.5
    return found


def measure(results: Results, rounds: int, say: Say) -> None:
    """So many rounds more: in each the configurations take turns, in changing order. Ctrl-C ends it with
    what is complete.
    """
    figure = results.figure
    names = list(figure.configurations)
    try:
        for turn in range(rounds):
            for name in names if turn % 2 == 0 else names[::-1]:
                say(f"round {turn + 1}/{rounds}: {name}")
                try:
                    one_configuration(results, name)
                except (OSError, ValueError, RuntimeError) as error:
                    results.failures.setdefault(name, []).append(str(error))
                    results.failed = True
                    say(f"  failed: {error}")
    except KeyboardInterrupt:
        results.interrupted = True
        say("interrupted: what is complete is kept")


def one_configuration(results: Results, name: str) -> None:
    """All places of one configuration; kept only together."""
    figure = results.figure
    with figure.configurations[name]() as lab:
        values = [figure.measure(lab, place, results.seconds) for place in figure.places]
        results.paths[name] = figure.path(lab)
    for place, one in zip(figure.places, values, strict=True):
        if one:
            results.add(name, place, one)


def with_error(value: dict[str, float]) -> str:
    """Mean and standard error, with the digits that matter."""
    digits = "{:,.0f}" if abs(value["mean"]) >= 1000 else "{:.3g}"
    text = digits.format(value["mean"])
    return f"{text} +- {value['standard_error']:.2g}" if "standard_error" in value else text


def table(report: dict[str, Any]) -> list[list[str]]:
    """Rows of cells: a line for each value at each place, a column for each configuration."""
    configurations = report["configurations"]
    places = dict.fromkeys(place for one in configurations.values() for place in one["places"])
    rows = [["at", "value", *configurations]]
    for place in places:
        found = {name: one["places"].get(place, {}).get("values", {}) for name, one in configurations.items()}
        for value in dict.fromkeys(value for one in found.values() for value in one):
            cells = [with_error(one[value]) if value in one else "-" for one in found.values()]
            rows.append([place, report["units"].get(value, value), *cells])
    return rows


def plot(report: dict[str, Any], plots: Sequence[Plot], file: Path) -> None:
    """Lines with the standard error as bars, a panel for each plot. Raises ImportError without matplotlib."""
    pyplot = plotting.pyplot()
    drawn, axes = pyplot.subplots(1, len(plots), figsize=(5.2 * len(plots), 4), squeeze=False)
    for axis, one in zip(axes[0], plots, strict=True):
        for name, configuration in report["configurations"].items():
            points = [(float(place), at["values"][one.value])
                      for place, at in configuration["places"].items() if one.value in at["values"]]
            axis.errorbar([x for x, _ in points], [value["mean"] for _, value in points], marker="o",
                          yerr=[value.get("standard_error", 0) for _, value in points], label=name, capsize=2)
        axis.set(xlabel=one.x, ylabel=one.y, title=one.title)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
    drawn.suptitle(f"Linux {report['machine']['kernel']}, {report['machine']['processor']}", fontsize=8)
    drawn.tight_layout()
    drawn.savefig(file, dpi=130)
    pyplot.close(drawn)
