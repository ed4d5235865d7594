"""Segments that leave as one packet, for a link that cuts it up (tcp/train.pxd): the wire sees the same."""

import pytest
from tests.sim.test_transfers import LOSSY, Exchange

from underpass.testing.capture import read_capture
from underpass.testing.checker import stream
from underpass.testing.clock import MS, SECOND, US
from underpass.testing.network import Network
from underpass.testing.packets import TcpSegment

FIN, PSH, ACK = 1, 8, 16


def transferred(segmentation, *, octets=400_000, v6=False, ecn=0, mtu=1500, frames=4096, tmp_path=None,
                **faults):  # fmt: skip
    """A transfer each way; the counters of the sender, those of its link, and the frames on the wire."""
    with Network(5, capture=tmp_path or False, segmentation=segmentation) as network:
        limits = {"ecn": ecn}
        client, server = network.pair(mtu=mtu, frames=frames, latency_ns=MS, limits=limits, **faults)
        exchange = Exchange(network, client, server)
        exchange.start(stream(1, octets), stream(2, 50_000), v6=v6)
        exchange.finish()
        counters = client.stack.stats()["tcp"], client.link.stats()
        if tmp_path is None:
            return *counters, []
        network.check_conduct()
    (capture,) = tmp_path.glob("*cable*")
    return *counters, [it.frame for it in read_capture(capture) if it.is_sent]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("ecn", [0, 1])
def test_what_is_cut_up_is_what_would_have_been_sent(tmp_path, v6, ecn):
    """Octet by octet, but for the IPv4 ID, which a device counts up (RFC 6864 4.1: DF is set)."""
    whole, single = tmp_path / "whole", tmp_path / "single"
    whole.mkdir()
    single.mkdir()
    tcp, link, cut = transferred(True, v6=v6, ecn=ecn, tmp_path=whole)
    _, _, alone = transferred(False, v6=v6, ecn=ecn, tmp_path=single)
    assert tcp["trains"] == link["tx_segmented"] > 10
    assert link["tx_failed"] == 0
    assert [TcpSegment.parse(it) for it in cut] == [TcpSegment.parse(it) for it in alone]
    assert [without_id(it) for it in cut] == [without_id(it) for it in alone]


def without_id(frame):
    """An IPv4 packet without ID and header checksum."""
    return frame if frame[12:14] != b"\x08\x00" else frame[:18] + frame[20:24] + frame[26:]


@pytest.mark.parametrize("faults", [LOSSY, {"drop": 0.1}, {"corrupt": 0.05}, {"jitter_ns": 5 * MS}])
@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_every_octet_arrives(faults, mtu):
    tcp, link, _ = transferred(True, mtu=mtu, **faults)
    assert link["tx_segmented"] > 0
    assert tcp["trains"] == link["tx_segmented"]


def test_push_and_fin_stay_with_the_last_segment(tmp_path):
    _, _, frames = transferred(True, octets=100_000, tmp_path=tmp_path)
    segments = [TcpSegment.parse(it) for it in frames]
    data = [it for it in segments if it.payload]
    assert data[-1].flags & PSH
    assert all(it.flags == ACK for it in data if len(it.payload) == 1448 and it is not data[-1])
    assert sum(bool(it.flags & FIN) for it in segments) == 1


@pytest.mark.parametrize("frames", [64, 80, 256])
def test_a_train_does_not_wrap_around_the_queue(frames):
    """The queue has as many places as the pool has frames: with few of them it wraps all the time."""
    tcp, _, _ = transferred(True, frames=frames, drop=0.01)
    assert tcp["trains"] > 0


def test_small_writes_make_no_train():
    with Network(1, segmentation=True) as network:
        client, server = network.pair(latency_ns=10 * US)
        server.stack.listen(("0.0.0.0", 80))
        conn = client.stack.connect((server.station.v4, 80))
        network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
        for _ in range(20):
            conn.send(bytes(100))
            network.run(for_ns=MS)
        assert client.stack.stats()["tcp"]["trains"] == 0
