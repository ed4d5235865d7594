"""A path too small for large segments, and silent about it; later it grows (RFC 4821, RFC 8899)."""

import pytest

from underpass.testing import MBIT, MS, SECOND, Network, Transfer, stream
from underpass.testing.figures import Sink, Source

SMALL, USUAL = 1100, 1500
OVERHEAD = 52  # IPv4, TCP, timestamps
SEARCH_MS = 60_000


@pytest.mark.parametrize("control", ["cubic", "reno", "bbr"])
def test_segments_fit_a_small_path_and_grow_with_it(control):
    """RFC 4821 7.7, 7.3: down to a usual size by timeouts, up to the path's by probes, then up with it"""
    with Network(1, capture=False) as network:
        limits = {"path_mtu_ms": SEARCH_MS}
        client, server = network.host(**limits), network.host(**limits)
        link = network.link(
            client, server, rate_bps=10 * MBIT, delay_ns=10 * MS, queue_packets=100, mtu=SMALL, icmp=False
        )
        sink, conn = Sink(server), Source(client, server, control).conn
        network.run(for_ns=30 * SECOND)
        assert SMALL - OVERHEAD - 8 <= conn.info()["mss"] <= SMALL - OVERHEAD
        assert sink.received * 8 / 30 > 0.5 * 10 * MBIT
        count = client.stack.stats()["tcp"]
        assert count["path_black_holes"] >= 1
        assert count["icmp_in"] == 0
        timeouts = count["timeouts"]
        link.change(mtu=0)
        network.run(for_ns=(SEARCH_MS + 5000) * MS)
        assert conn.info()["path_mtu"] == USUAL
        network.run(for_ns=30 * SECOND)
        assert client.stack.stats()["tcp"]["timeouts"] == timeouts


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_losses_do_not_mislead_the_search(seed):
    """RFC 4821 7.4, RFC 8899 5.1.2: a probe that is lost by chance is tried again"""
    with Network(seed, capture=False) as network:
        client, server = network.host(), network.host()
        link = network.link(
            client, server, rate_bps=10 * MBIT, delay_ns=5 * MS, queue_packets=100, mtu=SMALL, icmp=False
        )
        Sink(server)
        conn = Source(client, server, "bbr").conn
        network.run(for_ns=15 * SECOND)
        link.change(loss=0.005)
        network.run(for_ns=60 * SECOND)
        assert conn.info()["mss"] >= SMALL - OVERHEAD - 40


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_octets_arrive_whole_while_the_path_changes(seed):
    """Probes cut across what the application wrote: nothing is lost, doubled or out of place"""
    with Network(seed, check=True) as network:
        client, server = network.host(path_mtu_ms=2000), network.host()
        path = {"rate_bps": 10 * MBIT, "delay_ns": 5 * MS, "loss": 0.003, "mtu": SMALL, "icmp": False}
        link = network.link(client, server, **path)
        data = stream(seed, 8_000_000)
        one, other = Transfer(data, b""), Transfer(b"", data)
        server.stack.listen((server.station.v4, 80))
        client.application, server.application = one.on_ready, other.on_ready
        one.conn = client.stack.connect((server.station.v4, 80))
        for mtu in (1300, 700, 0, SMALL, 0):
            network.run(until=lambda: one.done and other.done, for_ns=10 * SECOND)
            link.change(mtu=mtu)
        assert network.run(until=lambda: one.done and other.done, for_ns=600 * SECOND)
        assert one.errors == other.errors == []
        assert client.stack.stats()["tcp"]["path_probes"] > 0
        assert network.check_conduct() > 0
