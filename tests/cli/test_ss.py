"""`underpass ss` on workers in another process; the lines themselves are held in tests/observe."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from tests.cli.worker import worker

from underpass.cli import main

Ss = Callable[..., list[str]]


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    with worker() as it:
        yield it


@pytest.fixture
def ss(pid: int, capsys: pytest.CaptureFixture[str]) -> Ss:
    def run(*words: str) -> list[str]:
        assert main(["ss", "--pid", str(pid), *words]) == 0
        return capsys.readouterr().out.splitlines()
    return run


def test_established_connections_by_default(ss: Ss) -> None:
    head, *lines = ss("-tn")
    assert head.split() == ["State", "Recv-Q", "Send-Q", "Local", "Address:Port", "Peer", "Address:Port",
                            "Process"]
    assert len(lines) == 6
    assert all(line.startswith("ESTAB ") for line in lines)


def test_listeners_and_all(ss: Ss) -> None:
    [listener] = ss("-Hltn")
    assert listener.split() == ["LISTEN", "0", "1024", "0.0.0.0:80", "0.0.0.0:*"]
    assert len(ss("-Htan")) == 7
    assert ss("-Htan6") == []
    assert len(ss("-Htan4")) == 7


def test_everything_there_is_to_say(ss: Ss, pid: int) -> None:
    first, below = ss("-Htnpiem", "dport", "=", ":80")[:2]
    assert f"pid={pid})" in first and " uid:" in first and " sk:0.1" in first
    assert re.match(r"\t frames:\(r\d+,t\d+,tb\d+\) bytes:\(.*\) ts sack cubic wscale:7,7 rto:", below)
    assert " mss:1448 cwnd:" in below and " bytes_acked:" in below


def test_json_has_the_same_rows(ss: Ss, pid: int) -> None:
    rows = json.loads("\n".join(ss("--json", "state", "established", "sport", "=", ":80")))
    assert len(rows) == 3
    for row in rows:
        assert (row["pid"], row["interface"]) == (pid, "up-server")
        assert (row["local"], row["local_port"]) == ("10.0.0.2", 80)
        assert row["mss"] == 1448


def test_a_filter_that_is_wrong_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ss", "state", "open"]) == 1
    assert capsys.readouterr().err.startswith("underpass: 'open' is no state of a connection; ")
