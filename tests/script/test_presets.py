"""Options that hold from the handshake on: set on a listener, or with connect()."""

import socket

import pytest

from underpass.stack.stack import ACCEPTED
from underpass.testing.peer import ACK, FIN, RST, SYN, Wire

SOCKET, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
PORT = 81


def listener(wire, *options):
    it = wire.stack.listen(("0.0.0.0", PORT))
    for level, option, value in options:
        it.setsockopt(level, option, value)
    return it


def peer_of(wire, port=40000):
    return wire.peer(port=port, to_port=PORT)


def connecting(wire, *options):
    """A peer on port 7 to which the stack connects with these options, and the connection."""
    peer = wire.peer(port=7, to_port=5000)
    return peer, wire.stack.connect((peer.base.src, 7), (peer.base.dst, 5000), options)


KEPT = [
    (TCP, socket.TCP_NODELAY, 1),
    (TCP, socket.TCP_CORK, 1),
    (TCP, socket.TCP_KEEPIDLE, 77),
    (TCP, socket.TCP_KEEPINTVL, 7),
    (TCP, socket.TCP_KEEPCNT, 3),
    (TCP, socket.TCP_USER_TIMEOUT, 12_345),
    (TCP, socket.TCP_LINGER2, 33),
    (TCP, socket.TCP_NOTSENT_LOWAT, 9_999),
    (TCP, socket.TCP_WINDOW_CLAMP, 20_000),
    (SOCKET, socket.SO_KEEPALIVE, 1),
    (SOCKET, 47, 1_000_000),            # SO_MAX_PACING_RATE
]


class TestListener:
    @pytest.mark.parametrize(("level", "option", "value"), KEPT)
    def test_what_it_accepts_begins_with_its_options(self, wire, level, option, value):
        it = listener(wire, (level, option, value))
        assert it.getsockopt(level, option) == value
        assert peer_of(wire).open().getsockopt(level, option) == value

    @pytest.mark.parametrize("half_open", [0, 16], ids=["by cookie", "by SYN"])
    def test_however_the_handshake_went(self, half_open):
        """RFC 4987 3.6: a connection that a cookie brought back is like any other"""
        with Wire(half_open=half_open) as wire:
            listener(wire, (TCP, socket.TCP_NODELAY, 1), (TCP, socket.TCP_MAXSEG, 700))
            peer = peer_of(wire)
            peer.send(SYN, mss=1460)
            peer.expect(SYN | ACK, mss=700)
            peer.send(ACK)
            (conn,) = wire.accepted()
            assert conn.getsockopt(TCP, socket.TCP_NODELAY) == 1
            assert conn.info()["mss"] <= 700

    def test_what_is_open_already_keeps_its_own(self, wire):
        it = listener(wire)
        conn = peer_of(wire).open()
        it.setsockopt(TCP, socket.TCP_NODELAY, 1)
        assert conn.getsockopt(TCP, socket.TCP_NODELAY) == 0
        assert peer_of(wire, port=40001).open().getsockopt(TCP, socket.TCP_NODELAY) == 1

    def test_a_connections_options_are_its_own(self, wire):
        it = listener(wire)
        peer_of(wire).open().setsockopt(TCP, socket.TCP_NODELAY, 1)
        assert it.getsockopt(TCP, socket.TCP_NODELAY) == 0

    def test_a_listener_that_was_closed_is_bad(self, wire):
        it = listener(wire)
        it.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            it.setsockopt(TCP, socket.TCP_NODELAY, 1)

    def test_its_port_may_be_listened_on_again_with_the_defaults(self, wire):
        listener(wire, (TCP, socket.TCP_NODELAY, 1)).close()
        listener(wire)
        assert peer_of(wire).open().getsockopt(TCP, socket.TCP_NODELAY) == 0


class TestSegmentSize:
    """RFC 9293 3.7.1: the MSS option says what one side takes; TCP_MAXSEG lowers that, and what is sent."""

    def test_of_a_listener(self, wire):
        listener(wire, (TCP, socket.TCP_MAXSEG, 800))
        peer = peer_of(wire)
        peer.send(SYN, mss=1460)
        peer.expect(SYN | ACK, mss=800)
        peer.send(ACK)
        (conn,) = wire.accepted()
        conn.send(bytes(2000))
        wire.settle()
        assert [len(seg.payload) for seg in peer.drain()] == [800, 800]

    def test_of_an_active_open(self, wire):
        peer, conn = connecting(wire, (TCP, socket.TCP_MAXSEG, 900))
        peer.expect(SYN, mss=900)
        peer.send(SYN | ACK, mss=1460)
        peer.expect(ACK)
        assert conn.getsockopt(TCP, socket.TCP_MAXSEG) == 900

    def test_it_only_lowers(self, wire):
        """RFC 6691: no more than a packet of the path takes"""
        peer, conn = connecting(wire, (TCP, socket.TCP_MAXSEG, 9000))
        peer.expect(SYN, mss=1460)
        peer.send(SYN | ACK, mss=1200)
        assert conn.getsockopt(TCP, socket.TCP_MAXSEG) == 1200


class TestWindow:
    """RFC 9293 3.8.6: a receiver offers what it has room for."""

    def test_a_buffer_bounds_the_first_window(self, wire):
        peer, _ = connecting(wire, (SOCKET, socket.SO_RCVBUF, 4000))
        peer.expect(SYN, window=4000)

    def test_a_clamp_bounds_it(self, wire):
        listener(wire, (TCP, socket.TCP_WINDOW_CLAMP, 3000))
        peer = peer_of(wire)
        peer.send(SYN, mss=1000)
        peer.expect(SYN | ACK, window=3000)
        peer.send(ACK)
        (conn,) = wire.accepted()
        for _ in range(200):
            peer.send(ACK, bytes(1000))
            conn.recv()
        assert all(seg.window <= 3000 for seg in peer.drain())

    def test_a_cookie_promises_no_more_than_the_listener_has(self):
        """RFC 9293 3.8.6 (SHLD-14): what was offered is not taken back"""
        with Wire(half_open=0) as wire:
            listener(wire, (SOCKET, socket.SO_RCVBUF, 4000))
            peer = peer_of(wire)
            peer.send(SYN, mss=1460)
            peer.expect(SYN | ACK, window=4000)


class TestSynCount:
    """RFC 9293 3.8.3: R2 of a SYN may be set by the application (MAY-1 is of data; Linux has TCP_SYNCNT)."""

    def test_of_an_active_open(self, wire):
        peer, conn = connecting(wire, (TCP, socket.TCP_SYNCNT, 2))
        wire.run(ms=60_000)
        assert len(peer.drain()) == 3
        with pytest.raises(TimeoutError):
            conn.recv()

    def test_of_a_listener(self, wire):
        listener(wire, (TCP, socket.TCP_SYNCNT, 1))
        peer = peer_of(wire)
        peer.send(SYN, mss=1460)
        wire.run(ms=60_000)
        assert len(peer.drain()) == 2


class TestDeferAccept:
    """TCP_DEFER_ACCEPT: the application is told of a connection once there is something to read."""

    @staticmethod
    def open(wire, seconds=3):
        listener(wire, (TCP, socket.TCP_DEFER_ACCEPT, seconds))
        peer = peer_of(wire)
        peer.send(SYN, mss=1460)
        peer.expect(SYN | ACK)
        peer.send(ACK)
        return peer

    def test_accepted_with_the_first_data(self, wire):
        peer = self.open(wire)
        wire.run(ms=500)
        assert wire.accepted() == []
        assert wire.count("deferred_accepts") == 1
        peer.send(ACK, b"request")
        (conn,) = wire.accepted()
        assert conn.recv() == b"request"

    def test_data_with_the_last_ack_of_the_handshake(self, wire):
        listener(wire, (TCP, socket.TCP_DEFER_ACCEPT, 3))
        peer = peer_of(wire)
        peer.send(SYN, mss=1460)
        peer.expect(SYN | ACK)
        peer.send(ACK, b"request")
        (conn,) = wire.accepted()
        assert conn.recv() == b"request"
        assert wire.count("deferred_accepts") == 0

    def test_accepted_when_the_time_is_over(self, wire):
        self.open(wire)
        wire.run(ms=2_900)
        assert wire.accepted() == []
        wire.run(ms=200)
        assert len(wire.accepted()) == 1

    def test_accepted_when_the_peer_sends_no_more(self, wire):
        peer = self.open(wire)
        peer.send(ACK | FIN)
        (conn,) = wire.accepted()
        assert conn.recv() == b""

    def test_a_reset_meanwhile_is_not_told(self, wire):
        peer = self.open(wire)
        peer.send(RST)
        wire.run(ms=10_000)
        assert wire.accepted() == []
        assert wire.stack.stats()["tcp"]["connections"] == 0

    def test_it_counts_as_half_open(self, wire):
        """RFC 4987 3: whoever sends nothing fills the backlog, and nobody's memory beyond it"""
        self.open(wire)
        assert wire.stack.stats()["tcp"]["half_open"] == 1
        wire.run(ms=10_000)
        assert wire.stack.stats()["tcp"]["half_open"] == 0

    def test_keepalive_begins_when_it_is_accepted(self, wire):
        it = wire.stack.listen(("0.0.0.0", PORT))
        for option, value in ((socket.TCP_DEFER_ACCEPT, 3), (socket.TCP_KEEPIDLE, 1)):
            it.setsockopt(TCP, option, value)
        it.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
        peer = peer_of(wire)
        peer.send(SYN, mss=1460)
        peer.expect(SYN | ACK)
        peer.send(ACK)
        peer.expect_nothing(for_ms=2_900)
        peer.send(ACK, b"x")
        wire.run(ms=100)
        peer.drain()
        peer.expect(ACK, seq=0, within_ms=1_100)


class TestConnect:
    @pytest.mark.parametrize(("level", "option", "value"), KEPT)
    def test_options_hold_from_the_start(self, wire, level, option, value):
        peer, conn = connecting(wire, (level, option, value))
        assert conn.getsockopt(level, option) == value
        peer.answer()
        assert conn.getsockopt(level, option) == value

    def test_a_wrong_one_opens_nothing(self, wire):
        with pytest.raises(OSError, match="Invalid argument"):
            connecting(wire, (TCP, socket.TCP_KEEPCNT, 0))
        assert wire.stack.stats()["tcp"]["connections"] == 0

    def test_the_congestion_control(self, wire):
        peer, conn = connecting(wire, (TCP, socket.TCP_CONGESTION, "reno"))
        peer.answer()
        assert conn.info()["congestion"] == "reno"

    def test_deferring_accepts_means_nothing_here(self, wire):
        peer, conn = connecting(wire, (TCP, socket.TCP_DEFER_ACCEPT, 3))
        peer.answer()
        conn.send(b"x")
        peer.expect(ACK, payload=b"x")


def test_the_event_of_a_deferred_accept_comes_once(wire):
    listener(wire, (TCP, socket.TCP_DEFER_ACCEPT, 1))
    events = []
    wire.host.application = lambda conn, ready: events.append(ready)
    peer = peer_of(wire)
    peer.send(SYN, mss=1460)
    peer.send(ACK)
    peer.send(ACK, b"a")
    wire.run(ms=5_000)
    assert sum(bool(ready & ACCEPTED) for ready in events) == 1
