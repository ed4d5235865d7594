"""One connection seen by both sides: `ss -ti` and ours agree on what must agree; and long idleness."""

import contextlib
import errno
import re
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

import underpass
from underpass.apps.bulk import bulk
from underpass.apps.bulk.bulk import Bulk
from underpass.apps.bulk.tcp_info import tcp_info
from underpass.apps.relay.path import RelayedPair
from underpass.linux.namespaces import inside

TCP, SOCKET = socket.IPPROTO_TCP, socket.SOL_SOCKET
# What `ss` says, our row, and what the relay counted rightward and leftward.
Views = tuple[str, dict[str, int], dict[str, float], dict[str, float]]
HANDSHAKE = 2               # segments that one side counts and the other does not: SYN, SYN-ACK


class Served:
    """The server's interface attached by this process, with a bulk server; beyond the relay is Linux."""

    def __init__(self, path: RelayedPair) -> None:
        self.path = path
        with inside(path.server.name):
            self.nic = underpass.attach(path.server.interface, source_ports=1024)
            self.stack = self.nic.stack(ooo_frames=4096)
            self.stack.claim(("", 7))
            self.bulk = Bulk(self.stack)
            self.bulk.listen("", 7)

    def drive(self, true: Callable[[], object], timeout_s: float = 30) -> bool:
        """Run the stack until it holds; whether it came to."""
        end = time.monotonic() + timeout_s
        with inside(self.path.server.name):
            while not true():
                if time.monotonic() > end:
                    return False
                self.stack.run_for_events(0.005)
                self.stack.events()
        return True

    def client(self, *options: tuple[int, int, int]) -> socket.socket:
        """A socket of Linux's, connected to port 7."""
        with inside(self.path.client.name):
            client = socket.socket()
        for option in options:
            client.setsockopt(*option)
        client.setblocking(False)
        client.connect_ex((self.path.server.address, 7))
        assert self.drive(lambda: tcp_info(client)["state"] == 1)
        return client

    def row(self) -> dict[str, int]:
        """Our view of the connection."""
        rows = [row for row in self.stack.connections() if row["state"] not in ("LISTEN", "TIME-WAIT")]
        assert len(rows) == 1
        return rows[0]          # type: ignore[return-value]

    def ss(self) -> str:
        """Linux's."""
        return self.path.client.run("ss", "-tinoHO", "dst", self.path.server.address).stdout

    def upload(self, client: socket.socket, octets: int) -> None:
        """Have Linux send that much, and it be taken and acknowledged."""
        sent = 0

        def all_sent() -> bool:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                sent += client.send(bulk.piece(sent)[:octets - sent])
            return sent == octets and tcp_info(client)["unacked"] == 0

        assert self.drive(all_sent)

    def download(self, client: socket.socket, octets: int) -> None:
        """Take that much of what our side sends."""
        taken = 0

        def all_taken() -> bool:
            nonlocal taken
            try:
                piece = client.recv(1 << 16)
            except BlockingIOError:
                return taken == octets
            assert bulk.matches(piece, taken, server=True)
            taken += len(piece)
            return taken == octets

        assert self.drive(all_taken)
        self.drive(lambda: False, 0.3)          # delayed acknowledgments


@pytest.fixture
def served(path: RelayedPair) -> Iterator[Served]:
    path.start({}, {})
    it = Served(path)
    yield it
    with inside(path.server.name):
        it.nic.close()


def number(text: str, name: str, default: int | None = None) -> int:
    """The number behind `name:` in a line of ss."""
    found = re.search(rf"\b{name}:(?:\d+/)?(\d+)", text)
    if found is None and default is not None:
        return default
    assert found is not None, f"{name} is not in {text}"
    return int(found[1])


class TestViews:
    """`ss -ti` there, `Stack.connections()` here."""

    UP, DOWN = 3_000_000, 2_000_000

    @pytest.fixture
    def views(self, served: Served) -> Iterator[Views]:
        """Both views of a connection after transfers over a path that loses, and what the relay lost."""
        rules = {"lose": 0.01, "delay_ms": 1}
        with served.client() as client:
            served.path.start(rules, rules)
            served.upload(client, 0)
            client.send(bulk.head(1 << 40, self.DOWN, False))       # only the server's stream ends
            served.upload(client, self.UP)
            served.download(client, self.DOWN)
            stats = served.path.stats()
            yield served.ss(), served.row(), stats["rightward"], stats["leftward"]

    def test_both_sides_agree(self, views: Views) -> None:
        theirs, ours, rightward, leftward = views
        assert f"wscale:{ours['rcv_scale']},{ours['snd_scale']}" in theirs
        assert ours["timestamps"] == 1 and re.search(r"\bts\b", theirs)
        assert ours["sack"] == 1 and re.search(r"\bsack\b", theirs)
        assert ours["mss"] == number(theirs, " mss") == 1448
        head, fin = bulk.HEAD_BYTES, 1
        # Linux counts the sequence numbers of SYN and FIN among its octets.
        assert 0 <= number(theirs, "bytes_acked") - (head + self.UP) <= 1
        assert ours["bytes_received"] == head + self.UP
        assert 0 <= number(theirs, "bytes_received") - self.DOWN <= fin
        assert 0 <= ours["bytes_acked"] - self.DOWN <= fin
        # What one sent and was not lost the other received.
        assert abs(ours["segments_sent"] - leftward["lost"] - number(theirs, "segs_in")) <= HANDSHAKE
        assert abs(number(theirs, "segs_out") - rightward["lost"] - ours["segments_received"]) <= HANDSHAKE

    def test_retransmissions_are_those_that_were_lost_and_few_more(self, views: Views) -> None:
        """Among the lost are acknowledgments, which nobody sends again."""
        theirs, ours, rightward, leftward = views
        assert leftward["lost"] / 3 <= ours["retransmits"] <= 2 * leftward["lost"] + 10
        assert rightward["lost"] / 3 <= number(theirs, "retrans", 0) <= 2 * rightward["lost"] + 10


class TestIdle:
    """RFC 9293 3.8.4: a connection without traffic lives as long as both ends do."""

    LINUX = ((SOCKET, socket.SO_KEEPALIVE, 1), (TCP, socket.TCP_KEEPIDLE, 1), (TCP, socket.TCP_KEEPINTVL, 1))

    def test_linux_s_keepalives_are_answered(self, served: Served) -> None:
        """MUST-25, MUST-29 of RFC 9293: the probe is answered, the connection stays."""
        with served.client(*self.LINUX, (TCP, socket.TCP_KEEPCNT, 2)) as client:
            before = tcp_info(client)["segs_in"]
            served.drive(lambda: False, 4.5)
            assert tcp_info(client)["state"] == 1
            assert tcp_info(client)["segs_in"] >= before + 3
            client.send(bulk.head(1000, 1000, False))
            served.upload(client, 1000)
            served.download(client, 1000)

    def connect(self, served: Served) -> tuple[underpass.Connection, socket.socket]:
        """A connection of ours to a socket of Linux's."""
        with inside(served.path.client.name), socket.create_server((served.path.client.address, 99)) as peer:
            peer.setblocking(False)
            with inside(served.path.server.name):
                conn = served.stack.connect((served.path.client.address, 99))
            assert served.drive(lambda: select.select([peer], [], [], 0)[0])
            accepted, _ = peer.accept()
        conn.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 2), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
            conn.setsockopt(TCP, option, value)
        return conn, accepted

    def test_linux_answers_our_keepalives(self, served: Served) -> None:
        conn, peer = self.connect(served)
        with peer:
            served.drive(lambda: False, 6.5)
            assert conn.state == "ESTABLISHED"
            assert served.stack.stats()["tcp"]["keepalives"] >= 3
            conn.send(b"still here")
            assert served.drive(lambda: tcp_info(peer)["bytes_received"] == 10)
            assert peer.recv(100) == b"still here"
        conn.abort()

    def test_a_peer_that_is_gone_is_noticed(self, served: Served) -> None:
        """SHLD-10 of RFC 9293: after the probes without an answer, the connection ends with ETIMEDOUT."""
        conn, peer = self.connect(served)
        with peer:
            served.path.start({"lose": 1}, {"lose": 1})
            assert served.drive(lambda: conn.state == "CLOSED")
            with pytest.raises(OSError) as caught:
                conn.recv()
            assert caught.value.errno == errno.ETIMEDOUT
        conn.close()
