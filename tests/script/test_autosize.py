"""Buffers that grow with what a round trip carries, within the stack's limits (RFC 7323 1.1)."""

import itertools
import socket

import pytest

from underpass.testing.peer import ACK

SOCKET, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
MSS = 1460
SIZE = 1448                         # of the peer's segments, timestamps or not
KIB = 1024
RTT_MS = 50


def scaled(peer, **options):
    """An open connection to a peer that takes scaled windows."""
    options = {"mss": MSS, "window_scale": 8, "window": 65535} | options
    if peer.timestamp is not None:
        options["timestamps"] = (peer.timestamp, 0)
    return peer.open(rtt_ms=RTT_MS, **options)


def window(peer, scale):
    """The window that the latest segment offers."""
    return peer.drain()[-1].window << scale


def upload(wire, peer, conn, round_trips, read=True):
    """Fill the window that the stack offers, once a round trip; returns the windows."""
    scale = conn.info()["rcv_scale"]
    windows = [65535]
    for _ in range(round_trips):
        left = windows[-1]
        while left >= SIZE:
            peer.send(ACK, bytes(SIZE))
            left -= SIZE
            if read:
                conn.recv(SIZE)
        wire.run(ms=RTT_MS)
        if peer.timestamp is not None:
            peer.timestamp += RTT_MS
        windows.append(window(peer, scale) if left != windows[-1] else left)
    return windows


class TestReceiving:
    @pytest.mark.parametrize("timestamp", [None, 1000], ids=["bare", "timestamps"])
    def test_the_window_outgrows_what_fills_it(self, wire, peer, timestamp):
        """RFC 7323 4: the receiver's own round trip, by timestamps, or the sender's"""
        peer.timestamp = timestamp
        conn = scaled(peer)
        windows = upload(wire, peer, conn, 6)
        assert windows[-1] >= 4 * 65535
        assert all(later >= earlier for earlier, later in itertools.pairwise(windows[1:]))
        assert wire.count("rcv_grown") >= 3

    @pytest.mark.wire(rcv_bytes=400_000)
    def test_not_beyond_the_limit(self, wire, peer):
        conn = scaled(peer)
        assert max(upload(wire, peer, conn, 6)) <= 400_000
        assert conn.info()["rcv_buffer_bytes"] == 400_000

    def test_not_for_an_application_that_does_not_read(self, wire, peer):
        """RFC 9293 3.8.6: what waits takes of the window, and no more is offered for its sake"""
        conn = scaled(peer)
        windows = upload(wire, peer, conn, 4, read=False)
        assert windows[-1] < SIZE
        assert conn.info()["rcv_buffer_bytes"] == 128 * KIB

    def test_not_for_a_slow_stream(self, wire, peer):
        """RFC 7323 1.1: a request now and then needs no more than the first window"""
        conn = scaled(peer)
        for _ in range(300):
            peer.send(ACK, bytes(SIZE))
            conn.recv()
            wire.run(ms=RTT_MS)
        assert conn.info()["rcv_buffer_bytes"] == 128 * KIB
        assert wire.count("rcv_grown") == 0

    def test_not_where_the_application_chose(self, wire, peer):
        """socket(7): SO_RCVBUF ends the automatic sizing"""
        conn = scaled(peer)
        conn.setsockopt(SOCKET, socket.SO_RCVBUF, 100_000)
        upload(wire, peer, conn, 4)
        assert conn.info()["rcv_buffer_bytes"] == 100_000

    def test_not_beyond_the_clamp(self, wire, peer):
        """tcp(7): TCP_WINDOW_CLAMP"""
        conn = scaled(peer)
        conn.setsockopt(TCP, socket.TCP_WINDOW_CLAMP, 200_000)
        assert max(upload(wire, peer, conn, 6)) <= 200_000

    def test_a_smaller_buffer_takes_nothing_back(self, wire, peer):
        """RFC 9293 3.8.6 (SHLD-14): the right edge stays where it was"""
        conn = scaled(peer)
        scale = conn.info()["rcv_scale"]
        peer.send(ACK, bytes(SIZE))
        wire.run(ms=100)
        edge = 1 + SIZE + window(peer, scale)
        conn.setsockopt(SOCKET, socket.SO_RCVBUF, 2000)
        for _ in range(20):
            peer.send(ACK, bytes(SIZE))
            conn.recv()
        wire.run(ms=100)
        (*_, seg) = peer.drain()
        assert seg.ack + (seg.window << scale) >= edge

    @pytest.mark.wire(frames=512, rcv_bytes=1 << 24)
    def test_not_beyond_a_share_of_the_pool(self, wire, peer):
        """One connection may claim a quarter of what is free"""
        conn = scaled(peer)
        assert max(upload(wire, peer, conn, 6)) <= 512 * KIB // 4

    def test_the_scale_serves_the_largest_window(self, wire, peer):
        """RFC 7323 2.2: it is said once, before anything is known of the path"""
        conn = scaled(peer)
        assert 65535 << conn.info()["rcv_scale"] >= 4 << 20


def download(wire, peer, conn, round_trips):
    """Have the application give whatever is taken; returns frames in flight, by round trip."""

    def fill(*_):
        while True:
            try:
                conn.send(bytes(64 * KIB))
            except BlockingIOError:
                return

    wire.host.application = fill
    fill()
    wire.settle()
    flights = []
    for _ in range(round_trips):
        sent = [seg for seg in peer.drain() if seg.payload]
        flights.append(len(sent))
        wire.run(ms=RTT_MS)
        for seg in sent:
            peer.send(ACK, ack=seg.end)
    return flights


class TestSending:
    def test_the_queue_keeps_ahead_of_the_window(self, wire, peer):
        """RFC 5681 3.1: slow start doubles what is in flight; the application must have as much ready"""
        conn = scaled(peer)
        flights = download(wire, peer, conn, 7)
        assert conn.info()["snd_buffer_frames"] >= 2 * flights[-1] > 500
        assert wire.count("snd_grown") > 0

    @pytest.mark.wire(snd_frames=100)
    def test_not_beyond_the_limit(self, wire, peer):
        conn = scaled(peer)
        download(wire, peer, conn, 8)
        assert conn.info()["snd_buffer_frames"] == 100

    def test_not_where_the_application_chose(self, wire, peer):
        """socket(7): SO_SNDBUF ends the automatic sizing"""
        conn = scaled(peer)
        conn.setsockopt(SOCKET, socket.SO_SNDBUF, 64 * KIB)
        flights = download(wire, peer, conn, 8)
        assert conn.info()["snd_buffer_frames"] == 64
        assert max(flights) <= 2 * 64

    def test_a_first_response_is_taken_whole(self, wire, peer):
        assert scaled(peer).send(bytes(64 * KIB)) == 64 * KIB

    @pytest.mark.wire(frames=256)
    def test_no_queue_takes_more_than_half_of_what_is_free(self, wire):
        """The next connection finds room too"""
        conns = [scaled(wire.peer(port=port)) for port in (1000, 1001)]
        for conn in conns:
            conn.setsockopt(SOCKET, socket.SO_SNDBUF, 1 << 20)
        first = conns[0].send(bytes(1 << 20))
        assert first < 160 * MSS
        assert conns[1].send(bytes(1 << 20)) >= first // 4

    def test_writable_comes_once_a_quarter_is_free(self, wire, peer):
        conn = scaled(peer)
        conn.setsockopt(SOCKET, socket.SO_SNDBUF, 40 * KIB)
        events = []
        wire.host.application = lambda _, ready: events.append(ready)
        conn.send(bytes(1 << 20))
        wire.settle()
        sent = [seg for seg in peer.drain() if seg.payload]
        assert events == []
        peer.send(ACK, ack=sent[4].end)
        assert events == []
        peer.send(ACK, ack=sent[9].end)
        assert len(events) == 1


def test_what_waits_out_of_order_does_not_keep_the_hole_from_being_filled(wire, peer):
    """RFC 9293 3.8.6 (SHLD-14): what was offered is taken, though the buffer has become small meanwhile"""
    conn = scaled(peer)
    for at in range(30):
        peer.send(ACK, bytes(100), seq=1 + 200 * at + 100)
    conn.setsockopt(SOCKET, socket.SO_RCVBUF, 1)
    for at in range(30):
        peer.send(ACK, bytes(100), seq=1 + 200 * at)
        conn.recv()
    assert conn.info()["out_of_order_bytes"] == 0
    assert conn.info()["bytes_received"] == 6000
