"""Pacing (SO_MAX_PACING_RATE): what leaves, leaves at that rate, a quantum at a time."""

import itertools
import socket

import pytest

from underpass.testing.peer import ACK

MSS = 1000
SO_MAX_PACING_RATE = 47
UNLIMITED = 2**64 - 1


def opened(peer, rate=None):
    conn = peer.open(mss=MSS, window=60_000)
    if rate is not None:
        conn.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
    return conn


def arrivals(peer, for_ms):
    """Milliseconds since now of each data segment that comes, all acknowledged at once."""
    start, times = peer.wire.now_ns, []
    while peer.wire.now_ns < start + for_ms * 1_000_000:
        for seg in peer.drain():
            if seg.payload:
                times.append((peer.wire.now_ns - start) / 1e6)
                peer.send(ACK, ack=seg.end)
        peer.wire.run(ms=0.25)
    return times


@pytest.mark.wire(snd_initial_frames=4096)
@pytest.mark.parametrize("rate", [50_000, 1_000_000, 5_000_000])
def test_the_rate_is_kept(wire, peer, rate):
    """Octets of payload a second, over any longer time, whatever the wheel's granularity"""
    conn = opened(peer, rate)
    conn.send(bytes(1_000_000))
    times = arrivals(peer, for_ms=150)
    assert len(times) * MSS == pytest.approx(rate * 0.15, rel=0.1, abs=4 * MSS)
    assert wire.count("pace_waits") > 0


def test_a_quantum_is_no_more_than_the_wheel_needs(peer):
    """A tick of 1.05 ms, and two that may have been missed"""
    conn = opened(peer, 1_000_000)
    conn.send(bytes(200_000))
    times = arrivals(peer, for_ms=100)
    assert max(times.count(at) for at in set(times)) <= 5


def test_a_slow_rate_sends_a_segment_at_a_time(peer):
    conn = opened(peer, 10_000)
    conn.send(bytes(20 * MSS))
    times = arrivals(peer, for_ms=1000)[1:]
    gaps = [late - early for early, late in itertools.pairwise(times)]
    assert all(95 <= gap <= 105 for gap in gaps)


def test_what_is_sent_again_is_paced_too(peer):
    conn = opened(peer, 20_000)
    conn.send(bytes(5 * MSS))
    peer.wire.run(ms=5000)
    sent = [seg for seg in peer.drain() if seg.payload]
    assert 3 <= len(sent) <= 5 * 20 + 3


def test_idle_time_is_not_saved_up(peer):
    """After a pause no more leaves at once than after none"""
    conn = opened(peer, 1_000_000)
    peer.wire.run(ms=10_000)
    conn.send(bytes(50 * MSS))
    peer.wire.settle()
    assert len(peer.drain()) <= 5


def test_the_limit_can_be_taken_away(peer):
    conn = opened(peer, 10_000)
    assert conn.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == 10_000
    assert conn.info()["pacing_rate_bps"] == 80_000
    conn.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, UNLIMITED)
    assert conn.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == UNLIMITED
    conn.send(bytes(10 * MSS))
    peer.wire.settle()
    assert len(peer.drain()) == 10


def test_by_default_nothing_is_paced(wire, peer):
    conn = opened(peer)
    assert conn.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == UNLIMITED
    conn.send(bytes(10 * MSS))
    wire.settle()
    assert len(peer.drain()) == 10
    assert wire.count("pace_waits") == 0


def test_waiting_for_the_rate_is_not_a_closed_window(wire, peer):
    """RFC 9293 3.8.6.1: no window probes"""
    conn = opened(peer, 1000)
    conn.send(bytes(3 * MSS))
    arrivals(peer, for_ms=5000)
    assert wire.count("window_probes") == 0
    assert wire.count("timeouts") == 0


def test_a_change_of_the_control_keeps_the_limit(peer):
    conn = opened(peer, 1_000_000)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    assert conn.info()["pacing_rate_bps"] == 8_000_000


def test_a_close_sends_the_rest_at_the_rate(wire, peer):
    conn = opened(peer, 100_000)
    conn.send(bytes(20 * MSS))
    conn.close()
    wire.run(ms=20)
    assert 2 <= len([seg for seg in peer.drain() if seg.payload]) <= 5
