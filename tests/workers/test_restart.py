"""Workers that go on in other processes: nothing is reset, nothing is lost, whatever is open meanwhile."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.workers.test_supervisor import GET, Workers, asks, served  # noqa: F401

from underpass.apps.bench.clients import WRK_REPORT, field
from underpass.linux.namespaces import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

RESTARTS = 10


@pytest.fixture
def server(served: Workers) -> Iterator[Workers]:  # noqa: F811
    yield served
    assert "lost" not in served.said()
    assert "drained" not in served.said()


def restarted(server: Workers) -> list[int]:
    """All workers in new processes; their pids."""
    before, count = server.running(), server.said().count("serves again")
    os.kill(server.process.pid, signal.SIGHUP)
    assert until(lambda: server.said().count("serves again") == count + 2, 30), server.said()
    assert not set(before) & set(server.running())
    return server.running()


def test_idle_connections_are_kept(server: Workers) -> None:
    clients = list(server.one_for_each().values())
    for _ in range(3):
        restarted(server)
        assert all(asks(client) for client in clients)


def test_ten_restarts_under_load_show_no_error(server: Workers, tmp_path: Path) -> None:
    no_errors_under_load(server, tmp_path, lambda: restarted(server), RESTARTS)


def no_errors_under_load(server: Workers, folder: Path, restart: Callable[[], object], times: int) -> None:
    """So many restarts while wrk asks without a pause."""
    script = folder / "report.lua"
    script.write_text(WRK_REPORT)
    log = (folder / "wrk.json").open("w+")
    wrk = server.pair.client.start("wrk", "-t1", "-c50", "-d600s", "--timeout", "10s", "-s", str(script),
                                   server.url(""), output=log)
    for _ in range(times):
        restart()
    os.kill(wrk.pid, signal.SIGINT)
    wrk.wait(20)
    log.seek(0)
    report = json.loads(re.findall(r"^\{.*\}$", log.read(), re.MULTILINE)[-1])
    assert report["errors"] == 0
    assert report["requests"] > 1000


def test_connections_that_come_meanwhile_are_served(server: Workers, tmp_path: Path) -> None:
    log = (tmp_path / "ab.txt").open("w+")
    ab = server.pair.client.start("ab", "-q", "-c", "20", "-n", "40000", server.url("index.html"), output=log)
    while ab.poll() is None:
        restarted(server)
    log.seek(0)
    text = log.read()
    assert field(text, "Complete requests") == 40000
    assert field(text, "Failed requests") == 0


def downloading(server: Workers, here: Path) -> "subprocess.Popen[str]":
    """A download that takes some seconds."""
    slowly = ("curl", "-sS", "--limit-rate", "8M", "-o", str(here))
    return server.pair.client.start(*slowly, server.url("large"))


def test_a_download_goes_on(server: Workers, tmp_path: Path) -> None:
    octets = os.urandom(60_000_000)
    (server.root / "large").write_bytes(octets)
    here = tmp_path / "large"
    download = downloading(server, here)
    assert until(lambda: here.exists() and here.stat().st_size > 0, 10)
    restarted(server)
    assert here.stat().st_size < len(octets)
    restarted(server)
    assert download.wait(60) == 0
    assert here.read_bytes() == octets


def test_a_file_that_has_changed_is_not_mixed_with_another(server: Workers, tmp_path: Path) -> None:
    (server.root / "large").write_bytes(bytes(60_000_000))
    here = tmp_path / "large"
    download = downloading(server, here)
    assert until(lambda: here.exists() and here.stat().st_size > 0, 10)
    (server.root / "new").write_bytes(b"x" * 60_000_000)
    (server.root / "new").rename(server.root / "large")
    restarted(server)
    assert download.wait(60) != 0
    assert set(here.read_bytes()) == {0}


def test_half_a_request_is_not_forgotten(server: Workers) -> None:
    client = next(iter(server.one_for_each().values()))
    client.sendall(GET[:20])
    restarted(server)
    client.sendall(GET[20:])
    answer = b""
    while not answer.endswith(b"index"):
        answer += client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200")


def test_the_command_waits_for_it(server: Workers) -> None:
    before = server.running()
    done = server.pair.server.run(*server.command()[:3], "restart", "--pid", str(server.process.pid))
    assert re.fullmatch(rf"supervisor {server.process.pid}: workers .* go on as .*\n", done.stdout)
    assert not set(before) & set(server.running())
    wrong = server.pair.server.run(*server.command()[:3], "restart", "--pid", "1", check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("underpass: process 1 supervises no worker; supervisors here: ")


def test_without_its_successor_a_worker_goes_on(served: Workers) -> None:  # noqa: F811
    """Whoever kills the process that warms up changes nothing."""
    before = served.running()
    clients = list(served.one_for_each().values())
    os.kill(served.process.pid, signal.SIGHUP)
    assert until(lambda: bool(set(served.running()) - set(before)), 10)
    for pid in set(served.running()) - set(before):
        os.kill(pid, signal.SIGKILL)
    assert all(asks(client) for client in clients)
