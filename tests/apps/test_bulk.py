"""The bulk application: what it sends, how it checks what comes, what it counts; on a virtual network."""

from collections.abc import Iterator

import pytest

from underpass.apps.bulk import bulk
from underpass.apps.bulk.bulk import Bulk
from underpass.apps.bulk.tcp_info import FIELDS, LAYOUT
from underpass.testing.clock import SECOND
from underpass.testing.host import Host
from underpass.testing.network import Network


class Ends:
    """A bulk server and client on two stacks of a virtual network."""

    def __init__(self, network: Network, **options: object) -> None:
        self.network = network
        self.client_host, self.server_host = network.pair(drop=0.01, reorder=0.01)
        self.client, self.server = Bulk(self.client_host.stack), Bulk(self.server_host.stack)
        self.server.listen("", 7)

    def carry(self, **plan: int) -> tuple[dict[str, int | float], dict[str, int | float]]:
        """Both ends' results of a plan."""
        self.server.reset()
        self.client.connect(self.server_host.station.v4, 7, **plan)
        assert self.network.run(until=lambda: self.client.over, for_ns=3600 * SECOND)
        self.network.run(for_ns=10 * SECOND)
        return self.client.results(), self.server.results()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with Network(seed=5) as network:
        yield Ends(network)


@pytest.mark.parametrize(("up", "down", "wait"), [
    (0, 0, False), (1, 0, False), (0, 1, True), (3_000_000, 100, False), (100, 3_000_000, True),
    (2_000_000, 2_000_000, False),
])
def test_every_octet_is_carried_both_ways(ends: Ends, up: int, down: int, wait: bool) -> None:
    client, server = ends.carry(up=up, down=down, wait=wait)
    assert (client["octets_out"], client["octets_in"]) == (up, down)
    assert (server["octets_in"], server["octets_out"]) == (up, down)
    for end in (client, server):
        assert end["completed"] == 1
        assert not any(end[name] for name in ("failed", "cut_short", "mismatched", "open"))


def test_connections_follow_one_another(ends: Ends) -> None:
    client, server = ends.carry(connections=300, at_a_time=20, up=100, down=1000)
    assert client["completed"] == server["completed"] == 300
    assert client["octets_in"] == 300_000


def test_a_refused_connection_is_counted(ends: Ends) -> None:
    ends.client.connect(ends.server_host.station.v4, 9, connections=2)
    assert ends.network.run(until=lambda: ends.client.over, for_ns=3600 * SECOND)
    assert ends.client.results()["failed"] == 2
    assert ends.client.results()["error"] == "Connection refused"


def test_wrong_octets_and_a_stream_that_ends_early_are_counted(ends: Ends) -> None:
    host: Host = ends.client_host
    conn = host.stack.connect((ends.server_host.station.v4, 7))
    assert ends.network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=60 * SECOND)
    conn.send(bulk.head(1000, 0, False) + bytes(500))
    conn.shutdown()
    assert ends.network.run(until=lambda: ends.server.results()["completed"] == 1, for_ns=60 * SECOND)
    assert ends.server.results()["mismatched"] >= 1
    assert ends.server.results()["cut_short"] == 1


def test_pieces_of_the_pattern_are_told_apart() -> None:
    assert bulk.matches(bulk.piece(12345)[:1448], 12345)
    assert not bulk.matches(bulk.piece(12345)[:1448], 12346)
    assert not bulk.matches(bulk.piece(12345)[:1448], 12345, server=True)
    assert bulk.matches(bulk.piece(2**40, server=True), 2**40, server=True)
    with pytest.raises(ValueError, match="at most 1048576 octets"):
        bulk.matches(bytes(2**20 + 1), 0)


def test_an_unknown_congestion_control_is_named(ends: Ends) -> None:
    with pytest.raises(ValueError, match=r"no congestion control 'vegas'; there are .*cubic"):
        Bulk(ends.client_host.stack, "vegas")


def test_linux_s_tcp_info_has_a_name_for_every_field() -> None:
    """struct tcp_info of linux/tcp.h: tcpi_total_retrans at 100, tcpi_bytes_acked at 120."""
    assert LAYOUT.size == 224
    assert len(LAYOUT.unpack(bytes(LAYOUT.size))) == len(FIELDS)
    octets = bytes(100) + (7).to_bytes(4, "little") + bytes(16) + (9).to_bytes(8, "little") + bytes(96)
    found = dict(zip(FIELDS, LAYOUT.unpack(octets), strict=True))
    assert (found["total_retrans"], found["bytes_acked"]) == (7, 9)
