"""A figure's rounds: turns, means and their errors, failures, interruption, and rounds added later."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from underpass.apps.bench import figure
from underpass.apps.bench.figure import Figure, Plot, Results, Values
from underpass.apps.bench.figure_text import write


class Bench:
    """Two configurations; what was measured in which order, and what goes wrong."""

    def __init__(self) -> None:
        self.order: list[tuple[str, float]] = []
        self.fails: dict[str, BaseException] = {}

    def context(self, name: str) -> Callable[[], AbstractContextManager[str]]:
        @contextmanager
        def ready() -> Iterator[str]:
            yield name
        return ready

    def measure(self, lab: str, place: float, seconds: float) -> Values:
        if lab in self.fails:
            raise self.fails[lab]
        self.order.append((lab, place))
        return {"value": len(self.order) * seconds}

    def figure(self) -> Figure:
        return Figure("f", "a figure", {name: self.context(name) for name in "ab"}, (0, 50), self.measure,
                      lambda lab: f"path of {lab}", {"value": "units"}, (Plot("value", "x", "y", "t"),))


def measured(bench: Bench, rounds: int, seconds: float = 1) -> Results:
    results = Results(bench.figure(), seconds)
    figure.measure(results, rounds, lambda _: None)
    return results


def test_configurations_take_turns_in_changing_order() -> None:
    bench = Bench()
    measured(bench, 3)
    assert "".join(name for name, place in bench.order if place == 0) == "abbaab"


def test_mean_and_standard_error() -> None:
    found = figure.summary([{"x": 1.0}, {"x": 2.0}, {"x": 3.0}, {"x": 6.0, "y": 5.0}])
    assert found["x"] == {"mean": 3.0, "rounds": 4, "standard_error": pytest.approx((14 / 3) ** 0.5 / 2)}
    assert found["y"] == {"mean": 5.0, "rounds": 1}
    assert figure.with_error(found["x"]) == "3 +- 1.1"
    assert figure.with_error(found["y"]) == "5"


def test_a_failure_is_kept_and_the_others_go_on() -> None:
    bench = Bench()
    bench.fails["a"] = OSError("no such thing")
    report = measured(bench, 2).report()
    assert report["configurations"]["a"]["failures"] == ["no such thing"] * 2
    assert report["configurations"]["a"]["places"] == {}
    assert len(report["configurations"]["b"]["places"]["50"]["rounds"]) == 2
    assert figure.table(report)[1:] == [["0", "units", "-", "2 +- 1"], ["50", "units", "-", "3 +- 1"]]


def test_a_configuration_is_held_against_another_round_by_round() -> None:
    bench = Bench()
    results = Results(dataclasses.replace(bench.figure(), against={"b": "a"}), 1)
    figure.measure(results, 2, lambda _: None)          # a 1 2, b 3 4, then b 5 6, a 7 8
    places = results.report()["configurations"]["b"]["places"]
    assert places["0"]["values"]["ratio"]["mean"] == pytest.approx((3 / 1 + 5 / 7) / 2)
    assert "ratio" not in results.report()["configurations"]["a"]["places"]["0"]["values"]
    assert "ratio" not in places["0"]["rounds"][0]


def test_an_interruption_keeps_what_is_complete() -> None:
    bench = Bench()
    bench.fails["b"] = KeyboardInterrupt()
    results = measured(bench, 5)
    assert results.interrupted
    assert bench.order == [("a", 0), ("a", 50)]
    assert list(results.report()["configurations"]["a"]["places"]) == ["0", "50"]


def test_rounds_are_added_to_those_of_a_file(tmp_path: Path) -> None:
    earlier = json.loads(json.dumps(measured(Bench(), 2).report()))
    later = Results(Bench().figure().part(["a"], [0]), 1)
    later.take_up(earlier)
    figure.measure(later, 1, lambda _: None)
    report = later.report()
    assert len(report["configurations"]["a"]["places"]["50"]["rounds"]) == 2
    assert len(report["configurations"]["b"]["places"]["0"]["rounds"]) == 2
    assert len(report["configurations"]["a"]["places"]["0"]["rounds"]) == 3
    assert report["configurations"]["a"]["path"] == "path of a"


def test_rounds_of_another_length_are_not_added() -> None:
    with pytest.raises(ValueError, match="f was measured for 1 s each, not for 2 s"):
        Results(Bench().figure(), 2).take_up(measured(Bench(), 1).report())


@pytest.mark.parametrize(("only", "at", "said"), [(["c"], [], "f has no 'c', but: a, b"),
                                                  ([], [7], "f is not measured at 7, but at: 0, 50")])
def test_what_a_figure_has_not_is_refused(only: list[str], at: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Bench().figure().part(only, at)


def test_where_a_configuration_cannot_be_there_is_nothing() -> None:
    bench = Bench()
    nowhere = dataclasses.replace(bench.figure(), measure=lambda _, place, __: {"value": 1} if place else {})
    results = Results(nowhere, 1)
    figure.measure(results, 2, lambda _: None)
    assert list(results.report()["configurations"]["a"]["places"]) == ["50"]


def test_tables_take_their_place_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    write([measured(Bench(), 2).report()], page)
    page.write_text(page.read_text() + "\nWhat it means.\n")
    first = page.read_text()
    assert "| a | 4 +- 3 | 5 +- 3 |" in first
    write([measured(Bench(), 2, seconds=10).report()], page)
    assert "| a | 40 +- 30 | 50 +- 30 |" in page.read_text()
    assert page.read_text().count("\n") == first.count("\n")
    assert page.read_text().endswith("\nWhat it means.\n")


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench = Bench()
    figure.plot(measured(bench, 2).report(), bench.figure().plots, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
