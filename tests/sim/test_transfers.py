"""Transfers between two stacks over a cable that loses, doubles, reorders, delays and damages packets."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underpass.testing.checker import Transfer, stream
from underpass.testing.clock import MS, SECOND, US
from underpass.testing.network import Network

HOUR = 3600 * SECOND
# Shorter than any real path, but longer than the 4 us in which two incarnations of a connection would get the
# same initial sequence number (RFC 9293 3.4.1): old duplicates of one could then pass for the other's.
SHORT = 10 * US
LOSSY = {"drop": 0.01, "duplicate": 0.01, "reorder": 0.01}


class Exchange:
    """Transfers from one host to another; which is which tells the client's address and port."""

    def __init__(self, network, client, server, port=80):
        self.network, self.client, self.server, self.port = network, client, server, port
        self.by_client = {}
        self.all = []
        server.stack.listen(("0.0.0.0", port), backlog=4096)
        server.stack.listen(("::", port), backlog=4096)
        server.application = self.serve
        client.application = self.drive

    def serve(self, conn, ready):
        """An event of the server."""
        self.by_client[conn.remote][1].on_ready(conn, ready)

    def drive(self, conn, ready):
        """An event of the client."""
        self.by_client[conn.local][0].on_ready(conn, ready)

    def start(self, out, back, *, v6=False, **calls):
        """Connect; send `out`, have `back` sent."""
        station = self.server.station
        conn = self.client.stack.connect((station.v6 if v6 else station.v4, self.port))
        ends = Transfer(out, back, conn=conn, **calls), Transfer(back, out, **calls)
        self.by_client[conn.local] = ends
        self.all += ends

    def finish(self):
        """Until all is done: every octet right, no error, no connection and no frame left."""
        done = self.network.run(until=lambda: all(end.done for end in self.all), for_ns=HOUR)
        assert done, self.unfinished()
        assert [end.errors for end in self.all if end.errors] == []
        self.network.run(for_ns=HOUR)
        for host in (self.client, self.server):
            assert host.is_idle(), (host.name, host.stack.connections(), host.link.frames.free)

    def unfinished(self):
        """What an assertion tells."""
        return [(end.sent, end.received, end.shut, end.at_end) for end in self.all if not end.done]


def sizes(rng):
    """Octets of a transfer: none, few, about a segment, some hundred thousand."""
    return rng.choice([0, 1, rng.randrange(100), rng.randrange(1400, 1500), rng.randrange(5000),
                       rng.randrange(30_000), rng.randrange(300_000)])  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_a_thousand_transfers_under_loss(seed):
    """1 % loss, duplication and reordering each way; 50 connections at once, both directions, 20 times, every
    other time over links with segmentation offload.
    """
    rng = random.Random(seed)
    with Network(seed, segmentation=bool(seed % 2)) as network:
        client, server = network.pair(frames=8192, latency_ns=rng.choice([SHORT, MS, 20 * MS]), **LOSSY)
        exchange = Exchange(network, client, server)
        for number in range(50):
            out, back = (stream(2 * number + way, sizes(rng)) for way in (0, 1))
            exchange.start(out, back, v6=bool(number % 2))
            network.run(for_ns=rng.randrange(5 * MS))
        exchange.finish()
        assert client.link.stats()["tx_packets"] > 0


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"drop": 0.1},
        {"duplicate": 0.5},
        {"reorder": 0.5},
        {"corrupt": 0.1},
        {"jitter_ns": 50 * MS},
        {"drop": 0.05, "duplicate": 0.05, "reorder": 0.1, "corrupt": 0.05, "jitter_ns": 5 * MS},
    ],
    ids=lambda faults: "+".join(faults) or "none",
)
@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_one_stream_under_each_fault(faults, mtu):
    with Network(3) as network:
        exchange = Exchange(network, *network.pair(mtu=mtu, latency_ns=MS, **faults))
        exchange.start(stream(1, 200_000), stream(2, 100_000))
        exchange.finish()


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        with Network(seed) as network:
            exchange = Exchange(network, *network.pair(latency_ns=MS, **LOSSY))
            exchange.start(stream(1, 100_000), stream(2, 100_000))
            exchange.finish()
            return [host.stack.stats() for host in (exchange.client, exchange.server)]

    assert run(5) == run(5)


def test_without_faults_nothing_is_sent_twice():
    with Network(1) as network:
        exchange = Exchange(network, *network.pair(latency_ns=5 * MS))
        for number in range(10):
            exchange.start(stream(number, 100_000), stream(100 + number, 100_000))
        exchange.finish()
        for host in (exchange.client, exchange.server):
            counters = host.stack.stats()["tcp"]
            assert counters["retransmits"] == counters["timeouts"] == counters["out_of_order"] == 0
            assert counters["resets_out"] == 0


@pytest.mark.parametrize("frames", [64, 256, 1024])
def test_many_connections_share_a_small_pool(frames):
    """Frames run out, and everything arrives all the same."""
    with Network(2) as network:
        exchange = Exchange(network, *network.pair(frames=frames, latency_ns=MS, drop=0.005))
        for number in range(40):
            exchange.start(stream(number, 60_000), stream(100 + number, 20_000))
        exchange.finish()


@pytest.mark.parametrize(("read", "write"), [(1, 65536), (65536, 1), (100, 100), (3000, 7)])
def test_small_reads_and_writes(read, write):
    with Network(4) as network:
        exchange = Exchange(network, *network.pair(latency_ns=MS, **LOSSY))
        exchange.start(stream(1, 20_000), stream(2, 5000), read=read, write=write)
        exchange.finish()


def test_both_sides_connect_at_the_same_time():
    """RFC 9293 3.5, figure 7: one connection, although nobody listens"""
    with Network(6) as network:
        one, other = network.pair(latency_ns=MS)
        first = one.stack.connect((other.station.v4, 5001), (one.station.v4, 5000))
        second = other.stack.connect((one.station.v4, 5000), (other.station.v4, 5001))
        assert network.run(until=lambda: first.state == second.state == "ESTABLISHED", for_ns=10 * SECOND)
        first.send(b"one")
        second.send(b"other")
        network.run(for_ns=SECOND)
        assert (first.recv(), second.recv()) == (b"other", b"one")
        first.close()
        second.close()
        network.run(for_ns=HOUR)
        assert one.is_idle() and other.is_idle()


rates = st.floats(0, 0.15)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    faults=st.fixed_dictionaries({"drop": rates, "duplicate": rates, "reorder": rates, "corrupt": rates}),
    times=st.fixed_dictionaries(
        {"delay_ns": st.integers(SHORT, 20 * MS), "jitter_ns": st.integers(0, 20 * MS)}
    ),
    transfers=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 40_000)), min_size=1, max_size=4),
    mtu=st.sampled_from([576, 1280, 1500]),
)
def test_every_octet_arrives_whatever_the_cable_does(seed, faults, times, transfers, mtu):
    with Network(seed, segmentation=bool(seed % 2)) as network:
        exchange = Exchange(network, *network.pair(mtu=mtu, **faults, **times))
        for number, (out, back) in enumerate(transfers):
            exchange.start(stream(number, out), stream(-1 - number, back))
        exchange.finish()
