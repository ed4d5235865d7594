"""The commands that measure the paper's figures: tables and files come out, and nothing is left behind.

No figure is looked at: that would be a test of the machine.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or (os.cpu_count() or 1) < 2,
                                reason="measuring needs root, for network namespaces, and two cores")
NAPI_FIRST = shutil.which("chrt") and subprocess.run(["chrt", "--fifo", "1", "true"], capture_output=True,
                                                     check=False).returncode == 0
SHORT = ("--rounds", "1", "--seconds", "1")
BENCH = (sys.executable, "-m", "underpass.cli", "bench")


def left_by(pid: int) -> list[str]:
    """Namespaces of a process."""
    return [path.name for path in Path("/run/netns").glob(f"up-{pid}-*")]


FLOODED = ("--only", "shield", "--only", "nginx, nftables", "--at")


@pytest.mark.timeout(300)           # several servers are started, beside whatever else the machine does
@pytest.mark.parametrize(("words", "figure", "place", "value"), [
    (("cores", "--only", "underpass", "--only", "kernel sockets", "--at", "1"), "cores", "1",
     "req/s per core"),
    (("cores", "--only", "underpass", "--at", "2"), "cores", "2", "req/s per core"),
    (("load", "--only", "underpass", "--at", "10"), "load", "10", "% of the core not idle"),
    (("cpu", "--only", "afxdp, two threads", "--at", "100"), "cpu", "100", "req/s"),
    (("ddos", "--flood", "udp", "--only", "bare drop", "--only", "bare drop, own ring", *FLOODED, "0.16"),
     "ddos-udp", "0.16", "% answered in time"),
    (("ddos", "--flood", "syn", *FLOODED, "0.16"), "ddos-syn", "0.16", "Mpps that came in"),
    (("ddos", "--flood", "syn", "--only", "shield"), "ddos-syn", "5", "Mpps that came in"),
    (("ddos", "--flood", "ack", *FLOODED, "0.16"), "ddos-ack", "0.16", "Mpps that came in"),
    (("ddos", "--flood", "requests", *FLOODED, "1"), "ddos-requests", "1", "req/s answered"),
], ids=["cores", "two queues", "load", "cpu", "udp", "syn", "syn at all rates", "ack", "requests"])
def test_a_figure_comes_out(words: tuple[str, ...], figure: str, place: str, value: str,
                            tmp_path: Path) -> None:
    if words[0] == "ddos" and not NAPI_FIRST:
        pytest.skip("this machine has no SCHED_FIFO for us, which floods are received with")
    file, page = tmp_path / "figures.json", tmp_path / "page.md"
    command = subprocess.Popen([*BENCH, *words, *SHORT, "--json", str(file), "--markdown", str(page)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = command.communicate(timeout=240)
    assert command.returncode == 0, out + err
    assert left_by(command.pid) == []
    report = json.loads(file.read_text())["figures"][figure]
    asked = [word for word, before in zip(words[1:], words, strict=False) if before == "--only"]
    for name in asked:
        (one,) = report["configurations"][name]["places"][place]["rounds"]
        assert {report["units"].get(it, it) for it in one} >= {value}
    assert value in out
    assert f"<!-- figure {figure} -->" in page.read_text()


@pytest.mark.timeout(300)
def test_an_interruption_leaves_nothing_and_keeps_what_there_is(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = subprocess.Popen([*BENCH, "paper", *SHORT, "--json", str(file)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert command.stderr is not None
    for line in command.stderr:
        if line.startswith("round 1/1: underpass"):
            break
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=120)
    assert command.returncode == 1, err
    assert "interrupted: what is complete is kept" in err
    assert left_by(command.pid) == []
    assert json.loads(file.read_text())["figures"]["cores"]["interrupted"] is True


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BENCH, *words], capture_output=True, text=True, check=False, timeout=60)


def test_what_a_file_has_is_shown_and_drawn_without_measuring(tmp_path: Path) -> None:
    file, page = tmp_path / "figures.json", tmp_path / "page.md"
    facts = {"kernel": "6", "processor": "p", "cores": "2"}
    at = {"rounds": [{"requests_per_s": 7.0}], "values": {"requests_per_s": {"mean": 7.0, "rounds": 1}}}
    report = {"figure": "cpu", "what": "Figure 4", "machine": facts, "seconds": 3, "interrupted": False,
              "units": {"requests_per_s": "req/s"},
              "configurations": {"one": {"path": "p", "failures": [], "places": {"100": at}}}}
    file.write_text(json.dumps({"figures": {"cpu": report}}))
    done = bench("paper", "--show", "--json", str(file), "--markdown", str(page))
    assert done.returncode == 0, done.stderr
    assert "Figure 4" in done.stdout
    assert "| one | 7 |" in page.read_text()
    assert json.loads(file.read_text())["figures"]["cpu"] == report


@pytest.mark.parametrize(("words", "said"), [
    (["load", "--add"], "--add needs a file"), (["paper", "--show"], "--show needs a file"),
    (["cpu", "--only", "x"], "cpu has no 'x', but: dpdk, run to completion"),
    (["ddos", "--at", "0.5"], "ddos-udp is not measured at 0.5, but at: 0, 0.16"),
    (["load", "--show", "--json", "{bad}"], "holds no figures: the whole has no 'figures'"),
])
def test_what_cannot_be_measured_is_refused_in_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("{}")
    done = bench(*(word.format(bad=bad) for word in words))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
