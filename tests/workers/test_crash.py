"""Workers that are killed at any moment, under load: other processes go on with their connections, and what
cannot go on is reset and counted.
"""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.workers.test_supervisor import Workers, asks, served  # noqa: F401

from underpass import observe
from underpass.apps.bench.clients import WRK_REPORT
from underpass.linux.namespaces import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

KILLS = 12
CRASHES = 5                     # in a row, that are borne


def killed(served: Workers, pid: int, number: signal.Signals = signal.SIGKILL) -> None:  # noqa: F811
    """The worker is dead, and another process serves in its place."""
    count = served.said().count("serves again")
    os.kill(pid, number)
    assert until(lambda: served.said().count("serves again") == count + 1, 20), served.said()


def reset(served: Workers) -> int:  # noqa: F811
    """How many connections the supervisor says were reset."""
    return sum(int(count) for count in re.findall(r"(\d+) are reset", served.said()))


def load(served: Workers, here: Path, connections: int) -> "subprocess.Popen[str]":  # noqa: F811
    script = here / "report.lua"
    script.write_text(WRK_REPORT)
    return served.pair.client.start("wrk", "-t1", f"-c{connections}", "-d600s", "--timeout", "10s",
                                    "-s", str(script), served.url(""), output=(here / "wrk").open("w"))


def report(wrk: "subprocess.Popen[str]", here: Path) -> dict[str, int]:
    """What wrk has seen until now; it ends."""
    os.kill(wrk.pid, signal.SIGINT)
    wrk.wait(20)
    found: dict[str, int] = json.loads(re.findall(r"^\{.*\}$", (here / "wrk").read_text(), re.MULTILINE)[-1])
    return found


def free_frames(served: Workers) -> list[int]:  # noqa: F811
    """Of each worker, once nothing is open: all but those that the kernel has to receive into."""
    assert until(lambda: all(served.counter(pid, "connections") == 0 for pid in served.running()), 20)
    return sorted(int(row["value"]) for pid in served.running() for row in observe.stats(pid)
                  if row["layer"] == "pool" and row["name"] == "free")


def test_kills_under_load_reset_no_more_than_what_was_at_work(
    served: Workers, tmp_path: Path,  # noqa: F811
) -> None:  # fmt: skip
    moments = random.Random(4)
    before = free_frames(served)
    wrk = load(served, tmp_path, 50)
    assert until(lambda: served.counter(served.running()[0], "segments_in") > 1000, 10)
    for number in range(KILLS):
        killed(served, served.running()[number % 2])
        time.sleep(0.5 + moments.random() if number % 3 else 2.2)       # not often enough to be given up
    seen = report(wrk, tmp_path)
    assert seen["requests"] > 1000
    assert seen["errors"] <= reset(served) <= KILLS
    assert "lost" not in served.said()
    assert served.said().count("go on, ") == KILLS
    kept = sum(int(count) for count in re.findall(r"(\d+) connections go on", served.said()))
    assert kept > 10 * KILLS
    assert sum(served.counter(pid, "recovery_kept") for pid in served.running()) == kept
    assert sum(served.counter(pid, "recovery_aborted") for pid in served.running()) == reset(served)
    assert until(lambda: free_frames(served) == before, 20)
    client = served.connect()
    assert asks(client)


def test_a_download_survives_or_is_reset_but_is_never_another(
    served: Workers, tmp_path: Path,  # noqa: F811
) -> None:  # fmt: skip
    octets = os.urandom(60_000_000)
    (served.root / "large").write_bytes(octets)
    here = tmp_path / "large"
    slowly = ("curl", "-sS", "--limit-rate", "8M", "-o", str(here), served.url("large"))
    download = served.pair.client.start(*slowly)
    assert until(lambda: here.exists() and here.stat().st_size > 0, 10)
    for pid in served.running() * 2:
        if Path(f"/proc/{pid}").exists():
            killed(served, pid)
    for pid in served.running():
        killed(served, pid)
    assert here.stat().st_size < len(octets)
    ended = download.wait(60)
    assert octets.startswith(here.read_bytes())
    assert (ended == 0) == (here.stat().st_size == len(octets))
    assert ended == 0 or reset(served) > 0


def test_connections_that_bring_every_process_down_are_given_up(served: Workers) -> None:  # noqa: F811
    clients = served.one_for_each()
    victim, other = clients
    for _ in range(CRASHES):
        killed(served, victim, signal.SIGSEGV)
        victim = next(pid for pid in served.running() if pid != other)
        assert asks(clients[other])
    os.kill(victim, signal.SIGSEGV)
    assert until(lambda: "1 connections are lost" in served.said(), 10)
    assert "was killed by SIGSEGV for the 6th time in a row; 1 connections are lost" in served.said()
    assert until(lambda: served.said().count("serves again") == CRASHES + 1, 20)
    assert until(lambda: sum(served.counter(pid, "recovery_given_up") for pid in served.running()) == 1, 20)
    assert asks(clients[other])
    assert until(lambda: len(served.one_for_each()) == 2, 10)
