"""How long to wait for an answer (RFC 9293 3.9.1.1, RFC 5482): TCP_USER_TIMEOUT, and keepalive under it."""

import socket

import pytest

from underpass.testing.peer import ACK, RST, SYN

SOCKET, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
TIMEOUT_MS = 3000


def opened(peer, timeout_ms=TIMEOUT_MS, **options):
    conn = peer.open(rtt_ms=20)
    conn.setsockopt(TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    for name, value in options.items():
        conn.setsockopt(TCP, getattr(socket, name), value)
    return conn


def lived_ms(wire, conn, answer=lambda: None, longest_ms=120_000):
    """How long it is until the connection is closed."""
    start_ns = wire.now_ns
    while not wire.host.was_closed(conn):
        wire.run(ms=10)
        answer()
        if wire.now_ns - start_ns > longest_ms * 1e6:
            return None
    return (wire.now_ns - start_ns) / 1e6


def test_it_counts_from_the_first_transmission(wire, peer):
    """RFC 5482 3: not from the first timeout; and it ends on time, not with the next retransmission"""
    conn = opened(peer)
    conn.send(b"lost")
    assert lived_ms(wire, conn) == pytest.approx(TIMEOUT_MS, abs=30)
    with pytest.raises(TimeoutError):
        conn.recv()


def test_a_reset_tells_the_peer(wire, peer):
    """RFC 9293 3.10.8: "aborted due to user timeout" """
    conn = opened(peer)
    conn.send(b"lost")
    wire.run(ms=TIMEOUT_MS + 50)
    assert RST in peer.drain()[-1].flags


def test_progress_begins_it_anew(wire, peer):
    """RFC 5482 3: it bounds the time without an acknowledgment"""
    conn = opened(peer)
    conn.send(b"12345")
    wire.settle()
    for octet in range(1, 5):
        wire.run(ms=TIMEOUT_MS - 500)
        peer.send(ACK, ack=1 + octet)
    assert not wire.host.was_closed(conn)
    assert lived_ms(wire, conn) is not None


def test_longer_than_the_retries_it_extends(wire, peer):
    """RFC 5482 3: a long one keeps a connection through a long disruption"""
    conn = opened(peer, timeout_ms=7_200_000)
    conn.send(b"x")
    wire.run(ms=900_000)
    peer.drain()
    assert not wire.host.was_closed(conn)


def test_a_window_that_stays_closed_counts(wire, peer):
    """As on Linux: answers to probes are no progress of the data"""
    conn = opened(peer, timeout_ms=10_000)
    peer.send(ACK, window=0)
    conn.send(b"stuck")

    def answer():
        for seg in peer.drain():
            if RST not in seg.flags:
                peer.send(ACK, window=0)

    assert lived_ms(wire, conn, answer) == pytest.approx(10_000, abs=1000)


def test_an_idle_connection_has_no_end(wire, peer):
    """RFC 9293 3.9.1.1: it bounds what waits for an acknowledgment"""
    conn = opened(peer)
    wire.run(ms=600_000)
    assert not wire.host.was_closed(conn)


def test_of_a_connection_that_is_being_opened(wire):
    """RFC 9293 3.9.1.1: of OPEN"""
    peer = wire.peer(port=7, to_port=5000)
    options = [(TCP, socket.TCP_USER_TIMEOUT, 5000)]
    conn = wire.stack.connect((peer.base.src, 7), (peer.base.dst, 5000), options)
    peer.expect(SYN)
    assert 5000 <= lived_ms(wire, conn) <= 8000


def test_keepalive_ends_by_it_instead_of_by_the_count(wire, peer):
    """RFC 5482 3, tcp(7): TCP_USER_TIMEOUT overrides keepalive's own end"""
    conn = opened(peer, 30_000, TCP_KEEPIDLE=10, TCP_KEEPINTVL=5, TCP_KEEPCNT=2)
    conn.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
    assert lived_ms(wire, conn) == pytest.approx(30_000, abs=100)
    probes = [seg for seg in peer.drain() if RST not in seg.flags]
    assert len(probes) == 4


def test_no_keepalive_while_data_wait_for_an_acknowledgment(wire, peer):
    """RFC 9293 3.8.4 (MUST-26): only where nothing is outstanding"""
    conn = opened(peer, 0, TCP_KEEPIDLE=1, TCP_KEEPINTVL=1, TCP_KEEPCNT=1)
    conn.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
    conn.send(b"data")
    wire.run(ms=20_000)
    assert all(seg.payload for seg in peer.drain())
    assert wire.count("keepalives") == 0
    assert not wire.host.was_closed(conn)
