"""What goes wrong around workers: nothing is lost on other queues, a line says it, a counter counts it."""

import os
import resource
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.workers.test_queues import serve, told  # noqa: F401
from tests.workers.test_supervisor import Workers, asks, served  # noqa: F401

from underpass import observe
from underpass.linux.namespaces import Pair, inside, run, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

Serve = Callable[..., Workers]
LARGE = 8_000_000
MOST = 8


class FewConnections(Workers):
    options = ("--workers", "2", "--connections", str(MOST))


@contextmanager
def connecting(server: Workers, count: int) -> Iterator[list[socket.socket]]:
    """So many handshakes begun at once; they go on by themselves."""
    with ExitStack() as undo:
        with inside(server.pair.client.name):
            clients = [undo.enter_context(socket.socket()) for _ in range(count)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex((server.pair.server.address, 80))
        yield clients


def connected(clients: list[socket.socket]) -> list[socket.socket]:
    """Those whose handshake is over."""
    poll, by_number = select.poll(), {client.fileno(): client for client in clients}
    for number in by_number:
        poll.register(number, select.POLLOUT)
    return [by_number[number] for number, events in poll.poll(0) if not events & select.POLLERR]


# ---------------------------------------------------------------------- used up

def test_out_of_connections_newcomers_wait_and_are_counted(serve: Serve) -> None:  # noqa: F811
    """A SYN for which there is no room is not answered, as Linux does it where a backlog is full"""
    with Pair(queues=2) as pair:
        server = serve(pair, FewConnections)
        first, second = server.running()
        with connecting(server, 6 * MOST) as clients:
            assert until(lambda: all(told(pid, "connections") == [MOST] for pid in (first, second)), 20)
            assert until(lambda: all(told(pid, "connection_limit")[0] > 0 for pid in (first, second)), 20)
            assert until(lambda: len(connected(clients)) == 2 * MOST, 5)
            inner = connected(clients)
            for client in inner:
                client.settimeout(10)
                assert asks(client)
            for client in inner:
                client.close()
                clients.remove(client)
            assert until(lambda: len(connected(clients)) == 2 * MOST, 20)


def test_out_of_frames_the_other_worker_does_not_notice(served: Workers) -> None:  # noqa: F811
    """Clients that ask one worker for more than it has frames for, and read nothing."""
    (served.root / "large").write_bytes(os.urandom(LARGE))
    watchers = served.one_for_each()
    victim, other = watchers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stalled:
        stalled.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        asked = 0
        while told(victim, "refused") == [0]:
            clients = stalled.enter_context(connecting(served, 20))
            assert until(lambda: len(connected(clients)) == 20, 10)     # noqa: B023
            its = {row.get("remote_port") for row in observe.connections(victim)}
            for client in clients:
                if client.getsockname()[1] in its:
                    client.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
                    asked += 1
            assert asked < 1000, told(victim, "free")
        assert asks(watchers[other])
        assert told(other, "refused") == [0]
    assert asks(watchers[victim])
    assert told(victim, "refused") > [0]


# ---------------------------------------------------------------------- captures

@contextmanager
def small_disk(where: Path) -> Iterator[Path]:
    where.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(where))
    try:
        yield where
    finally:
        run("umount", str(where))


def test_a_disk_that_fills_ends_the_capture_and_nothing_else(served: Workers, tmp_path: Path) -> None:  # noqa: F811
    clients = served.one_for_each()
    with small_disk(tmp_path / "disk") as disk:
        words = ["underpass", "dump", "-i", served.pair.server.interface, "-w", str(disk / "out")]
        dump = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert dump.stderr is not None
        for _ in clients:
            assert "capturing on" in dump.stderr.readline()
        while dump.poll() is None:
            assert all(asks(client) for client in clients.values())
        assert dump.returncode == 1
        assert dump.stderr.read().splitlines()[-1] == f"underpass: {disk / 'out'}: No space left on device"
    assert all(asks(client) for client in clients.values())
    again = served.pair.server.run("underpass", "dump", "-i", served.pair.server.interface, "-d", "0.1")
    assert "capturing on" in again.stderr


# ---------------------------------------------------------------------- Linux's tables

def test_events_that_linux_drops_are_made_up_for(served: Workers) -> None:  # noqa: F811
    """netlink(7), ENOBUFS: while the supervisor stands still more happens than its socket has room for."""
    clients = served.one_for_each()
    server = served.pair.server
    many = [f"addr {word} 198.19.{one}.{two}/32 dev {server.interface}"
            for word in ("add", "del") for one in range(8) for two in range(1, 250)]
    os.kill(served.process.pid, signal.SIGSTOP)
    try:
        run("ip", "-n", server.name, "-batch", "-", text="\n".join((
            *many, f"addr add 198.18.0.99/15 dev {server.interface}", "")))
        assert all(asks(client) for client in clients.values())
    finally:
        os.kill(served.process.pid, signal.SIGCONT)
    assert until(lambda: "everything was read again" in served.said(), 10), served.said()

    def the_new_one_is_served() -> bool:
        url = "http://198.18.0.99/"
        return served.pair.client.run("curl", "-sS", "--max-time", "2", url, check=False).stdout == "index"

    assert until(the_new_one_is_served, 10)
    assert all(asks(client) for client in clients.values())


def test_a_smaller_mtu_and_a_link_that_goes_down_and_up_are_followed_by_every_worker(
    served: Workers,  # noqa: F811
) -> None:
    clients = served.one_for_each()
    interface = served.pair.server.interface
    served.pair.server.run("ip", "link", "set", interface, "mtu", "1000")
    assert until(lambda: f"the MTU of {interface} is 1000 now, it was 1500" in served.said(), 5)
    served.pair.server.run("ip", "link", "set", interface, "down")
    assert until(lambda: f"{interface} is down: it was set down" in served.said(), 5)
    served.pair.server.run("ip", "link", "set", interface, "up")
    assert until(lambda: f"{interface} is up" in served.said(), 5)
    assert all(asks(client) for client in clients.values())


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_an_interface_that_is_gone_ends_the_service_in_one_line(served: Workers, how: str) -> None:  # noqa: F811
    server, workers = served.pair.server, served.running()
    elsewhere = served.pair.client.name
    move = ("link", "set", server.interface, "netns", elsewhere)
    server.run("ip", *(("link", "del", server.interface) if how == "removed" else move))
    assert served.process.wait(10) == 1
    assert served.said().splitlines()[-1] == f"underpass: interface {server.interface} was removed"
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    if how == "moved":
        assert "xdp" not in served.pair.client.run("ip", "link", "show", server.interface).stdout


# ---------------------------------------------------------------------- the end

def test_who_does_not_read_is_waited_for_no_longer_than_five_seconds(served: Workers) -> None:  # noqa: F811
    (served.root / "large").write_bytes(bytes(LARGE))
    client = served.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.recv(1) == b"H"
    served.process.terminate()
    assert served.process.wait(20) == 0
    assert "draining: open connections have 5 s" in served.said()
    client.close()


def test_nothing_of_a_previous_run_stands_in_the_way(served: Workers) -> None:  # noqa: F811
    """Killed with its workers, it leaves no program, no held port, no socket: the next one starts at once."""
    for pid in (served.process.pid, *served.running()):
        os.kill(pid, signal.SIGKILL)
    served.process.wait()
    again = Workers(served.pair, served.root, served.scratch, None)
    try:
        assert all(asks(client) for client in again.one_for_each().values())
        assert {row["pid"] for row in observe.workers()} >= set(again.running())
    finally:
        again.stop()
