"""DCTCP (RFC 8257): each ACK says of the segments that it covers whether they came marked."""

import pytest

from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, PSH, SYN

ECE, CWR = Flags.ECE, Flags.CWR
ECT_0, CE = 2, 3
MSS = 1000

pytestmark = pytest.mark.wire(congestion="dctcp", delayed_ack_us=40000)


def opened(peer):
    peer.send(SYN | ECE | CWR, mss=MSS)
    peer.expect(SYN | ACK | ECE)
    peer.send(ACK)
    return peer.wire.accepted()[-1]


def after_quick_acks(peer):
    """The connection past the time in which each segment is acknowledged at once."""
    conn = opened(peer)
    for _ in range(20):
        peer.send(ACK | PSH, b"x", traffic_class=ECT_0)
    peer.wire.run(ms=100)
    peer.drain()
    return conn


def test_the_control_is_the_stacks(peer):
    assert opened(peer).info()["congestion"] == "dctcp"


def test_it_asks_for_ecn_whatever_the_policy(wire):
    """RFC 8257 3: it cannot do without"""
    peer = wire.peer(port=80, to_port=50000)
    wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN | ECE | CWR)


def test_the_echo_ends_with_the_marks(peer):
    """RFC 8257 3.2: no waiting for CWR"""
    opened(peer)
    for traffic_class, flags in ((ECT_0, ACK), (CE, ACK | ECE), (CE, ACK | ECE), (ECT_0, ACK)):
        peer.send(ACK | PSH, b"x", traffic_class=traffic_class)
        peer.wire.run(ms=100)
        assert peer.drain()[-1].flags == flags


def test_a_change_acknowledges_at_once_what_came_before(peer):
    """RFC 8257 3.2: with the mark that it had, although its acknowledgment could wait"""
    after_quick_acks(peer)
    peer.send(ACK | PSH, b"one", traffic_class=ECT_0)
    peer.expect_nothing()
    before = peer.snd_nxt
    peer.send(ACK | PSH, b"two", traffic_class=CE)
    peer.expect(ACK, ack=before)
    peer.expect_nothing(for_ms=30)
    peer.expect(ACK | ECE, ack=before + 3)


def test_the_end_of_marks_acknowledges_at_once_too(peer):
    """RFC 8257 3.2"""
    after_quick_acks(peer)
    peer.send(ACK | PSH, b"one", traffic_class=CE)
    peer.expect_nothing()
    before = peer.snd_nxt
    peer.send(ACK | PSH, b"two", traffic_class=ECT_0)
    peer.expect(ACK | ECE, ack=before)
    peer.expect(ACK, ack=before + 3)


def test_the_first_mark_halves_the_window(wire, peer):
    """RFC 8257 3.3: alpha begins with 1"""
    conn = opened(peer)
    conn.send(bytes(100 * MSS))
    wire.settle()
    before = conn.info()["cwnd_bytes"]
    peer.send(ACK | ECE, ack=1 + 2 * MSS)
    assert conn.info()["cwnd_bytes"] == pytest.approx(before / 2, abs=2 * MSS)


def test_without_ecn_it_is_newreno(wire, peer):
    """RFC 8257 3.6: the peer did not agree; a loss halves the window"""
    conn = peer.open(mss=MSS)
    conn.send(bytes(100 * MSS))
    wire.settle()
    assert {seg.traffic_class for seg in peer.drain()} == {0}
    for _ in range(3):
        peer.send(ACK, ack=1)
    assert conn.info()["ssthresh_bytes"] in (5 * MSS, 6 * MSS)  # limited transmit adds two segments
