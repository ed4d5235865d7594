"""Windows after idleness and little use (RFC 5681 4.1, RFC 7661)."""

import socket

import pytest

from underpass.testing.peer import ACK

MSS = 1000
INITIAL = 10 * MSS
MINUTE_MS = 60_000


def widened(peer):
    """An open connection whose window has grown to some 40 segments."""
    conn = peer.open(mss=MSS, window=65535)
    conn.send(bytes(70 * MSS))
    answer(peer)
    assert conn.info()["cwnd_bytes"] >= 3 * INITIAL
    return conn


def answer(peer):
    """Acknowledge all that comes, until nothing comes."""
    while True:
        peer.wire.settle()
        segments = [seg for seg in peer.drain() if seg.payload]
        if not segments:
            return
        peer.wire.run(ms=20)
        for seg in segments:
            peer.send(ACK, ack=seg.end)


def burst(peer, conn, segments=30):
    """How many segments leave at once."""
    conn.send(bytes(segments * MSS))
    peer.wire.settle()
    return len([seg for seg in peer.drain() if seg.payload])


def test_after_idleness_the_window_is_the_initial_one(wire, peer):
    """RFC 5681 4.1: RW = min(IW, cwnd)"""
    conn = widened(peer)
    wire.run(ms=1000)
    assert burst(peer, conn) == 10
    assert wire.count("idle_restarts") == 1


def test_a_shorter_pause_is_no_idleness(wire, peer):
    """RFC 5681 4.1: more than a retransmission timeout"""
    conn = widened(peer)
    wire.run(ms=100)
    assert burst(peer, conn) == 30
    assert wire.count("idle_restarts") == 0


def test_slow_start_knows_how_far_it_may_go(wire, peer):
    """RFC 7661 4.4.3: ssthresh is at least three quarters of what the window was"""
    conn = widened(peer)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    for _ in range(3):
        conn.send(bytes(30 * MSS))
        wire.settle()
        una = conn.info()["bytes_acked"]
        peer.drain()
        for _ in range(4):
            peer.send(ACK, ack=1 + una)
        peer.send(ACK, ack=1 + una + 30 * MSS)
        answer(peer)
        break
    before = conn.info()
    wire.run(ms=5000)
    burst(peer, conn)
    assert conn.info()["ssthresh_bytes"] >= max(before["ssthresh_bytes"], before["cwnd_bytes"] * 3 // 4)


def test_what_the_peer_sends_is_no_sign_of_use(wire, peer):
    """RFC 5681 4.1: idleness is measured from what was last sent, not from what came"""
    conn = widened(peer)
    wire.run(ms=1000)
    peer.send(ACK, b"request")
    peer.drain()
    conn.recv()
    assert burst(peer, conn) == 10


def test_a_window_under_the_initial_one_stays(wire, peer):
    """RFC 5681 4.1: the smaller of both"""
    conn = peer.open(mss=MSS)
    conn.send(b"x")
    wire.run(ms=5000)
    peer.drain()
    peer.send(ACK, ack=2)
    narrow = conn.info()["cwnd_bytes"]
    assert narrow < INITIAL
    wire.run(ms=60_000)
    conn.send(bytes(30 * MSS))
    wire.settle()
    assert conn.info()["cwnd_bytes"] == narrow
    assert wire.count("idle_restarts") == 0


@pytest.mark.wire(idle_restart=0)
def test_restarts_switched_off(wire, peer):
    """As Linux' tcp_slow_start_after_idle 0; RFC 7661 4.3 keeps the window for five minutes"""
    conn = widened(peer)
    wire.run(ms=4 * MINUTE_MS)
    assert burst(peer, conn) == 30


@pytest.mark.wire(idle_restart=0)
def test_after_five_minutes_the_window_halves(wire, peer):
    """RFC 7661 4.4.3"""
    conn = widened(peer)
    before = conn.info()["cwnd_bytes"]
    wire.run(ms=6 * MINUTE_MS)
    conn.send(b"x")
    wire.settle()
    assert conn.info()["cwnd_bytes"] == max(before // 2, INITIAL)
    assert wire.count("window_validations") == 1


def use_little(wire, peer, conn, minutes):
    """One segment every 50 ms, each acknowledged after 20 ms."""
    for _ in range(minutes * 60 * 20):
        conn.send(b"little")
        wire.settle()
        end = [seg.end for seg in peer.drain() if seg.payload][-1]
        wire.run(ms=20)
        peer.send(ACK, ack=end)
        wire.run(ms=30)


def test_a_window_of_which_little_is_used_does_not_grow_but_stays(wire, peer):
    """RFC 7661 4.3, 4.4.1: for five minutes"""
    conn = widened(peer)
    before = conn.info()["cwnd_bytes"]
    use_little(wire, peer, conn, minutes=1)
    assert conn.info()["cwnd_bytes"] == before


def test_a_window_of_which_little_is_used_for_long_halves(wire, peer):
    """RFC 7661 4.4.3: after five minutes, and not under the initial window"""
    conn = widened(peer)
    before = conn.info()["cwnd_bytes"]
    use_little(wire, peer, conn, minutes=6)
    assert conn.info()["cwnd_bytes"] == max(before // 2, INITIAL)
    assert wire.count("window_validations") == 1
