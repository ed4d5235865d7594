"""`underpass run --workers`: the same program in several processes, each with its share of the queues."""

import json
import os
import pwd
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workers.test_restart import no_errors_under_load
from tests.workers.test_supervisor import Workers, asks, running

from underpass import observe
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

PROGRAM = Path(__file__).parent / "served.py"
THREADS = str(PROGRAM.with_name("served_by_threads.py"))


def may_be_read_by_all(file: Path) -> bool:
    """By its own mode and those of the folders that it is in."""
    return all(it.stat().st_mode & 0o001 for it in file.parents) and bool(file.stat().st_mode & 0o004)


class Programs(Workers):
    """A supervisor with two processes that run a program."""

    words: tuple[str, ...] = ("python", str(PROGRAM), "80")
    begun = "listens"                       # what each process says then

    def command(self) -> list[str]:
        return [sys.executable, "-m", "underpass.cli", "run", "-i", self.pair.server.interface, *self.options,
                "--", *self.words]

    def wait(self) -> None:
        """Each of them listens, and says so."""
        assert until(lambda: self.listening() == 2 or self.process.poll() is not None, 20)
        assert self.process.poll() is None, self.said()

    def listening(self) -> int:
        return self.said().count(self.begun)


class Keeping(Programs):
    """Idle connections pass on."""

    words = (*Programs.words, "keeps")


APP = """
import os
async def app(scope, receive, send):
    body = b"%d" % os.getpid() if scope["path"] == "/pid" else b"index"
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
KEEP = """
import underpass
def leave(protocol, transport):
    return b"" if getattr(protocol, "timeout_keep_alive_task", None) is not None else None
underpass.on_restart(leave)
"""


class Uvicorn(Programs):
    """uvicorn, whose application says which connections are idle, as docs/asyncio.md has it."""

    words = ("uvicorn", "app:app", "--host", "0.0.0.0", "--port", "80", "--no-access-log")
    begun = "Uvicorn running on"

    def command(self) -> list[str]:
        (self.root / "app.py").write_text(APP + KEEP)
        return ["env", f"PYTHONPATH={self.root}", *super().command()]


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Programs]:
    with Pair(queues=2) as pair:
        with running(getattr(request, "param", Programs), pair, tmp_path, tmp_path) as server:
            yield server
        assert "xdp" not in pair.server.run("ip", "link", "show", pair.server.interface).stdout


def get(client: socket.socket, path: str) -> str:
    """The body of the answer; "" at the end of the connection."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    octets = b""
    while (whole := re.search(rb"(?is)content-length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n(.*)", octets)) is None \
            or len(whole[2]) < int(whole[1]):
        more = client.recv(4096)
        if not more:
            return ""
        octets += more
    return whole[2].decode()


def test_each_queue_has_its_process_which_listens(served: Programs) -> None:
    clients = served.one_for_each()
    assert {int(get(client, "/pid")) for client in clients.values()} == set(served.running())
    for pid in served.running():
        assert [row["local_port"] for row in observe.connections(pid) if row["state"] == "LISTEN"] == [80]


@pytest.mark.skipif(not may_be_read_by_all(PROGRAM), reason=f"nobody may not read {PROGRAM}")
@pytest.mark.parametrize("served", [type("AsNobody", (Programs,), {
    "options": ("--workers", "2", "--user", "nobody"), "words": ("python", str(PROGRAM), "8080")})],
    indirect=True)
def test_the_program_may_run_as_somebody_else(served: Programs) -> None:
    for pid in served.running():
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                      if ":\t" in line)
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert set(status["Uid"].split()) == {"65534"}
        assert status["NoNewPrivs"].strip() == "1"
    answered = served.pair.client.run("curl", "-sS", f"http://{served.pair.server.address}:8080/").stdout
    assert answered == "index"
    listed = served.pair.server.run(sys.executable, "-m", "underpass.cli", "ss", "--all", "--json").stdout
    assert json.loads(listed)


class Unreadable(Programs):
    """A program that nobody may read: it lies in a folder of root's."""

    options = ("--workers", "2", "--user", "nobody")

    def command(self) -> list[str]:
        self.root.chmod(0o700)
        (self.root / "mine.py").write_text(PROGRAM.read_text())
        return [*super().command()[:-2], str(self.root / "mine.py"), "80"]

    def wait(self) -> None:
        assert until(lambda: self.process.poll() is not None, 20), self.said()


@pytest.mark.parametrize("kind", [Unreadable, type("OnceUnreadable", (Unreadable,), {
    "options": ("--loops", "2", "--user", "nobody")})])
def test_a_program_that_its_user_may_not_read_is_refused_in_a_line(kind: type[Programs],
                                                                   tmp_path: Path) -> None:
    with Pair(queues=2) as pair:
        refused = kind(pair, tmp_path, tmp_path, None)
        said = refused.said()
        refused.stop()
    user = pwd.getpwnam("nobody").pw_uid
    assert f"underpass: {tmp_path / 'mine.py'} cannot be read by user {user}: " in said
    assert "Traceback" not in said


class Once(Programs):
    """One of the two listens on port 81 as well."""

    def command(self) -> list[str]:
        return [*super().command(), "once", str(self.root / "made")]


@pytest.mark.parametrize("served", [Once], indirect=True)
def test_who_comes_to_a_process_that_does_not_listen_is_given_to_one_that_does(served: Programs) -> None:
    with inside(served.pair.client.name):
        clients = [socket.create_connection((served.pair.server.address, 81), timeout=10) for _ in range(20)]
    assert len({get(client, "/pid") for client in clients}) == 1
    assert sum(served.counter(pid, "handed_over") for pid in served.running()) > 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, None], ids=str)
def test_a_process_that_dies_is_started_again_and_the_other_s_connections_do_not_notice(
    served: Programs, number: signal.Signals | None,
) -> None:  # fmt: skip
    clients = served.one_for_each()
    victim, other = clients
    if number is None:
        clients[victim].sendall(b"GET /exit HTTP/1.1\r\n\r\n")
    else:
        os.kill(victim, number)
    assert asks(clients[other])
    assert until(lambda: served.said().count("listens") == 3, 10), served.said()
    assert "another process takes its place" in served.said()
    clients[victim].settimeout(5)
    with pytest.raises(ConnectionResetError):       # at once, and not when it asks the next time
        clients[victim].recv(1)
    assert asks(clients[other])
    again = served.one_for_each()
    assert victim not in again and other in again


def test_nobody_is_refused_while_a_process_is_started_again(served: Programs) -> None:
    """What comes to its queue waits in its sockets."""
    os.kill(served.running()[0], signal.SIGKILL)
    asked = 0
    while served.said().count("listens") < 3 or asked < 50:
        served.connect().close()
        asked += 1


def test_sigterm_ends_the_programs_in_order(served: Programs) -> None:
    client = served.connect()
    os.kill(served.process.pid, signal.SIGTERM)
    assert served.process.wait(15) == 0
    client.settimeout(5)
    assert client.recv(1) == b""
    assert "did not end in time" not in served.said()


def test_restart_without_a_handler_runs_the_programs_anew(served: Programs) -> None:
    before = served.running()
    os.kill(served.process.pid, signal.SIGHUP)
    assert until(lambda: served.said().count("listens") == 4, 20), served.said()
    assert served.said().count("is drained") == 2
    assert not set(before) & set(served.running())
    assert asks(served.connect())


def test_the_supervisor_s_death_is_survived_and_another_takes_over(served: Programs) -> None:
    clients = served.one_for_each()
    before = served.running()
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait(5)
    assert all(asks(client) for client in clients.values())
    with (served.log.parent / "second").open("w") as log:
        second = served.pair.server.start(*served.command(), output=log)
        try:
            said = served.log.parent / "second"
            assert until(lambda: "has another one now" in said.read_text(), 10), said.read_text()
            assert all(asks(client) for client in clients.values())
            assert {served_pid(client) for client in clients.values()} == set(before)
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(15) == 0


def served_pid(client: socket.socket) -> int:
    return int(get(client, "/pid"))


class TestKeeping:
    """`underpass restart` with a handler of the application's."""

    @pytest.fixture(autouse=True)
    def _kept(self, served: Programs) -> Iterator[None]:
        yield
        assert "drained" not in served.said()

    def restart(self, server: Programs) -> None:
        before, listening = server.running(), server.listening()
        done = server.pair.server.run(sys.executable, "-m", "underpass.cli", "restart", "--pid",
                                      str(server.process.pid), check=False)
        assert done.returncode == 0, server.said() + done.stderr
        assert until(lambda: server.listening() == listening + 2, 20)
        assert not set(before) & set(server.running())

    @pytest.mark.parametrize("served", [Keeping], indirect=True)
    def test_idle_connections_go_on_and_what_was_known_of_them(self, served: Programs) -> None:
        clients = list(served.one_for_each().values())
        for rounds in range(3):
            self.restart(served)
            assert [get(client, "/count") for client in clients] == [str(2 + rounds)] * 2
        self.restart(served)
        self.restart(served)                    # nothing was asked in between
        assert [get(client, "/count") for client in clients] == ["5"] * 2

    @pytest.mark.parametrize("served", [Keeping], indirect=True)
    def test_a_connection_that_has_not_asked_yet_goes_on(self, served: Programs) -> None:
        with inside(served.pair.client.name):
            client = socket.create_connection((served.pair.server.address, 80), timeout=10)
        self.restart(served)
        assert get(client, "/count") == "1"

    @pytest.mark.parametrize("served", [Keeping], indirect=True)
    def test_an_answer_in_work_is_finished_first(self, served: Programs) -> None:
        client = served.connect()
        client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        assert until(lambda: served.counter(served.owner(client), "segments_in") > 0, 5)
        self.restart(served)
        assert b"slow" in client.recv(4096)
        assert get(client, "/count") == "3"

    @pytest.mark.parametrize(("served", "restarts"), [(Keeping, 10), (Uvicorn, 3)], indirect=["served"])
    def test_restarts_under_load_show_no_error(self, served: Programs, restarts: int, tmp_path: Path) -> None:
        no_errors_under_load(served, tmp_path, lambda: self.restart(served), restarts)


class Lent(Programs):
    """A program whose two event loops are its own affair."""

    options = ("--loops", "2")

    def wait(self) -> None:
        assert until(lambda: self.listening() == 2 or self.process.poll() is not None, 30), self.said()
        assert self.process.poll() is None, self.said()

    def command(self) -> list[str]:
        return ["env", f"PYTHONPATH={self.root}", *super().command()]

    def listening(self) -> int:
        """How many shares do."""
        return sum(row["state"] == "LISTEN" for row in self.sockets())

    def running(self) -> list[int]:
        """Those that have a share."""
        return sorted({row["pid"] for row in self.sockets()})

    def sockets(self) -> list[dict[str, Any]]:
        """Of all shares. This process may have had stacks of its own on an interface of that name."""
        said = self.pair.server.run(sys.executable, "-m", "underpass.cli", "ss", "--all", "--json").stdout
        here = self.pair.server.interface
        return [row for row in json.loads(said) if row["interface"] == here and row["pid"] != os.getpid()]



def lent(*words: str, **more: object) -> type[Lent]:
    return type(Path(words[0]).name, (Lent,), {"words": words, **more})


class TestLent:
    """`--loops`."""

    @pytest.fixture
    def served(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lent]:
        (tmp_path / "app.py").write_text(APP)
        with Pair(queues=2) as pair:
            server = request.param(pair, tmp_path, tmp_path, None)
            try:
                yield server
            finally:
                server.stop()
            assert "xdp" not in pair.server.run("ip", "link", "show", pair.server.interface).stdout

    @pytest.mark.parametrize("served", [
        lent("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "2", "-b", "0.0.0.0:80", "app:app"),
        lent("uvicorn", "app:app", "--host", "0.0.0.0", "--port", "80", "--workers", "2"),
    ], indirect=True)
    def test_each_process_of_the_program_has_a_share(self, served: Lent) -> None:
        clients = served.one_for_each()
        pids = {int(get(client, "/pid")) for client in clients.values()}
        assert pids == set(served.running()) == set(clients)
        os.kill(min(pids), signal.SIGKILL)
        assert until(lambda: len(set(served.running()) | pids) == 3, 20), served.said()
        assert set(served.one_for_each()) == set(served.running()) != pids
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(20) == 0

    @pytest.mark.parametrize("served", [lent("python", THREADS, "80", "2")], indirect=True)
    def test_two_loops_of_one_process_have_a_queue_each(self, served: Lent) -> None:
        (pid,) = served.running()
        clients = [served.connect() for _ in range(40)]
        ports = {client.getsockname()[1] for client in clients}
        assert ports == {row.get("remote_port") for row in observe.connections(pid)} & ports
        listeners = [row for row in observe.connections(pid) if row["state"] == "LISTEN"]
        assert len(listeners) == 2

    @pytest.mark.parametrize("served", [lent("python", THREADS, "80", "3")], indirect=True)
    def test_one_loop_more_than_there_are_shares_is_refused_in_one_line(self, served: Lent) -> None:
        assert until(lambda: "shares" in served.said(), 10)
        assert f"all 2 shares of {served.pair.server.interface} have an event loop: --loops 3" \
            in served.said()
        assert asks(served.connect())
