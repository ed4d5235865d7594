"""`underpass serve --workers` on a veth pair with two queues: unprivileged, apart from each other, and
started again.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from tests.readable import web_root

from underpass import observe
from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

RECEIVE_ERROR = 56                       # of curl: the connection was reset
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Workers(Underpass):
    """A supervisor with two workers."""

    options = ("--workers", "2")

    def running(self) -> list[int]:
        """Pids of the workers, by number: worker 0 was started first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return sorted(int(pid) for pid in children.split())

    def said(self) -> str:
        return self.log.read_text()

    def connect(self) -> socket.socket:
        """A keep-alive connection that has been served once."""
        with inside(self.pair.client.name):
            client = socket.create_connection((self.pair.server.address, 80), timeout=10)
        assert asks(client)
        return client

    def one_for_each(self) -> dict[int, socket.socket]:
        """A connection to each worker, by pid."""
        found: dict[int, socket.socket] = {}
        for _ in range(200):
            client = self.connect()
            pid = self.owner(client)
            if pid in found:
                client.close()
            else:
                found[pid] = client
            if len(found) == 2:
                return found
        raise AssertionError(f"200 connections all went to one worker: {list(found)}")

    def owner(self, client: socket.socket) -> int:
        """The worker that has a connection."""
        port = client.getsockname()[1]
        owners = [row["pid"] for pid in self.running() for row in observe.connections(pid)
                  if row["state"] == "ESTABLISHED" and row["remote_port"] == port]
        assert len(owners) == 1
        return int(owners[0])

    def counter(self, pid: int, name: str) -> int:
        return next(int(row["value"]) for row in observe.stats(pid) if row["name"] == name)


AnyWorkers = TypeVar("AnyWorkers", bound=Workers)


def asks(client: socket.socket) -> bool:
    """Whether a request is answered."""
    client.sendall(GET)
    answer = b""
    while not answer.endswith(b"index"):
        more = client.recv(4096)
        if not more:
            return False
        answer += more
    return answer.startswith(b"HTTP/1.1 200")


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Two workers; another kind of them by an indirect parameter."""
    with Pair(queues=2) as pair, \
            running(getattr(request, "param", Workers), pair, web_root(tmp_path), tmp_path) as server:
        yield server


@contextmanager
def running(kind: type[AnyWorkers], pair: Pair, root: Path, folder: Path) -> Iterator[AnyWorkers]:
    """A server of this kind; none of its workers outlives it."""
    server = kind(pair, root, folder, None)
    left = server.running()
    try:
        yield server
        with suppress(FileNotFoundError):
            left += server.running()
    finally:
        server.stop()
        for pid in left:
            end(pid)


def end(pid: int) -> None:
    """End a worker that outlived its supervisor: the pid is one that this test saw."""
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"underpass.workers" in command or b"underpass.aio.worker" in command:
            os.kill(pid, signal.SIGKILL)


def test_workers_hold_no_privilege(served: Workers) -> None:
    for pid in served.running():
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                      if ":\t" in line)
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert set(status["Uid"].split()) == {"65534"}
        assert status["Groups"].strip() == ""
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
    assert "less confined" not in served.said()


def test_every_queue_is_served_and_cores_are_told_apart(served: Workers) -> None:
    clients = served.one_for_each()
    assert all(asks(client) for client in clients.values())
    if len(os.sched_getaffinity(0)) > 1:
        assert len({min(os.sched_getaffinity(pid)) for pid in served.running()}) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_worker_that_dies_is_started_again_and_no_connection_notices(
    served: Workers, number: signal.Signals
) -> None:
    clients = served.one_for_each()
    victim, other = clients
    os.kill(victim, number)
    assert asks(clients[other])
    assert until(lambda: "serves again" in served.said(), 10)
    told = rf"worker \d \(process {victim}, queues \d\) was killed by {number.name}; another process goes on"
    assert re.search(told, served.said())
    assert "between two turns, 1 connections go on, 0 are reset" in served.said()
    assert all(asks(client) for client in clients.values())
    again = served.one_for_each()
    assert other in again
    assert victim not in again


def test_without_the_supervisor_the_workers_go_on_and_with_the_last_the_program_goes(served: Workers) -> None:
    clients = served.one_for_each()
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    assert all(asks(client) for client in clients.values())
    served.connect().close()
    for pid in clients:
        os.kill(pid, signal.SIGKILL)
    server = served.pair.server
    assert until(lambda: "xdp" not in server.run("ip", "link", "show", server.interface).stdout, 5)
    with inside(served.pair.client.name), pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.address, 80), timeout=5)


def test_a_supervisor_that_is_stopped_is_not_missed(served: Workers) -> None:
    os.kill(served.process.pid, signal.SIGSTOP)
    try:
        assert all(asks(client) for client in served.one_for_each().values())
    finally:
        os.kill(served.process.pid, signal.SIGCONT)


def test_sigterm_lets_answers_be_finished(served: Workers, tmp_path: Path) -> None:
    octets = os.urandom(20_000_000)
    (served.root / "large").write_bytes(octets)
    server, client = served.pair.server, served.pair.client
    here = tmp_path / "large"
    download = client.start("curl", "-sS", "--limit-rate", "10M", "-o", str(here), served.url("large"))
    assert until(lambda: here.exists() and here.stat().st_size > 0, 10)
    served.process.terminate()
    assert served.process.wait(20) == 0
    assert download.wait(20) == 0
    assert here.read_bytes() == octets
    assert "xdp" not in server.run("ip", "link", "show", server.interface).stdout


def test_sighup_starts_workers_anew_one_after_the_other(served: Workers) -> None:
    before = served.running()
    os.kill(served.process.pid, signal.SIGHUP)
    assert until(lambda: served.said().count("serves again") == 2, 20)
    assert not set(before) & set(served.running())
    assert all(asks(client) for client in served.one_for_each().values())
    assert "lost" not in served.said()


def test_flows_survive_fewer_queues(served: Workers) -> None:
    """The client's device is left one queue: what went by the other comes to a worker that does not have
    it.
    """
    clients = served.one_for_each()
    client = served.pair.client
    client.run("ethtool", "-L", client.interface, "tx", "1")
    assert all(asks(it) for it in clients.values())
    assert all(asks(it) for it in clients.values())
    assert sum(served.counter(pid, "handed_over") for pid in clients) > 0
    assert {served.owner(it) for it in clients.values()} == set(clients)


def test_too_many_workers_are_refused_in_one_line(served: Workers) -> None:
    served.stop()
    server = served.pair.server
    serve = [*served.command()[:3], "serve", str(served.root), "-i", server.interface]
    refused = server.run(*serve, "--workers", "3", check=False)
    assert refused.returncode == 1
    assert refused.stderr == (f"underpass: {server.interface} has 2 receive queue(s), too few for 3 workers: "
                              f"--workers 2, or `ethtool -L {server.interface} combined 3`\n")
    unknown = server.run(*serve, "--workers", "2", "--user", "nobody-of-this-name", check=False)
    assert unknown.returncode == 1
    assert unknown.stderr == "underpass: there is no user nobody-of-this-name: name one that exists\n"


PATIENT = """
import dataclasses, sys
from underpass.apps.runner import http_plan
from underpass.apps.sites import Site
from underpass.workers import Supervisor

plan = http_plan([Site(sys.argv[2])], limits={}, user="nobody")
plan = dataclasses.replace(plan, drain_s=float(sys.argv[3]))
with Supervisor(sys.argv[1], plan, workers=2) as supervisor:
    supervisor.wait_ready()
    print("serving ", sys.argv[2], flush=True)
    supervisor.run()
"""


class Patient(Workers):
    """Two workers that have `drain_s` seconds to finish."""

    drain_s = 600.0

    def command(self) -> list[str]:
        return [sys.executable, "-c", PATIENT, self.pair.server.interface, str(self.root), str(self.drain_s)]


class Impatient(Patient):
    """And hardly any."""

    drain_s = 0.2


def endless(served: Workers, here: Path) -> "subprocess.Popen[str]":
    """A download that takes minutes, begun."""
    with (served.root / "large").open("wb") as large:
        large.truncate(200_000_000)
    slowly = ("curl", "-sS", "--limit-rate", "1M", "-o", str(here))
    download = served.pair.client.start(*slowly, served.url("large"))
    assert until(lambda: here.exists() and here.stat().st_size > 0, 10)
    return download


@pytest.mark.parametrize("served", [Impatient], indirect=True)
def test_sigterm_has_a_time_limit(served: Workers, tmp_path: Path) -> None:
    download = endless(served, tmp_path / "large")
    served.process.terminate()
    assert served.process.wait(20) == 0
    assert download.wait(60) == RECEIVE_ERROR
    assert (tmp_path / "large").stat().st_size < 200_000_000


@pytest.mark.parametrize("served", [Patient], indirect=True)
def test_a_second_signal_cuts_it_short(served: Workers, tmp_path: Path) -> None:
    download = endless(served, tmp_path / "large")
    served.process.terminate()
    with inside(served.pair.client.name):
        def is_refused() -> bool:
            try:
                socket.create_connection((served.pair.server.address, 80), timeout=1).close()
            except OSError:
                return True
            return False

        assert until(is_refused, 10)
    assert served.process.poll() is None
    assert download.poll() is None
    served.process.terminate()
    assert served.process.wait(20) == 0
    assert download.wait(60) == RECEIVE_ERROR


@pytest.mark.parametrize("served", [Impatient], indirect=True)
def test_a_worker_that_hangs_does_not_hold_up_the_end(served: Workers) -> None:
    workers = served.running()
    os.kill(workers[0], signal.SIGSTOP)
    served.process.terminate()
    assert served.process.wait(20) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
