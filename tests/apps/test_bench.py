"""The bench's arithmetic: accounting, goals, and the report, without measuring anything."""

import os
import socket
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from underpass.apps.bench import paths, peers, present, recovery, workers
from underpass.apps.bench.clients import field
from underpass.apps.bench.cost import Usage, core_ticks, run_ns, socket_slab_bytes
from underpass.apps.bench.lab import PLACEMENTS
from underpass.apps.bench.rows import ROWS, Goal
from underpass.apps.bench_engine import EngineBench
from underpass.apps.bench_handover import HandoverBench


def result(**figures: float) -> peers.Series:
    """One server's row of two rounds, the second a tenth more."""
    return peers.Series("", "path", [dict(figures), {name: 1.1 * value for name, value in figures.items()}])


@pytest.mark.parametrize(("goal", "ours", "peer", "met"), [
    (Goal("x", 1 / 3, most=True), 1.0, 3.1, True), (Goal("x", 1 / 3, most=True), 1.1, 3.1, False),
    (Goal("x", 1.25, most=False), 125, 100, True), (Goal("x", 1.25, most=False), 124, 100, False),
    (Goal("x", 1, most=True), 1, None, None), (Goal("x", 0, most=True, relative=False), 0, None, True),
])
def test_goals(goal: Goal, ours: float, peer: float | None, met: bool | None) -> None:
    assert goal.met(ours, peer) is met


def test_usage_is_a_difference_and_the_core_is_the_sum_of_its_parts() -> None:
    used = Usage(100, 50, 30, 20, 95) - Usage(10, 5, 3, 2, 5)
    assert used == Usage(90, 45, 27, 18, 90)
    assert used.core_ns == 45 + 27 + 18


def test_processor_time_of_this_process_grows() -> None:
    before = run_ns(os.getpid())
    while run_ns(os.getpid()) == before:
        sum(range(10000))
    assert before > 0
    assert len(core_ticks(0)) >= 8
    with pytest.raises(OSError, match="no core 9999"):
        core_ticks(9999)


@pytest.mark.skipif(os.geteuid() != 0, reason="/proc/slabinfo is root's")
def test_the_kernel_s_sockets_are_counted_by_what_they_are_made_of() -> None:
    before = socket_slab_bytes()
    with ExitStack() as opened:
        for _ in range(500):
            opened.enter_context(socket.socket())
        assert socket_slab_bytes() - before > 500 * 2000


def test_ab_s_report_is_read() -> None:
    assert field("Complete requests:      5000\nFailed requests:        7\n", "Failed requests") == 7


def test_rows_have_names_of_their_own_and_known_placements() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.placement for row in ROWS} <= set(PLACEMENTS)
    with pytest.raises(ValueError, match="no row 'x'; rows are keep-alive, "):
        peers.chosen(["x"])


def test_the_report_says_medians_goals_and_circumstances(tmp_path: Path) -> None:
    results = {"keep-alive": {"underpass": result(requests_per_s=200.0, process_us=1.0),
                              "nginx": result(requests_per_s=100.0, process_us=6.0)}}
    report = peers.report(results, rounds=2, seconds=1)
    row = report["rows"][0]
    peer = row["servers"]["nginx"]["figures"]
    assert peer["process_us"] == pytest.approx({"median": 6.3, "min": 6, "max": 6.6})
    assert [goal["met"] for goal in row["goals"]] == [True, True]
    assert row["goals"][1]["ratio"] == pytest.approx(2)
    assert {"kernel", "mitigations", "processor"} <= set(report["machine"])
    text = StringIO()
    present.show(report, Console(file=text, width=140))
    assert "2.00 x [>= 1.25 x nginx: met]" in text.getvalue()
    assert "210 (200..220)" in text.getvalue()


def test_paths_have_names_of_their_own() -> None:
    assert len({row.name for row in paths.PATHS}) == len(paths.PATHS)
    assert {figure for row in paths.PATHS for figure in row.figures} <= set(paths.UNITS)
    assert all(goal.figure in row.figures for row in paths.PATHS for goal in row.goals)
    with pytest.raises(ValueError, match="no row 'x'; rows are veth, "):
        recovery.chosen(["x"])


def test_the_report_of_recovery_compares_with_linux() -> None:
    results = {"fairness": {"underpass": result(share=50.0), "linux": result(share=50.0)},
               "loss-1": {"underpass": result(down_mbit=110.0, up_mbit=90.0),
                          "linux": result(down_mbit=100.0, up_mbit=100.0)}}
    report = recovery.report(results, rounds=2)
    fairness, loss = report["rows"]
    assert [goal["met"] for goal in fairness["goals"]] == [True, True]
    assert [goal["met"] for goal in loss["goals"]] == [True, False]
    text = StringIO()
    present.show(report, Console(file=text, width=140))
    assert "1.10 x [>= 1 x linux: met]" in text.getvalue()
    assert "0.90 x [>= 1 x linux: not met]" in text.getvalue()


def test_the_report_of_workers_compares_two_workers_with_one() -> None:
    results = {"cores": {workers.ONE.name: result(request_us=4.0),
                         workers.TWO.name: result(request_us=4.1, errors=0.0),
                         workers.TWO_APART.name: result(request_us=3.8),
                         workers.FOUR.name: peers.Series("4")},
               "capture": {workers.ONE.name: result(capture_percent=9.0)}}
    report = workers.report(results, rounds=2, seconds=1)
    cost, errors = report["rows"][0]["goals"]
    assert (cost["times"], cost["met"]) == (workers.ONE.name, True)
    assert cost["ratio"] == pytest.approx(4.1 / 4.0)
    assert errors["met"]
    assert [goal["met"] for goal in report["rows"][1]["goals"]] == [True]
    assert report["model"]["4"] == pytest.approx(4 * 1e6 / (4.1 * 1.05))
    assert "not measured" in workers.model_text(report)
    assert {goal.figure for row in workers.ROWS for goal, *_ in row.goals} <= set(workers.UNITS)


def test_without_two_workers_there_is_no_model() -> None:
    report = workers.report({"idle": {workers.FOUR.name: result(idle_percent=0.2)}}, rounds=2, seconds=1)
    assert workers.model_text(report).startswith("no model")


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    results = {"keep-alive": {"underpass": result(requests_per_s=2.0)}}
    present.plot(peers.report(results, 2, 1), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_engine_s_bench_answers_every_question() -> None:
    engine = EngineBench(100)
    figures = engine.run(0.05)
    engine.close()
    assert figures["transactions"] > 100
    # A question and its answer are two segments, each handled at both ends; more only for acknowledgments.
    assert figures["segments"] >= 4 * figures["transactions"]


def test_the_handover_bench_hands_every_question_over() -> None:
    engine = HandoverBench(100)
    figures = engine.run(0.2)
    engine.close()
    assert figures["transactions"] > 0
    assert figures["handed_over"] >= figures["transactions"]


def test_the_engine_s_bench_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="0 connections"):
        EngineBench(0)
