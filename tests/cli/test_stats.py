"""`underpass stats` on workers in another process."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.cli.worker import worker

from underpass.cli import main
from underpass.cli.stats import rate_text

Stats = Callable[..., str]


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    with worker() as it:
        yield it


@pytest.fixture
def stats(pid: int, capsys: pytest.CaptureFixture[str]) -> Stats:
    def run(*words: str) -> str:
        assert main(["stats", "--pid", str(pid), *words]) == 0
        return capsys.readouterr().out
    return run


def test_each_of_two_workers_in_a_process_has_its_own_counters(stats: Stats) -> None:
    client, server = re.split(r"^\d+  up-server  ", stats(), flags=re.MULTILINE)
    assert re.match(r"\d+  up-client  ", client)
    assert re.search(r"^tcp +active_opens +4$", client, re.MULTILINE)
    assert re.search(r"^tcp +passive_opens +3$", server, re.MULTILINE)
    assert "passive_opens" not in client and "active_opens" not in server
    assert re.search(r"^pool +frames +4,096$", client, re.MULTILINE)
    assert not re.search(r" 0$", client, re.MULTILINE)


def test_zeros_and_filters(stats: Stats) -> None:
    shown = stats("--all", "refused", "tcp.resets_*")
    assert {line.split()[0] for line in shown.splitlines()[1:] if "up-" not in line} == {"refused", "tcp"}
    assert re.search(r"^tcp +resets_out +0$", shown, re.MULTILINE)
    assert re.search(r"^refused +tcp_checksum +0$", shown, re.MULTILINE)
    assert "segments_in" not in shown


def test_json_has_every_counter(stats: Stats) -> None:
    said = json.loads(stats("--json", "link"))
    assert {row["layer"] for row in said["counters"]} == {"link"}
    assert {row["interface"] for row in said["counters"]} == {"up-client", "up-server"}
    assert any(row["value"] == 0 for row in said["counters"])
    assert "up-client" in [row.get("interface") for row in said["workers"]]


def test_what_is_counted_a_second(stats: Stats) -> None:
    shown = stats("--interval", "0.2", "--count", "2")
    assert shown.count("up-client") == 2
    assert re.search(r"^tcp +payload_out +[\d,]+/s$", shown, re.MULTILINE)
    assert re.search(r"^tcp +connections +4$", shown, re.MULTILINE)
    assert "no_listener" not in shown                   # once, before
    assert "active_opens" not in shown


def test_what_is_counted_a_second_as_json_one_document_a_line(stats: Stats) -> None:
    said = stats("--interval", "0.1", "--count", "2", "--json")
    documents = [json.loads(line) for line in said.splitlines()]
    assert len(documents) == 2
    rates = {(row["interface"], row["name"]): row["per_second"] for row in documents[1]}
    assert rates["up-client", "payload_out"] > 0
    assert rates["up-client", "no_listener"] == 0
    assert rates["up-client", "turns"] == 0             # the loop of a virtual network never runs


@pytest.mark.parametrize(("words", "said"), [
    (["retransmit"], "no counter is named retransmit; layers are xdp, socket, link, refused, tcp, "),
    (["tcp", "nix*"], "no counter is named nix*; "),
])
def test_a_filter_that_names_nothing(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", *words]) == 1
    assert said in capsys.readouterr().err


def test_a_count_needs_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["stats", "--count", "3"])
    assert ended.value.code == 2
    assert "--count needs --interval" in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "text"), [(None, "-"), (0, "0/s"), (0.5, "0.50/s"), (63.51, "63.5/s"),
                                            (205232.4, "205,232/s")])
def test_rates_read_well(rate: float | None, text: str) -> None:
    assert rate_text(rate) == text


def test_a_worker_that_is_killed_while_it_is_watched_is_no_error() -> None:
    program = ("from underpass.testing import Network\nimport sys\n"
               "hosts = Network(seed=1, capture=False).pair()\nprint('ready', flush=True)\nsys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        words = ["stats", "pool", "--all", "--interval", "0.2", "--count", "10", "--pid", str(process.pid)]
        with subprocess.Popen([sys.executable, "-m", "underpass.cli", *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None and watching.stderr is not None
            assert watching.stdout.readline().startswith(f"{process.pid} ")
            process.kill()
            process.wait()
            assert "no worker is running" in watching.stdout.read()
            assert (watching.wait(30), watching.stderr.read()) == (0, "")


def test_who_may_not_look_is_told_so(monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("underpass.observe.workers", "underpass.observe.sample"):
        monkeypatch.setattr(importlib.import_module(module), "discover", list)
    assert main(["stats"]) == 0
    assert capsys.readouterr().out.startswith("no worker is running")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["stats"]) == 0
    assert capsys.readouterr().out == "no worker is running that this user may look at; root sees all\n"
