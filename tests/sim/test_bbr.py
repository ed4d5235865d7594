"""BBR version 3 (draft-ietf-ccwg-bbr) from end to end: what it makes of paths, and of others on them."""

import contextlib
import itertools
import socket
import statistics
from dataclasses import dataclass

import pytest

from underpass.testing import GBIT, MBIT, MS, SECOND, Network, Transfer, stream
from underpass.testing.figures import Sink, Source

# So much may be out of order while losses of losses are repaired: else the receiver drops it.
HOST = {"frames": 16384, "snd_frames": 4096, "rcv_bytes": 1 << 24, "ooo_frames": 8192}
WIDE = {"rate_bps": 100 * MBIT, "delay_ns": 20 * MS, "queue_bytes": 1_000_000}
NARROW = {"rate_bps": 20 * MBIT, "delay_ns": 20 * MS, "queue_bytes": 2_000_000}
BDP = 100_000  # of the narrow path
WIRE_SHARE = 1448 / 1514  # payload of a frame


@dataclass
class Flow:
    """One flow without end at a bottleneck."""

    network: Network
    control: str
    conditions: dict

    def __post_init__(self):
        client, server = self.network.host(**HOST), self.network.host(**HOST)
        self.client = client
        self.link = self.network.link(client, server, **self.conditions)
        self.sink = Sink(server)
        self.sink.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self.conn = Source(client, server, self.control).conn
        assert self.network.run(until=lambda: self.conn.state == "ESTABLISHED", for_ns=SECOND)

    def run(self, seconds):
        """Mean goodput in bits a second, mean queue in octets, over that time."""
        octets, queue = self.sink.received, self.link.forth.queue_byte_ns
        self.network.run(for_ns=round(seconds * SECOND))
        octets, queue = self.sink.received - octets, self.link.forth.queue_byte_ns - queue
        return octets * 8 / seconds, queue / seconds / SECOND

    def watch(self, seconds, every_ms=20):
        """What `info` says all the time."""
        seen = []
        for _ in range(round(seconds * 1000 / every_ms)):
            self.network.run(for_ns=every_ms * MS)
            seen.append(self.conn.info())
        return seen


def phases(infos):
    """The phases in order, each as long as it lasts once."""
    names = [info["bbr_phase"] for info in infos]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_one_percent_of_random_loss_leaves_nine_tenths_of_the_link(seed):
    """2.6: losses within LossThresh say nothing of the path's capacity"""
    with Network(seed, capture=False) as network:
        flow = Flow(network, "bbr", WIDE | {"loss": 0.01})
        flow.run(1)
        goodput, _ = flow.run(20)
        assert goodput / 0.99 / WIRE_SHARE > 0.9 * 100 * MBIT
        assert flow.client.stack.stats()["tcp"]["timeouts"] == 0


def test_cubic_is_far_from_that():
    """The comparison that makes the test above one"""
    with Network(1, capture=False) as network:
        flow = Flow(network, "cubic", WIDE | {"loss": 0.01})
        flow.run(1)
        assert flow.run(20)[0] < 20 * MBIT


def test_the_queue_of_a_deep_buffer_stays_short():
    """3.1: an eighth of a BDP on average; CUBIC fills it"""
    queues = {}
    for control in ("bbr", "cubic"):
        with Network(1, capture=False) as network:
            flow = Flow(network, control, NARROW)
            flow.run(10)
            goodput, queues[control] = flow.run(30)
            assert goodput > 0.88 * 20 * MBIT
    assert queues["bbr"] < BDP / 4
    assert queues["bbr"] < queues["cubic"] / 20


def test_the_cycle_on_a_quiet_path():
    """5.1.1: all phases in the order of the state diagram, ProbeRTT every five seconds or so"""
    with Network(1, capture=False) as network:
        flow = Flow(network, "bbr", NARROW)
        infos = flow.watch(30, every_ms=5)
        seen = phases(infos)
        assert seen[0] == "startup"
        assert seen[1] == "drain"
        followers = {pair for pair in itertools.pairwise(seen[1:]) if "probe rtt" not in pair}
        assert followers <= {
            ("drain", "down"), ("drain", "cruise"), ("down", "cruise"), ("down", "refill"),
            ("cruise", "refill"), ("refill", "up"), ("up", "down"), ("up", "cruise"),
        }  # fmt: skip
        assert 3 <= seen.count("probe rtt") <= 6
        assert seen.count("up") >= 5
        assert statistics.median(info["bbr_max_bw_bps"] for info in infos[400:]) == pytest.approx(
            20 * MBIT * WIRE_SHARE, rel=0.02
        )
        assert max(info["bbr_min_rtt_us"] for info in infos[400:]) < 42_000


def test_probe_rtt_empties_the_pipe_by_half():
    """5.3.4: 200 ms with half a BDP in flight"""
    with Network(2, capture=False) as network:
        flow = Flow(network, "bbr", NARROW)
        held = [info["pipe_bytes"] for info in flow.watch(20, every_ms=5) if info["bbr_phase"] == "probe rtt"]
        assert min(held) <= 0.55 * BDP
        assert len(held) * 5 >= 200


@pytest.mark.parametrize("queue", [0.5, 1, 2, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_link_is_shared_with_cubic(queue, seed):
    """3.1: neither starves"""
    assert min(shares(seed, ["bbr", "cubic"], queue)) >= 0.2


@pytest.mark.parametrize("seed", [1, 2])
def test_a_link_is_shared_among_its_like(seed):
    """3.1"""
    assert min(shares(seed, ["bbr", "bbr", "bbr"], 2)) >= 0.2


def shares(seed, controls, queue_bdps, seconds=60):
    """Of the octets that several flows carry through one bottleneck of 20 Mbit/s and 40 ms."""
    with Network(seed, capture=False) as network:
        left, right = network.router(), network.router()
        network.link(left, right, **NARROW | {"queue_bytes": round(queue_bdps * BDP)})
        sinks = []
        for control in controls:
            client, server = network.host(**HOST), network.host(**HOST)
            network.link(client, left, rate_bps=GBIT)
            network.link(right, server, rate_bps=GBIT)
            sinks.append(Sink(server))
            sinks[-1].listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
            Source(client, server, control)
        network.run(for_ns=seconds * SECOND)
        total = sum(sink.received for sink in sinks)
        assert total * 8 / seconds > 0.85 * 20 * MBIT
        return [sink.received / total for sink in sinks]


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.4])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_transfer_hangs_under_heavy_loss(loss, seed):
    """RFC 9293 3.8.3: slow, but through; and nothing is left behind"""
    with Network(seed, check=True) as network:
        client, server = network.host(congestion="bbr"), network.host(congestion="bbr")
        network.link(client, server, rate_bps=20 * MBIT, delay_ns=5 * MS, loss=loss)
        there, back = stream(1, 100_000), stream(2, 50_000)
        one, other = Transfer(there, back), Transfer(back, there)
        server.stack.listen((server.station.v4, 80))
        client.application, server.application = one.on_ready, other.on_ready
        one.conn = client.stack.connect((server.station.v4, 80))
        assert network.run(until=lambda: one.done and other.done, for_ns=3000 * SECOND)
        network.run(for_ns=300 * SECOND)
        assert client.is_idle() and server.is_idle()


@pytest.mark.parametrize("conditions", [
    {"reorder": 0.05, "reorder_ns": 5 * MS},
    {"duplicate": 0.05, "corrupt": 0.01},
    {"jitter_ns": 10 * MS, "loss": 0.02},
    {"mark_packets": 20},
], ids=["reordered", "duplicated", "jittered", "marked"])  # fmt: skip
def test_octets_arrive_whole_on_bad_paths(conditions):
    """RFC 9293 3.8: under every harm, with every rule of conduct kept"""
    with Network(7, check=True) as network:
        client, server = network.host(congestion="bbr", ecn=1), network.host(congestion="bbr", ecn=1)
        network.link(client, server, rate_bps=20 * MBIT, delay_ns=10 * MS, queue_packets=100, **conditions)
        data = stream(3, 1_000_000)
        one, other = Transfer(data, b""), Transfer(b"", data)
        server.stack.listen((server.station.v4, 80))
        client.application, server.application = one.on_ready, other.on_ready
        one.conn = client.stack.connect((server.station.v4, 80))
        assert network.run(until=lambda: one.done and other.done, for_ns=60 * SECOND)
        assert one.errors == other.errors == []
        assert network.check_conduct() > 0


def test_a_run_repeats_from_its_seed():
    """Random probe times too"""
    runs = []
    for _ in range(2):
        with Network(11, capture=False) as network:
            flow = Flow(network, "bbr", WIDE | {"loss": 0.003})
            runs.append(flow.watch(5, every_ms=100))
    assert runs[0] == runs[1]


def test_ten_times_the_bandwidth_is_found():
    """Appendix: increasing bandwidth 10x and ensuring full bandwidth is reached"""
    with Network(1, capture=False) as network:
        flow = Flow(network, "bbr", WIDE | {"rate_bps": 10 * MBIT})
        flow.run(10)
        flow.link.change(rate_bps=100 * MBIT)
        flow.run(15)
        assert flow.run(5)[0] > 0.85 * 100 * MBIT


def test_a_tenth_of_the_bandwidth_is_adapted_to():
    """Appendix: decreasing bandwidth 10x and ensuring max bandwidth adapts down"""
    with Network(1, capture=False) as network:
        flow = Flow(network, "bbr", WIDE)
        flow.run(5)
        flow.link.change(rate_bps=10 * MBIT)
        flow.run(15)
        goodput, queue = flow.run(20)
        assert goodput > 0.8 * 10 * MBIT
        assert queue < 100_000
        assert flow.conn.info()["bbr_max_bw_bps"] < 11 * MBIT


def test_a_path_with_less_than_a_segment_in_flight():
    """Appendix: correctly managing sub-packet BDPs"""
    with Network(1, capture=False) as network:
        flow = Flow(network, "bbr", {"rate_bps": 1 * MBIT, "delay_ns": 100_000})
        flow.run(5)
        assert flow.run(10)[0] > 0.85 * MBIT
        assert flow.conn.info()["cwnd_bytes"] >= 4 * 1448


@dataclass
class Writer:
    """Octets for a connection, as fast as it takes them."""

    conn: object
    left: int

    def on_ready(self, _conn=None, _ready=0):
        """Give what is taken."""
        with contextlib.suppress(BlockingIOError):
            while self.left:
                self.left -= self.conn.send(bytes(self.left))

    def is_done(self):
        """Whether all of it has been acknowledged."""
        return self.left == 0 and self.conn.info()["flight_bytes"] == 0


def test_idleness_takes_neither_the_bandwidth_nor_a_probe_rtt():
    """5.4.1"""
    with Network(1, capture=False) as network:
        client, server = network.host(**HOST), network.host(**HOST)
        network.link(client, server, **NARROW)
        sink = Sink(server)
        conn = client.stack.connect((server.station.v4, 80))
        network.run(for_ns=SECOND)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "bbr")
        seen = set()
        for octets in (3_000_000, 100_000, 100_000, 100_000):
            writer = Writer(conn, octets)
            client.application = writer.on_ready
            writer.on_ready()
            assert network.run(until=writer.is_done, for_ns=10 * SECOND)
            seen.add(conn.info()["bbr_phase"])
            bandwidth = conn.info()["bbr_max_bw_bps"]
            network.run(for_ns=7 * SECOND)
        assert sink.received == 3_300_000
        assert bandwidth > 15 * MBIT
        assert "probe rtt" not in seen
        assert client.stack.stats()["tcp"]["idle_restarts"] == 0


def test_others_pay_nothing_for_it():
    """A connection that is not BBR's samples nothing"""
    with Network(1, capture=False) as network:
        flow = Flow(network, "cubic", NARROW)
        flow.run(1)
        info = flow.conn.info()
        assert info["delivery_rate_bps"] == 0
        assert "bbr_phase" not in info


def goodput_after_a_minute(loss, seconds):
    """On a path that lost so much of everything for a minute, `seconds` after that."""
    with Network(1, capture=False) as network:
        flow = Flow(network, "bbr", NARROW)
        flow.run(10)
        flow.link.change(loss=loss)
        flow.run(60)
        flow.link.change(loss=0.0)
        flow.run(seconds)
        return flow.run(10)[0]


def test_an_outage_of_a_minute_is_over_when_it_is_over():
    """RFC 6298 5.5: with the next retransmission, and at the path's rate soon after"""
    assert goodput_after_a_minute(loss=1.0, seconds=70) > 0.8 * 20 * MBIT


def test_a_path_that_hardly_carries_anything_for_a_while_is_found_again():
    """5.5.6: the bandwidth of two cycles is remembered, no more; it grows by a quarter in each probe"""
    assert goodput_after_a_minute(loss=0.7, seconds=60) > 0.8 * 20 * MBIT
