"""Workers whose supervisor is gone, and the next one; a supervisor that becomes the program installed now."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workers.test_crash import killed, load, report
from tests.workers.test_supervisor import Workers, asks, end, served  # noqa: F401

from underpass.linux.control_socket import ControlClient, control_sockets
from underpass.linux.namespaces import inside, until
from underpass.workers.adoption import Serving, serving

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

NOBODY = 65534
OTHER = "198.18.0.77"


class Next:
    """The supervisor that comes after one that was killed."""

    def __init__(self, served: Workers, *options: str) -> None:  # noqa: F811
        self.served = served
        self.log = served.scratch / "next.log"
        with self.log.open("w") as output:
            self.process = served.pair.server.start(*served.command(), *options, output=output)

    def said(self) -> str:
        return self.log.read_text()

    def workers(self) -> list[Serving]:
        return [it for it in serving() if it.supervisor == self.process.pid]

    def is_there(self) -> bool:
        return until(lambda: "by 2 workers" in self.said(), 20)

    def stop(self) -> None:
        self.served.pair.server.stop(self.process)
        for pid in [it.pid for it in self.workers()]:
            end(pid)


def refusal_of(user: int, path: str) -> str:
    """What somebody else is told who would take a worker over."""
    there = os.open(path, os.O_PATH)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(user, user, user)
        try:
            with ControlClient(f"/proc/self/fd/{there}") as client:
                client.ask("adopt", protocol=1, pid=os.getpid())
        except OSError as error:
            os.write(writing, str(error.strerror or error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    for descriptor in (there, writing):
        os.close(descriptor)
    with os.fdopen(reading) as told:
        return told.read()


def orphaned(served: Workers) -> None:  # noqa: F811
    """The supervisor is killed."""
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    assert until(lambda: all(it.supervisor == 0 for it in mine(served)), 5)


def mine(served: Workers) -> list[Serving]:  # noqa: F811
    return [it for it in serving() if it.interface == served.pair.server.interface]


@pytest.fixture
def adopted(served: Workers) -> Iterator[tuple[Workers, Next]]:  # noqa: F811
    """The workers of a supervisor that was killed, under another one."""
    orphaned(served)
    other = Next(served)
    try:
        assert other.is_there(), other.said()
        yield served, other
    finally:
        other.stop()


def test_not_one_connection_is_lost(served: Workers, tmp_path: Path) -> None:  # noqa: F811
    clients = served.one_for_each()
    before = [it.pid for it in mine(served)]
    wrk = load(served, tmp_path, 50)
    orphaned(served)
    other = Next(served)
    try:
        assert other.is_there(), other.said()
        assert [it.pid for it in other.workers()] == before
        assert "is gone: worker 0 (process" in other.said()
        assert all(asks(client) for client in clients.values())
        seen = report(wrk, tmp_path)
        assert seen["errors"] == 0
        assert seen["requests"] > 1000
    finally:
        other.stop()


def test_a_worker_that_dies_later_is_started_again(adopted: tuple[Workers, Next]) -> None:
    served, other = adopted  # noqa: F811
    clients = [served.connect() for _ in range(8)]
    for it in other.workers():
        os.kill(it.pid, signal.SIGKILL)
    assert until(lambda: other.said().count("serves again") == 2, 20), other.said()
    assert all(asks(client) for client in clients)
    assert sum(map(int, re.findall(r"(\d+) connections go on", other.said()))) == 8
    assert len(other.workers()) == 2


def test_the_new_supervisor_follows_linux_and_holds_the_port(adopted: tuple[Workers, Next]) -> None:
    served, _ = adopted  # noqa: F811
    server = served.pair.server
    server.run("ip", "addr", "add", f"{OTHER}/15", "dev", server.interface)
    with inside(served.pair.client.name):
        def is_served() -> bool:
            try:
                socket.create_connection((OTHER, 80), timeout=1).close()
            except OSError:
                return False
            return True

        assert until(is_served, 10)
    with inside(server.name), socket.socket() as taken, pytest.raises(OSError, match="in use"):
        taken.bind((server.address, 80))
        taken.listen()


def test_it_ends_them_in_order(adopted: tuple[Workers, Next]) -> None:
    served, other = adopted  # noqa: F811
    them = [it.pid for it in other.workers()]
    other.process.terminate()
    assert other.process.wait(20) == 0
    server = served.pair.server
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in them), 5)
    assert "xdp" not in server.run("ip", "link", "show", server.interface).stdout
    with inside(served.pair.client.name), pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.address, 80), timeout=5)


def test_a_worker_that_died_meanwhile_is_started_anew(served: Workers) -> None:  # noqa: F811
    clients = served.one_for_each()
    victim, other = clients
    orphaned(served)
    os.kill(victim, signal.SIGKILL)
    after = Next(served)
    try:
        assert after.is_there(), after.said()
        assert "is gone with its connections" in after.said()
        assert asks(clients[other])
        assert len(after.workers()) == 2
        assert {it.pid for it in after.workers()} & set(clients) == {other}
        assert asks(served.connect())
    finally:
        after.stop()


def test_a_second_supervisor_is_refused_and_told_whose_they_are(served: Workers) -> None:  # noqa: F811
    second = Next(served, "--port", "81")
    assert second.process.wait(20) == 1
    assert re.search(rf"served .*process {served.process.pid}\b", second.said()), second.said()
    assert second.said().count("\n") == 1
    assert asks(served.connect())


def test_another_configuration_that_does_not_fit_is_refused(served: Workers) -> None:  # noqa: F811
    orphaned(served)
    other = Next(served, "--port", "81")
    assert other.process.wait(20) == 1
    assert re.search(r"supervisor is gone, with claims .* start with that, or end them: `kill \d+ \d+`\n$",
                     other.said()), other.said()
    assert asks(served.connect())
    again = Next(served)
    try:
        assert again.is_there(), again.said()
    finally:
        again.stop()


def test_another_configuration_that_fits_comes_by_and_by(served: Workers) -> None:  # noqa: F811
    before = {it.pid for it in mine(served)}
    orphaned(served)
    other = Next(served, "--connections", "1000")
    try:
        assert other.is_there(), other.said()
        assert "the configuration is another one" in other.said()
        assert until(lambda: len({it.pid for it in other.workers()} - before) == 2, 30), other.said()
        assert asks(served.connect())
    finally:
        other.stop()


def test_nobody_else_takes_them_over(served: Workers) -> None:  # noqa: F811
    """Neither while they have a supervisor, nor anybody but its user."""
    pid, path = next(it for it in control_sockets() if it[0] in served.running())
    whose = f"process {served.process.pid} supervises"
    with ControlClient(path) as client, pytest.raises(OSError, match=whose):
        client.ask("adopt", protocol=1, pid=1)
    orphaned(served)
    with ControlClient(path) as client, pytest.raises(OSError, match="another version"):
        client.ask("adopt", protocol=0, pid=1)
    os.chmod(path, 0o777)               # as if it were not enough that nobody else finds the way there
    assert "only the supervisor's own user" in refusal_of(NOBODY, path)
    assert next(it for it in mine(served) if it.pid == pid).supervisor == 0


def test_after_everything_was_killed_the_next_one_begins_afresh(served: Workers) -> None:  # noqa: F811
    for pid in [served.process.pid, *served.running()]:
        os.kill(pid, signal.SIGKILL)
    served.process.wait()
    again = Next(served)
    try:
        assert again.is_there(), again.said()
        assert "is gone" not in again.said()
        assert asks(served.connect())
    finally:
        again.stop()


# ---- the supervisor's own upgrade

@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the pid of each interpreter that was started, as whatever program."""
    record = tmp_path / "starts"
    (tmp_path / "site").mkdir()
    tmp_path.chmod(0o755)
    (tmp_path / "site" / "sitecustomize.py").write_text(
        f"import os, sys\nopen({str(record)!r}, 'a').write(f'{{os.getpid()}} {{sys.orig_argv[1:]}}\\n')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return record


def test_a_restart_renews_the_supervisor_too(starts: Path, served: Workers) -> None:  # noqa: F811
    clients = served.one_for_each()
    before = set(served.running())
    supervisor = served.process.pid
    for number in range(2, 5):
        done = served.pair.server.run(*served.command()[:3], "restart", "--pid", str(supervisor))
        assert re.fullmatch(rf"supervisor {supervisor}: workers .* go on as .*\n", done.stdout)
        rows = [row for row in starts.read_text().splitlines() if row.startswith(f"{supervisor} ")]
        assert len(rows) == number
        assert "serve" in rows[-1]
        assert not before & set(served.running())
        before = set(served.running())
        assert all(asks(client) for client in clients.values())
    assert served.process.poll() is None
    killed(served, served.running()[0])
    assert all(asks(client) for client in clients.values())


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("raise SystemExit('it is broken')", "it is broken"),
        ("import underpass.xdp.steer_object as it; it.VERSION = 0", "lays its XDP maps out in another way"),
    ],
)
def test_a_new_program_that_cannot_go_on_leaves_all_as_it_is(
    starts: Path, served: Workers, does: str, why: str  # noqa: F811
) -> None:  # fmt: skip
    custom = f"import sys\nif '-c' in sys.orig_argv: {does}\n"
    (starts.parent / "site" / "sitecustomize.py").write_text(custom)
    before = served.running()
    os.kill(served.process.pid, signal.SIGHUP)
    assert until(lambda: "the supervisor goes on as it is" in served.said(), 30), served.said()
    assert why in served.said()
    assert served.running() == before
    assert all(asks(client) for client in served.one_for_each().values())
    assert [it.adoptions for it in mine(served)] == [0, 0]
