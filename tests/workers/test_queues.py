"""Workers and the interface's queues: connections of their own, a number of queues that changes, balance."""

import json
import os
import re
import resource
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests.readable import web_root
from tests.workers.test_supervisor import Workers, asks, end

from underpass import observe
from underpass.linux.namespaces import CommandError, Pair, inside, until
from underpass.testing.icmp import icmp_error
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_wire import toeplitz

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
ROOT = Path(__file__).parents[2]
MANY = 10_000


class FourWorkers(Workers):
    options = ("--workers", "4")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    """Starts a server of some kind on a pair; both are gone afterwards, and every worker that was seen."""
    root = web_root(tmp_path)
    with ExitStack() as undo:

        def started(pair: Pair, kind: type[Workers] = Workers) -> Workers:
            server = kind(pair, root, tmp_path, None)
            undo.callback(stop, server, server.running())
            return server

        yield started


def stop(server: Workers, left: list[int]) -> None:
    with suppress(FileNotFoundError):
        left += server.running()
    server.stop()
    for pid in left:
        end(pid)


def told(pid: int, *names: str) -> list[int]:
    """Counters of a worker."""
    rows = {row["name"]: int(row["value"] or 0) for row in observe.stats(pid)}
    return [rows[name] for name in names]


# ---------------------------------------------------------------------- connections of the workers' own

@contextmanager
def shouting(namespace: str, address: str) -> Iterator[tuple[int, list[int]]]:
    """A server of Linux's that answers each line in capitals: its port, and the ports of its clients."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(namespace):
        listener = socket.create_server((address, 0), family=family, backlog=1024)
    selector, ports, over = selectors.DefaultSelector(), list[int](), os.eventfd(0)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(over, selectors.EVENT_READ)

    def serve() -> None:
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    client, (_, port, *_) = listener.accept()
                    ports.append(port)
                    selector.register(client, selectors.EVENT_READ)
                elif key.fileobj is over:
                    return
                else:
                    answer(key.fileobj)

    def answer(client: socket.socket) -> None:
        octets = b""
        with suppress(OSError):
            octets = client.recv(100)
            client.sendall(octets.upper())
        if not octets:
            selector.unregister(client)
            client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], ports
    finally:
        os.eventfd_write(over, 1)
        thread.join()
        for key in list(selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        selector.close()
        os.close(over)


class Callers:
    """A supervisor in the server's namespace whose two workers call Linux in the client's."""

    def __init__(self, pair: Pair, log: Path, **plan: str | int) -> None:
        self.pair, self.log = pair, log
        with log.open("w") as output:
            self.process = pair.server.start(
                "env", "-C", str(ROOT), sys.executable, "-m", "tests.workers.outgoing", pair.server.interface,
                json.dumps({"workers": 2, "source_ports": 2048, **plan}), output=output)
        assert until(lambda: self.ready() is not None, 20), log.read_text()
        said = self.ready()
        assert said is not None
        self.first, self.last = map(int, said.groups())
        self.workers = pair.server.children(self.process)

    def ready(self) -> re.Match[str] | None:
        """What it says then, whole: the source ports that its workers have."""
        return re.search(r"^ready \((\d+), (\d+)\)$", self.log.read_text(), re.MULTILINE)

    def worker_of(self, port: int) -> int:
        """Whose share a source port is in."""
        assert self.first <= port <= self.last
        return (port - self.first) // 1024

    def reserved(self) -> str:
        """What the kernel leaves to the workers."""
        return self.pair.server.run("sysctl", "-n", "net.ipv4.ip_local_reserved_ports").stdout.strip()

    def end(self) -> dict[str, dict[str, int]]:
        """Their counters, summed."""
        self.process.terminate()
        assert self.process.wait(20) == 0
        counters: dict[str, dict[str, int]] = json.loads(self.log.read_text().splitlines()[-1])
        return counters


@pytest.mark.parametrize("family", ["address", "address6"])
def test_workers_open_connections_whose_answers_come_by_any_queue(tmp_path: Path, family: str) -> None:
    """veth tells no hash: about half of the answers come to the other worker, and are handed over."""
    with Pair(queues=2) as pair, shouting(pair.client.name, getattr(pair.client, family)) as (port, ports):
        callers = Callers(pair, tmp_path / "log", address=getattr(pair.client, family), port=port,
                          connections=200)
        assert callers.reserved() == f"{callers.first}-{callers.last}"
        assert until(lambda: len(ports) == 400, 30)
        assert [callers.worker_of(it) for it in ports].count(0) == 200
        done = callers.end()
        assert done["caller"] == {"done": 400, "failed": 0}
        assert 0 < done["tcp"]["answers_elsewhere"] < done["tcp"]["active_opens"] == 400
        assert done["tcp"]["handed_over"] >= done["tcp"]["answers_elsewhere"]
        assert done["tcp"]["ports_steered"] == 0
        assert callers.reserved() == ""


def test_source_ports_follow_the_device_s_hash_and_its_changes(tmp_path: Path) -> None:
    """What a device with RSS would do with the answers is worked out from the ports that were chosen."""
    told, table = tmp_path / "spread", [0, 1] * 64
    told.write_text(json.dumps({"key": KEY.hex(), "table": table}))
    with Pair(queues=2) as pair, shouting(pair.client.name, pair.client.address) as (port, ports):
        callers = Callers(pair, tmp_path / "log", address=pair.client.address, port=port, connections=500,
                          spread=str(told))

        def comes_home(source: int, key: bytes) -> bool:
            hashed = toeplitz(key, pair.client.address, port, pair.server.address, source)
            return table[hashed % 128] == callers.worker_of(source)

        assert until(lambda: len(ports) >= 100, 30)
        assert all(comes_home(it, KEY) for it in ports[:64])
        told.write_text(json.dumps({"key": KEY[::-1].hex(), "table": table}))
        assert until(lambda: len(ports) == 1000, 60)
        assert all(comes_home(it, KEY[::-1]) for it in ports[-100:])
        assert not all(comes_home(it, KEY) for it in ports[-100:])
        assert callers.end()["tcp"]["ports_steered"] == 1000


# ---------------------------------------------------------------------- how many queues there are

def queues(pair: Pair, **wanted: int) -> None:
    """Set the number of queues at the server's device (rx) or the client's (tx)."""
    for direction, count in wanted.items():
        side = pair.server if direction == "rx" else pair.client
        side.run("ethtool", "-L", side.interface, direction, str(count))


def received(pair: Pair) -> list[int]:
    """Packets that came by each queue of the server's device."""
    lines = pair.server.run("ethtool", "-S", pair.server.interface).stdout.splitlines()
    return [int(it.split(": ")[1]) for it in lines if re.match(r"\s*rx_queue_\d+_xdp_packets: ", it)]


def dropped(pid: int, packets: int) -> int:
    """What XDP has dropped for want of a socket (when the server began, say), once the counters that the
    worker shows are not older than so many packets: each connection has three at least.
    """
    assert until(lambda: told(pid, "redirected_claimed")[0] >= packets, 10)
    return told(pid, "dropped_no_socket")[0]


def test_a_new_queue_is_served_and_no_connection_lost(serve: Callable[..., Workers]) -> None:
    with Pair(queues=4) as pair:
        queues(pair, tx=2, rx=2)
        server = serve(pair)
        workers = server.running()
        before = [server.connect() for _ in range(10)]
        lost = dropped(workers[0], 30)
        queues(pair, rx=4)
        assert until(lambda: server.said().count("is served by worker") == 2, 10)
        assert f"{pair.server.interface} has 4 receive queues now, it had 2" in server.said()
        assert "queue 2 is served by worker 0" in server.said()
        assert "queue 3 is served by worker 1" in server.said()
        queues(pair, tx=4)
        after = [server.connect() for _ in range(60)]
        assert len(received(pair)) == 4
        assert all(received(pair))
        assert server.running() == workers
        assert dropped(workers[0], 210) == lost
        assert all(asks(client) for client in (*before, *after))
        for client in (*before, *after):
            client.close()


def test_a_worker_that_is_started_anew_has_the_new_queue_at_once(serve: Callable[..., Workers]) -> None:
    with Pair(queues=4) as pair:
        queues(pair, tx=2, rx=2)
        server = serve(pair)
        queues(pair, rx=4)
        assert until(lambda: server.said().count("is served by worker") == 2, 10)
        victim = server.running()[0]
        os.kill(victim, signal.SIGKILL)
        assert until(lambda: "serves again" in server.said(), 10)
        assert f"(process {victim}, queues 0, 2) was killed by SIGKILL" in server.said()
        queues(pair, tx=4)
        for client in [server.connect() for _ in range(60)]:
            client.close()
        assert len(received(pair)) == 4
        assert all(received(pair))


def test_a_new_process_goes_on_with_the_new_queue_and_its_connections(serve: Callable[..., Workers]) -> None:
    with Pair(queues=4) as pair:
        queues(pair, tx=2, rx=2)
        server = serve(pair)
        queues(pair, rx=4)
        assert until(lambda: server.said().count("is served by worker") == 2, 10)
        queues(pair, tx=4)
        clients = [server.connect() for _ in range(60)]
        before = server.running()
        os.kill(server.process.pid, signal.SIGHUP)
        assert until(lambda: server.said().count("serves again") == 2, 30)
        assert not set(before) & set(server.running())
        clients += [server.connect() for _ in range(60)]
        assert all(asks(client) for client in clients)
        for client in clients:
            client.close()


def test_linux_keeps_queues_that_are_served(serve: Callable[..., Workers]) -> None:
    """`ethtool -L` takes no queue away from a worker: what can are the sender and the indirection table."""
    with Pair(queues=2) as pair:
        server = serve(pair)
        queues(pair, tx=1)
        with pytest.raises(CommandError):
            queues(pair, rx=1)
        server.connect().close()


def test_an_icmp_error_comes_to_the_worker_whose_flow_it_is_about(serve: Callable[..., Workers]) -> None:
    """The client's device is left one queue, by which everything comes to worker 0."""
    with Pair(queues=2) as pair:
        server = serve(pair)
        client = server.one_for_each()[server.running()[1]]
        queues(pair, tx=1)
        about = TcpSegment(src=pair.server.address, dst=pair.client.address, src_port=80,
                           dst_port=client.getsockname()[1])
        message = icmp_error(about, 3, 1)[14 + 20:]
        kind = socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP
        with inside(pair.client.name), socket.socket(*kind) as raw:
            raw.sendto(message, (pair.server.address, 0))
        first, second = server.running()
        assert until(lambda: told(second, "icmp_in") == [1], 5)
        assert told(first, "icmp_handed_over", "icmp_in") == [1, 0]
        assert told(second, "icmp_no_connection") == [0]


# ---------------------------------------------------------------------- balance

def test_ten_thousand_connections_are_balanced_over_four_workers(serve: Callable[..., Workers]) -> None:
    """No worker holds over 1.3 times the mean: from two addresses of a client that is Linux."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 1000:
        pytest.skip(f"{MANY} connections need as many descriptors; RLIMIT_NOFILE allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Pair(queues=4) as pair, ExitStack() as clients:
        clients.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        pair.client.run("ip", "address", "add", "198.18.0.3/15", "dev", pair.client.interface)
        server = serve(pair, FourWorkers)
        with inside(pair.client.name):
            for number in range(MANY):
                source = (("198.18.0.1", "198.18.0.3")[number % 2], 0)
                address = (pair.server.address, 80)
                clients.enter_context(socket.create_connection(address, timeout=10, source_address=source))
        held = [told(pid, "connections")[0] for pid in server.running()]
        assert len(held) == 4
        assert sum(held) == MANY
        assert max(held) <= 1.3 * MANY / 4
