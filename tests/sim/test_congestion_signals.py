"""Congestion marks, pacing and idleness from end to end, on links with rate, delay and queue."""

import pytest

from underpass.testing import MBIT, MS, SECOND, Network, Transfer, stream

OCTETS = 3_000_000


def carry(network, *, octets=OCTETS, limits=None, pace=None, **conditions):
    """Send octets over one link; returns client, server, link, and the milliseconds it took."""
    limits = limits or {}
    client, server = network.host(**limits), network.host(**limits)
    link = network.link(client, server, **conditions)
    data = stream(1, octets)
    sender, receiver = Transfer(data, b""), Transfer(b"", data)
    server.stack.listen((server.station.v4, 80))
    server.application = receiver.on_ready
    client.application = sender.on_ready
    sender.conn = client.stack.connect((server.station.v4, 80))
    if pace:
        sender.conn.setsockopt(1, 47, pace)  # SO_MAX_PACING_RATE
    start = network.clock.elapsed_ms
    assert network.run(until=lambda: sender.done and receiver.done, for_ns=600 * SECOND)
    assert sender.errors == receiver.errors == []
    return client, server, link, network.clock.elapsed_ms - start


def tcp(host):
    return host.stack.stats()["tcp"]


@pytest.mark.parametrize("congestion", ["cubic", "reno", "dctcp"])
def test_where_the_queue_marks_nothing_is_lost(congestion):
    """RFC 3168 1: congestion is told of without a retransmission"""
    with Network(3) as network:
        client, _, _, took = carry(
            network, limits={"ecn": 1, "congestion": congestion}, rate_bps=20 * MBIT, delay_ns=5 * MS,
            queue_packets=200, mark_packets=20,
        )  # fmt: skip
        assert tcp(client)["ecn_reductions"] > 0
        assert tcp(client)["retransmits"] == 0
        assert took < 1.25 * OCTETS * 8 / 20_000


def test_dctcp_keeps_a_short_queue_and_the_link_busy():
    """RFC 8257 1: marks at a few packets are enough for it"""
    with Network(4) as network:
        client, _, _, took = carry(
            network, limits={"congestion": "dctcp"}, rate_bps=100 * MBIT, delay_ns=MS,
            queue_packets=100, mark_packets=20,
        )  # fmt: skip
        assert took < 1.15 * OCTETS * 8 / 100_000
        assert tcp(client)["retransmits"] == 0


@pytest.mark.parametrize("rate", [200_000, 1_000_000])
def test_a_paced_transfer_takes_what_its_rate_says(rate):
    with Network(5) as network:
        client, _, _, took = carry(network, octets=500_000, pace=rate, rate_bps=100 * MBIT, delay_ns=10 * MS)
        assert took == pytest.approx(500_000_000 / rate, rel=0.1, abs=100)
        assert tcp(client)["retransmits"] == 0


def test_hystart_leaves_slow_start_before_the_queue_overflows():
    """RFC 9406 1: with a queue of a few bandwidth-delay products"""
    with Network(6) as network:
        path = {"rate_bps": 20 * MBIT, "delay_ns": 20 * MS, "queue_packets": 1000}
        client, *_ = carry(network, octets=6_000_000, **path)
        assert tcp(client)["hystart_exits"] == 1
        assert tcp(client)["retransmits"] == 0


@pytest.mark.parametrize("queue_bdps", [0.5, 1, 2])
@pytest.mark.parametrize("congestion", ["cubic", "reno"])
def test_the_first_slow_start_does_not_overflow_the_queue(congestion, queue_bdps):
    """RFC 9406 1: where delay alone ended it, a queue of one BDP would lose a window of segments"""
    limits = {"congestion": congestion, "frames": 16384, "snd_frames": 4096, "rcv_bytes": 1 << 22}
    with Network(5, capture=False) as network:
        client, _, link, took = carry(
            network, octets=8_000_000, limits=limits, rate_bps=100 * MBIT, delay_ns=20 * MS,
            queue_bytes=round(queue_bdps * 500_000),
        )  # fmt: skip
        assert tcp(client)["hystart_exits"] == 1
        assert link.forth.stats()["dropped"] == 0
        assert took < 8_000_000 * 8 / 100_000 + 450
