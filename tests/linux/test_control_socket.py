"""The control socket: whatever is sent to it, the worker goes on, and says what was wrong."""

import array
import gc
import json
import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from underpass.linux import control_socket
from underpass.linux.control_socket import (
    CONNECTIONS,
    MESSAGE_BYTES,
    Answer,
    ControlClient,
    ControlSocket,
    Request,
    Session,
    control_sockets,
)


class Worker:
    """A control socket with two commands, and what they were told."""

    def __init__(self) -> None:
        self.heard: list[Request] = []
        self.ended: list[str] = []
        self.socket = ControlSocket({"hold": self.hold, "fail": self.fail})

    def hold(self, session: Session, request: Request) -> Answer:
        self.heard.append(request)
        session.undo.callback(self.ended.append, request.get("name", ""))
        return {"held": True}, (0,)

    def fail(self, session: Session, request: Request) -> Answer:
        errors = {"os": OSError(5, "no luck"), "zero": ZeroDivisionError("by zero"), "none": KeyError()}
        raise errors[request["how"]]

    @property
    def waits(self) -> bool:
        """Whether there is something to do."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def serve(self) -> None:
        while self.waits:
            self.socket.serve()


@pytest.fixture
def worker() -> Iterator[Worker]:
    it = Worker()
    yield it
    it.socket.close()


def path() -> str:
    ((pid, found),) = control_sockets(os.getpid())
    assert pid == os.getpid()
    return found


class Peer:
    """A client that sends what it likes, and the worker served in between."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path())
        self.socket.settimeout(5)
        worker.serve()

    def tell(self, octets: bytes, descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self.socket.sendmsg([octets], [rights] if descriptors else [])
        self.worker.serve()
        answer, given, _, _ = socket.recv_fds(self.socket, MESSAGE_BYTES, 4)
        for descriptor in given:
            os.close(descriptor)
        found = json.loads(answer)
        assert isinstance(found, dict)
        return found


def test_nothing_of_it_lies_on_disk(worker: Worker) -> None:
    where = os.readlink(path())
    assert where.endswith("/underpass-control (deleted)")
    assert not os.path.exists(os.path.dirname(where))


def test_a_command_is_answered_with_descriptors_and_undone_when_the_connection_ends(worker: Worker) -> None:
    peer = Peer(worker)
    assert peer.tell(b'{"do": "hold", "name": "first"}') == {"held": True}
    assert worker.heard == [{"do": "hold", "name": "first"}]
    assert worker.ended == []
    peer.socket.close()
    worker.serve()
    assert worker.ended == ["first"]
    other = Peer(worker)
    other.tell(b'{"do": "hold", "name": "second"}')
    worker.socket.close()
    worker.socket.close()
    assert worker.ended == ["first", "second"]


@pytest.mark.parametrize("octets", [
    b"{", b"\xff\xfe", b"[]", b"7", b"null", b'"do"', b"{}", b'{"do": 7}', b'{"do": []}',
    b'{"do": "no such"}', b"[" * 60_000, b'{"a":' * 10_000, b'{"do": "hold"', b"\0" * 100, b"9" * 5000,
    b'{"do": {"do": "hold"}}',
], ids=lambda octets: repr(octets[:12]))  # fmt: skip
def test_a_malformed_message_is_counted_and_answered_in_one_line(worker: Worker, octets: bytes) -> None:
    peer = Peer(worker)
    error = peer.tell(octets)["error"]
    assert error and "\n" not in error
    assert worker.socket.counters["malformed"] == 1
    assert worker.heard == []
    assert peer.tell(b'{"do": "hold"}') == {"held": True}       # and nobody is worse off


def test_a_message_that_is_too_long_is_not_taken_in_part(worker: Worker) -> None:
    peer = Peer(worker)
    start = b'{"do": "hold", "name": "'
    assert "at most 65536" in peer.tell(start + b"x" * (MESSAGE_BYTES - len(start)) + b'"}')["error"]
    assert worker.heard == []
    longest = start + b"x" * (MESSAGE_BYTES - len(start) - 2) + b'"}'
    assert peer.tell(longest) == {"held": True}


def test_descriptors_that_come_with_a_message_do_not_pile_up(worker: Worker) -> None:
    peer = Peer(worker)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        assert "no descriptors" in peer.tell(b'{"do": "hold"}', (0, 1, 2))["error"]
    assert len(os.listdir("/proc/self/fd")) == before
    assert worker.socket.counters["malformed"] == 50


@pytest.mark.parametrize(("how", "said"), [("os", "no luck"), ("zero", "by zero"), ("none", "KeyError")])
def test_a_command_that_fails_fails_alone(worker: Worker, how: str, said: str) -> None:
    peer = Peer(worker)
    assert peer.tell(json.dumps({"do": "fail", "how": how}).encode()) == {"error": said}
    assert worker.socket.counters["failed"] == 1
    assert peer.tell(b'{"do": "counters"}')["requests"] == 2


def test_more_connections_than_there_is_room_for_are_turned_away(worker: Worker) -> None:
    peers = [Peer(worker) for _ in range(CONNECTIONS)]
    late = Peer(worker)
    assert late.socket.recv(10) == b""
    assert worker.socket.counters["too_many"] == 1
    assert not worker.waits
    peers.pop().socket.close()
    worker.serve()
    assert Peer(worker).tell(b'{"do": "hold"}') == {"held": True}


def test_many_who_come_and_go_leave_nothing(worker: Worker) -> None:
    gc.collect()                    # what other tests left to it is not counted
    before = len(os.listdir("/proc/self/fd"))
    for number in range(500):
        peer = Peer(worker)
        if number % 3:
            peer.socket.send(b"{" if number % 2 else b'{"do": "hold"}')
        peer.socket.close()
        worker.serve()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not worker.waits


def test_one_who_does_not_read_his_answers_is_let_go(worker: Worker) -> None:
    peer = Peer(worker)
    peer.socket.setblocking(False)
    for _ in range(100_000):
        try:
            peer.socket.send(b'{"do": "hold", "name": "deaf"}')
        except OSError:
            break
        worker.serve()
    assert "deaf" in worker.ended
    assert Peer(worker).tell(b'{"do": "hold"}') == {"held": True}


def test_one_call_hears_one_message_of_each(worker: Worker) -> None:
    peer = Peer(worker)
    for _ in range(5):
        peer.socket.send(b'{"do": "hold"}')
    worker.socket.serve()
    assert len(worker.heard) == 1
    assert worker.waits


def test_without_a_free_descriptor_who_waits_is_turned_away_and_the_worker_sleeps(worker: Worker) -> None:
    where = path()
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taken: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    peer.connect(where)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with pytest.raises(OSError, match="Too many"):
            while True:
                taken.append(os.dup(0))
        worker.socket.serve()
        polled = worker.socket._epoll.poll(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)
    assert polled == []
    assert worker.socket.counters["too_many"] == 1
    assert peer.recv(10) == b""
    peer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_finds_no_way_in(worker: Worker) -> None:
    program = ("import os, sys\n"
               "from underpass.linux.control_socket import ControlClient, control_sockets\n"
               "os.setgid(65534); os.setuid(65534)\n"
               f"print(list(control_sockets({os.getpid()})))\n"
               "try: ControlClient(sys.argv[1])\n"
               "except OSError as error: print(type(error).__name__)")
    run = subprocess.run([sys.executable, "-c", program, path()], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\nPermissionError\n"


def test_a_peer_with_other_credentials_is_refused(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that got a connection all the same, say by a descriptor that was handed on."""
    monkeypatch.setattr(control_socket.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(control_socket, "ROOT", 4_000_000)
    peer = Peer(worker)
    assert peer.socket.recv(10) == b""
    assert worker.socket.counters["not_allowed"] == 1


def test_a_client_says_what_the_worker_said(worker: Worker) -> None:
    client = ControlClient(path())
    client.peer.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        client.ask("fail", how="os")
    worker.serve()
    client.peer.send(b'{"do": "hold"}')
    with pytest.raises(OSError, match="no luck"):
        client.ask("hold")
    worker.socket.close()
    client.close()


def test_a_process_without_one_has_none() -> None:
    assert list(control_sockets(os.getpid())) == []
    assert list(control_sockets(2**22 + 1)) == []
