"""What loss, reordering and delay cost a transfer, in virtual time."""

import socket
from dataclasses import dataclass, field

import pytest

from underpass.testing.checker import Transfer, stream
from underpass.testing.clock import MS, SECOND, US
from underpass.testing.conditions import GBIT, MBIT, Burst
from underpass.testing.network import Network

MEGABYTE = 1_000_000
SHORT = {"delay_ns": 50 * US, "rate_bps": GBIT, "queue_packets": 200}
LONG = {"delay_ns": 10 * MS, "rate_bps": 100 * MBIT, "queue_packets": 170}
SEGMENT = 1448


@dataclass
class Upload:
    """A client that sends so many octets to a server, and both stacks' counters."""

    network: Network
    octets: int
    conditions: dict
    control: str = "cubic"
    there: list = field(default_factory=list)

    def __post_init__(self):
        data = stream(1, self.octets)
        self.client, self.server = self.network.host(), self.network.host()
        self.link = self.network.link(self.client, self.server, **self.conditions)
        self.server.stack.listen(("0.0.0.0", 80))
        self.server.application = lambda conn, ready: self.take(conn, ready, data)
        self.start_ns = self.network.clock.now_ns
        conn = self.client.stack.connect((self.server.station.v4, 80))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.control)
        self.conn = conn
        self.client.application = Transfer(data, b"", conn=conn).on_ready

    def take(self, conn, ready, data):
        if not self.there:
            self.there.append(Transfer(b"", data))
        self.there[0].on_ready(conn, ready)

    def run(self, until=None):
        """To the end, or until something holds."""
        self.network.run(until=until or (lambda: self.there and self.there[0].done), for_ns=600 * SECOND)
        assert until or self.there[0].done
        return self

    def count(self, name):
        return self.client.stack.stats()["tcp"][name]

    @property
    def bps(self):
        return 8e9 * self.octets / (self.network.clock.now_ns - self.start_ns)


def upload(seed, octets, **conditions):
    with Network(seed, capture=False) as network:
        return Upload(network, octets, conditions).run()


def uploads(octets, **conditions):
    """The same from five seeds: all goodputs, and sums of counters."""
    names = ("retransmits", "timeouts", "spurious_retransmits", "segments_out")
    runs = []
    sums = dict.fromkeys(names, 0)
    for seed in range(5):
        with Network(seed, capture=False) as network:
            done = Upload(network, octets, conditions).run()
            runs.append(done.bps)
            for name in names:
                sums[name] += done.count(name)
    return sorted(runs), sums


@pytest.mark.parametrize(
    ("path", "loss", "least_bps"),
    [(SHORT, 0.01, 700e6), (SHORT, 0.03, 400e6), (LONG, 0.01, 6e6), (LONG, 0.03, 3e6)],
    ids=["short 1 %", "short 3 %", "long 1 %", "long 3 %"],
)
def test_random_loss_does_not_stop_a_transfer(path, loss, least_bps):
    """RFC 8985 1: without a timeout, but where a retransmission is lost and nothing follows it"""
    goodputs, sums = uploads(8 * MEGABYTE, loss=loss, **path)
    assert goodputs[len(goodputs) // 2] > least_bps, goodputs
    assert sums["timeouts"] <= 2, sums
    expected = 5 * 8 * MEGABYTE / SEGMENT * loss
    assert sums["spurious_retransmits"] < expected / 20, sums


def test_loss_in_bursts_is_repaired_without_timeouts():
    """RFC 8985 3.1: loss of many segments at once"""
    goodputs, sums = uploads(8 * MEGABYTE, loss=Burst(begin=0.001, packets=8), **SHORT)
    assert goodputs[2] > 300e6, goodputs
    assert sums["timeouts"] <= 2, sums


@pytest.mark.parametrize("path", [SHORT, LONG], ids=["short", "long"])
def test_reordering_is_not_taken_for_loss(path):
    """RFC 8985 3.2: 5 % of the packets come 1 ms late; next to nothing is sent again for it"""
    straight, _ = uploads(8 * MEGABYTE, **path)
    goodputs, sums = uploads(8 * MEGABYTE, reorder=0.05, reorder_ns=MS, **path)
    assert sums["spurious_retransmits"] < 0.01 * sums["segments_out"], sums
    assert sums["timeouts"] == 0
    assert goodputs[2] > 0.8 * straight[2], (goodputs, straight)


@pytest.mark.parametrize("lost", [1, 2, 5, 20])
def test_a_lost_tail_is_repaired_without_a_timeout(lost):
    """RFC 8985 7.1: the last segments of a flight, whose loss nothing that follows could show"""
    with Network(1, capture=False) as network:
        load = Upload(network, 60 * SEGMENT, LONG)
        sent = (60 - lost) * SEGMENT
        load.run(until=lambda: load.count("payload_out") >= sent)
        load.link.forth.change(loss=1.0)
        network.run(for_ns=5 * MS)
        load.link.forth.change(loss=0.0)
        load.run()
        assert load.count("timeouts") == 0
        assert load.count("retransmits") >= 1


def test_a_path_that_becomes_slow_is_not_taken_for_loss():
    """RFC 5682, RFC 3522, RFC 4015: a timeout fires before the first late answer; nothing was lost"""
    with Network(1, capture=False) as network:
        load = Upload(network, 4 * MEGABYTE, LONG | {"queue_packets": 2000})
        load.run(until=lambda: load.count("payload_out") >= MEGABYTE)
        load.link.forth.change(delay_ns=400 * MS)
        load.run()
        assert load.count("timeouts") >= 1
        assert load.count("spurious_timeouts") == 1
        assert load.count("retransmits") < 10


@pytest.mark.parametrize("loss", [0.2, 0.4])
def test_even_under_heavy_loss_everything_ends(loss):
    """RFC 9293 3.8.3, RFC 6298 5.5: slow, but through"""
    with Network(3, capture=False) as network:
        load = Upload(network, 40_000, {"delay_ns": MS, "loss": loss})
        load.run()
        network.run(for_ns=1000 * SECOND)
        assert load.client.is_idle() and load.server.is_idle()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("control", ["cubic", "newreno"])
def test_the_window_stays_small_where_every_tenth_packet_is_lost(seed, control):
    """RFC 5681 3.1 (4): each loss reduces it, though recoveries follow one another. RFC 3522: none is taken
    back for the echo of what the recovery before sent again.
    """
    widest = 0
    with Network(seed, capture=False) as network:
        path = {"delay_ns": 20 * MS, "rate_bps": 20 * MBIT, "loss": 0.1}
        upload = Upload(network, 30 * MEGABYTE, path, control)
        network.run(for_ns=5 * SECOND)
        for _ in range(50):
            network.run(for_ns=300 * MS)
            widest = max(widest, upload.conn.info()["cwnd_bytes"])
        assert widest < 25 * SEGMENT
        assert upload.count("spurious_recoveries") == 0
