"""`underpass bench asyncio`: rows, goals and report without measuring, and one short run of two loops."""

import ast
import importlib.util
import os
import re
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from underpass.apps.bench import peers, present, python_rows
from underpass.apps.bench.lab import PLACEMENTS
from underpass.apps.bench.python_programs import LARGE, NATIVE, PROGRAMS, loop_of
from underpass.apps.bench.python_servers import LOOPS, PORT, PythonServer
from underpass.linux.namespaces import side

BY_NAME = {row.name: row for row in python_rows.ROWS}


def result(**figures: float) -> peers.Series:
    """One loop's row of two rounds, the second a tenth more."""
    return peers.Series("", "path", [dict(figures), {name: 1.1 * value for name, value in figures.items()}])


def test_rows_have_names_of_their_own_and_known_placements() -> None:
    assert len(BY_NAME) == len(python_rows.ROWS)
    assert {row.placement for row in python_rows.ROWS} <= set(PLACEMENTS)
    with pytest.raises(ValueError, match="no row 'x'; rows are hello, hello-pinned, echo, "):
        python_rows.chosen(["x"])
    assert [row.name for row in python_rows.chosen(["tls", "hello"])] == ["hello", "tls"]


@pytest.mark.parametrize("row", python_rows.ROWS, ids=lambda row: row.name)
def test_each_row_has_the_same_program_on_each_loop(row: "python_rows.Row", tmp_path: Path) -> None:
    """Its command is one that `python_programs` takes."""
    loops = [it.name for it in row.servers]
    assert loops[:3] == list(LOOPS)
    assert set(loops[3:]) <= {NATIVE}
    assert len({it.program for it in row.servers}) == 1                     # type: ignore[attr-defined]
    (tmp_path / "server.pem").write_text("made before")
    for kind in row.servers:
        server = kind.__new__(kind)
        assert isinstance(server, PythonServer)
        server.pair, server.scratch = Namespaces(), tmp_path                # type: ignore[assignment]
        python, _, module, program, loop, interface, address, port, *rest = server.command()
        assert python == sys.executable
        assert importlib.util.find_spec(module) is not None
        assert program in PROGRAMS
        assert (loop, interface, address, int(port)) == (kind.name, "here", "198.18.0.1", PORT)
        assert rest == ([str(tmp_path / "server.pem")] if program == "tls" else [])
        scheme = "https" if program == "tls" else "http"
        assert server.url("hello") == f"{scheme}://198.18.0.1:{PORT}/hello"


class Namespaces:
    """As much of a pair as a command needs."""

    server = side("server", "here", 1)


def test_goals_are_of_figures_that_have_units() -> None:
    units = python_rows.report({}, 1, 1)["units"]
    assert {goal.figure for row in python_rows.ROWS for goal in row.goals} <= set(units)


def test_the_report_holds_our_loop_against_uvloop() -> None:
    results = {
        "hello": {"underpass": result(process_us=1.0), "uvloop": result(process_us=3.1),
                  "asyncio": result(process_us=9.0)},
        "uvicorn": {"underpass": result(process_us=3.0), "uvloop": result(process_us=3.1)},
        "large": {"underpass": result(down_gbit_per_s=30.0, up_gbit_per_s=20.0),
                  "uvloop": result(down_gbit_per_s=29.0, up_gbit_per_s=21.0)},
        "tls": {"underpass": result(process_us=3.0), "uvloop": peers.Series("uvloop", failures=["it fell"])}}
    report = python_rows.report(results, rounds=2, seconds=1)
    assert [[goal["met"] for goal in row["goals"]] for row in report["rows"]] == [
        [True], [False], [True, False], [None]]
    hello = report["rows"][0]
    assert hello["goals"][0]["ratio"] == pytest.approx(1 / 3.1)
    assert list(hello["servers"]) == ["underpass", "uvloop", "asyncio"]
    assert hello["servers"]["asyncio"]["figures"]["process_us"] == pytest.approx(
        {"median": 9.45, "min": 9, "max": 9.9})
    assert report["rows"][3]["servers"]["uvloop"]["failures"] == ["it fell"]
    text = StringIO()
    present.show(report, Console(file=text, width=300))
    assert "uvloop: met]" in text.getvalue()
    assert "uvloop: not met]" in text.getvalue()


def test_an_echo_s_request_is_a_response_of_a_kibibyte() -> None:
    """After the first, which wrk wants to be a request."""
    first, message = (ast.literal_eval(it) for it in sorted(
        re.findall(r'"[^"]*"', python_rows.echo_script()), key=len))
    assert first == "GET / HTTP/1.1\r\n\r\n"
    assert len(message) == python_rows.ECHO_BYTES
    head, _, body = message.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}" in head


def test_asyncio_s_loop_is_asyncio_s() -> None:
    loop = loop_of("asyncio", "nowhere")
    assert type(loop).__module__.startswith("asyncio.")
    loop.close()
    assert LARGE == 100_000_000


@pytest.mark.skipif(os.geteuid() != 0 or (os.cpu_count() or 1) < 2,
                    reason="measuring needs root, for network namespaces, and two cores")
@pytest.mark.timeout(120)
def test_two_loops_are_measured() -> None:
    """Briefly; what comes out is not looked at but for its form."""
    pytest.importorskip("uvloop", reason="uvloop is not installed (the extra `programs`)")
    (row,) = python_rows.chosen(["hello"])
    said: list[str] = []
    series = {kind.name: peers.Series(kind.name) for kind in row.servers[:2]}
    for kind in row.servers[:2]:
        peers.once(row, kind, 1, series[kind.name], said.append)
    assert said == []
    (report,) = python_rows.report({"hello": series}, rounds=1, seconds=1)["rows"]
    assert report["servers"]["uvloop"]["path"] == "kernel TCP"
    assert "XDP" in report["servers"]["underpass"]["path"]
    for one in report["servers"].values():
        assert one["figures"]["requests_per_s"]["median"] > 0
        assert one["figures"]["process_us"]["median"] > 0
    (goal,) = report["goals"]
    assert goal["ratio"] > 0
