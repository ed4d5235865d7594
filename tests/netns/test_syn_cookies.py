"""A flood of SYNs from many sources, and Linux's own TCP beside it: all connections succeed, with options."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from underpass.apps.bench.floods import frame
from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until
from underpass.linux.netdev_features import netdev_features
from underpass.observe.workers import stats
from underpass.testing.packets import Flags, TcpSegment
from underpass.xdp.loader import XdpProgram

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

HERE = Path(__file__).parent
CLIENTS = 60
BODY = b"behind the flood"


class Guarded:
    """guarded.py in the server's namespace, and what it said last."""

    def __init__(self, pair: Pair, root: Path, *options: str) -> None:
        self.pair = pair
        self.heard: dict[str, Any] = {}
        words = [str(HERE / "guarded.py"), pair.server.interface, str(root), *options]
        self.process = pair.server.start(sys.executable, *words, output=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert until(lambda: bool(self.heard), 20)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.heard = json.loads(line)
            else:
                print(line, end="")

    def until(self, true: Callable[[dict[str, Any]], bool], seconds: float = 20) -> bool:
        """Whether what it says came to be so."""
        return until(lambda: true(self.heard), seconds)

    def count(self, name: str) -> int:
        """A counter of the XDP program, as of now or later."""
        now = time.monotonic()
        assert self.until(lambda heard: heard["at"] > now)
        return int(self.heard["xdp"][name])


@contextmanager
def answerable(queues: int = 1) -> Iterator[Pair]:
    """A client that can be answered from XDP: veth wants a program there, too. This one passes all."""
    with Pair(queues=queues) as pair, inside(pair.client.name), \
            XdpProgram(netdev_features(pair.client.interface)):
        yield pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    with answerable() as pair:
        yield pair


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory that workers, who have become an ordinary user, can read."""
    for place in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        place.chmod(0o755)
    (tmp_path / "index.html").write_bytes(BODY)
    return tmp_path


@contextmanager
def flood(pair: Pair, address: str, rate: int) -> Iterator[None]:
    macs = pair.client.mac_text, pair.server.mac_text
    words = [str(HERE / "flood.py"), pair.client.interface, *macs, address, "80"]
    process = pair.client.start(sys.executable, *words, str(rate), output=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "flooding\n"
        yield
    finally:
        pair.client.stop(process)


def fetch(pair: Pair, address: str) -> bytes:
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    return pair.client.run("curl", "-sS", "-g", "--max-time", "10", url).stdout.encode()


def asked(client: socket.socket) -> bytes:
    """The answer to one request on an open connection."""
    client.settimeout(10)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    octets = b""
    while not octets.endswith(BODY) and (more := client.recv(4096)):
        octets += more
    return octets


def options_of(pair: Pair) -> str:
    """How the client's kernel sees its connections to the server."""
    return pair.client.run("ss", "-Htino", "state", "established").stdout


@pytest.mark.parametrize("family", [4, 6])
def test_every_client_is_served_beside_a_flood(pair: Pair, root: Path, family: int) -> None:
    """RFC 4987 3.6, and what the cookies' timestamps carry: RFC 7323, RFC 2018."""
    address = pair.server.address if family == 4 else pair.server.address6
    server = Guarded(pair, root, "always", "20000", "10")
    with flood(pair, address, 30000):
        assert server.until(lambda heard: heard["xdp"]["answered_cookie"] > 5000)
        assert [fetch(pair, address) for _ in range(CLIENTS)] == [BODY] * CLIENTS
        with inside(pair.client.name), socket.create_connection((address, 80)) as client:
            shown = options_of(pair)
            assert BODY in asked(client)
    assert re.search(r"\bts\b.*\bsack\b.*wscale:7,\d+\b", shown.replace("\n", " ")), shown
    tcp = server.heard["tcp"]
    assert tcp["half_open"] == tcp["cookies_sent"] == 0         # the engine has not seen one SYN of them
    assert server.count("redirected_cookie") >= CLIENTS
    assert server.heard["tcp"]["cookies_accepted"] >= CLIENTS
    assert server.heard["tcp"]["cookies_refused"] == 0


def test_a_flood_stays_what_it_is_where_its_packets_are_turned_round(pair: Pair, root: Path) -> None:
    """XDP answers in the very pages that the generator sends again: native XDP does, above NAPI threads."""
    pair.server.offload(gro=True)
    pair.server.write(f"/sys/class/net/{pair.server.interface}/threaded", 1)
    server = Guarded(pair, root, "always", "20000", "10")
    one = frame("syn", pair.server).hex()
    before = server.count("passed_other_mac")
    sender = pair.client.start(sys.executable, "-m", "underpass.apps.flood.process", "send",
                               pair.client.interface, one, "20000")
    assert server.until(lambda heard: heard["xdp"]["answered_cookie"] > 20000)
    assert pair.client.stop(sender) == 0
    assert server.count("passed_other_mac") - before < 100
    assert server.count("dropped_syn_malformed") == 0


def test_auto_goes_on_with_a_flood_and_off_after_it(pair: Pair, root: Path) -> None:
    address = pair.server.address
    server = Guarded(pair, root, "auto", "2000", "1")
    assert fetch(pair, address) == BODY
    assert not server.heard["state"]["on"]
    assert server.count("answered_cookie") == 0
    with flood(pair, address, 20000):
        assert server.until(lambda heard: heard["state"]["on"])
        assert [fetch(pair, address) for _ in range(CLIENTS)] == [BODY] * CLIENTS
    assert server.count("answered_cookie") > 0
    assert server.until(lambda heard: not heard["state"]["on"])
    before = server.count("answered_cookie")
    assert fetch(pair, address) == BODY
    assert server.count("answered_cookie") == before
    assert server.heard["state"]["began"] >= 1


def test_strangers_are_dropped_in_xdp_and_known_flows_are_not(pair: Pair, root: Path) -> None:
    """ACKs that acknowledge nothing, while a connection goes on."""
    address = pair.server.address
    server = Guarded(pair, root, "always", "20000", "10")
    with inside(pair.client.name), socket.create_connection((address, 80)) as client:
        for _ in range(20):
            stray(pair, address)
            assert BODY in asked(client)
    assert server.count("dropped_stranger") >= 20
    assert server.count("redirected_known") >= 20
    assert server.heard["tcp"]["resets_out"] == 0


def once(pair: Pair, address: str, port: int) -> bytes:
    """The answer to a request after which the server closes, from this port."""
    octets, family = b"", socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(pair.client.name), socket.socket(family) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("", port))
        client.settimeout(10)
        client.connect((address, 80))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while more := client.recv(4096):
            octets += more
    return octets


@pytest.mark.parametrize("family", [4, 6])
def test_a_port_in_time_wait_is_used_again_by_a_cookie(pair: Pair, root: Path, family: int) -> None:
    """RFC 6191: the stack itself has no room for a half-open connection, either."""
    address = pair.server.address if family == 4 else pair.server.address6
    server = Guarded(pair, root, "always", "20000", "10", "0")
    for _ in range(5):
        assert once(pair, address, 41000).endswith(BODY)
        assert until(lambda: ":41000" not in pair.client.run("ss", "-Htan").stdout, 10)  # Linux's end is over
    assert server.until(lambda heard: heard["tcp"]["time_wait_reused"] == 4)
    tcp = server.heard["tcp"]
    assert (tcp["cookies_accepted"], tcp["cookies_refused"]) == (5, 0)
    assert tcp["time_wait_entered"] == 5


def stray(pair: Pair, address: str) -> None:
    frame = TcpSegment(src="198.19.0.1", dst=address, src_mac=pair.client.mac_text,
                       dst_mac=pair.server.mac_text, seq=1, ack=1, flags=Flags.ACK).build()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((pair.client.interface, 0))
        out.send(frame)


class ByWorkers(Underpass):
    """`underpass serve --workers 2` that has the XDP program answer every SYN."""

    options = ("--workers", "2", "--syn-cookies", "always", "--admission")


def of_workers(server: Underpass, name: str) -> int:
    """A counter of all workers together."""
    rows = [row for pid in server.pids() for row in stats(pid)]
    return sum(row["value"] for row in rows if row["name"] == name)


def test_workers_take_cookies_and_leave_flows_to_those_that_come_after(root: Path, tmp_path: Path) -> None:
    """Unprivileged and confined, each tells the program by memory. A flow stays known over a restart."""
    with answerable(queues=2) as pair:
        server = ByWorkers(pair, root, tmp_path, None)
        address, address6 = pair.server.address, pair.server.address6
        with flood(pair, address, 10000), socket.create_connection((address, 80)) as client:
            assert BODY in asked(client)
            assert [fetch(pair, address) for _ in range(CLIENTS)] == [BODY] * CLIENTS
            assert [fetch(pair, address6) for _ in range(CLIENTS)] == [BODY] * CLIENTS
            server.process.send_signal(signal.SIGHUP)
            assert until(lambda: server.log.read_text().count("serves again") == 2, 20)
            assert BODY in asked(client)
            assert fetch(pair, address) == BODY
        assert of_workers(server, "cookies_accepted") >= 2 * CLIENTS
        assert of_workers(server, "cookies_sent") == of_workers(server, "cookies_refused") == 0
        server.process.terminate()
        assert server.process.wait(60) == 0, server.log.read_text()
        server.stop()
