"""Holding segments back, and acknowledgments (TCP_CORK, TCP_NODELAY, TCP_QUICKACK, TCP_NOTSENT_LOWAT)."""

import socket

import pytest

from underpass.testing.peer import ACK, FIN

MSS = 1000
TCP = socket.IPPROTO_TCP


def opened(peer, **options):
    """An open connection with an MSS of 1,000 octets and these options."""
    conn = peer.open(mss=MSS)
    for name, value in options.items():
        conn.setsockopt(TCP, getattr(socket, name), value)
    return conn


def lengths(peer):
    """Payloads of the segments that have come."""
    return [len(seg.payload) for seg in peer.drain() if seg.payload]


class TestCork:
    """RFC 9293 3.8.6.2.1: partial segments wait for an override timeout; TCP_CORK asks for that."""

    def test_only_full_segments_leave(self, wire, peer):
        conn = opened(peer, TCP_CORK=1)
        conn.send(bytes(MSS // 2))
        wire.run(ms=100)
        assert lengths(peer) == []
        conn.send(bytes(2 * MSS))
        wire.settle()
        assert lengths(peer) == [MSS, MSS]

    def test_taking_it_out_sends_what_was_held(self, wire, peer):
        conn = opened(peer, TCP_CORK=1)
        conn.send(b"header")
        wire.settle()
        conn.send(b"body")
        conn.setsockopt(TCP, socket.TCP_CORK, 0)
        wire.settle()
        peer.expect(ACK, payload=b"headerbody")

    def test_after_200_ms_it_leaves_all_the_same(self, wire, peer):
        conn = opened(peer, TCP_CORK=1)
        conn.send(b"late")
        wire.settle()
        peer.expect_nothing(for_ms=195)
        peer.expect(ACK, within_ms=10, payload=b"late")
        assert wire.count("window_probes") == 0

    def test_what_left_by_the_timer_is_guarded_by_a_whole_timeout(self, wire, peer):
        """RFC 6298 5.1"""
        conn = opened(peer, TCP_CORK=1)
        conn.send(b"late")
        peer.expect(ACK, payload=b"late")
        rto_ms = conn.info()["rto_us"] / 1000
        peer.expect_nothing(for_ms=rto_ms - 10)
        peer.expect(ACK, payload=b"late", within_ms=20)

    def test_a_segment_that_fills_up_is_guarded_by_a_whole_timeout(self, wire, peer):
        """RFC 6298 5.1: the cork's timer is not its retransmission timer"""
        conn = opened(peer, TCP_CORK=1)
        conn.send(bytes(MSS // 2))
        wire.run(ms=195)
        conn.send(bytes(MSS // 2))
        wire.settle()
        assert lengths(peer) == [MSS]
        peer.expect_nothing(for_ms=100)
        assert conn.info()["backoff"] == 0

    def test_it_holds_though_nagle_is_off(self, wire, peer):
        """tcp(7)"""
        conn = opened(peer, TCP_NODELAY=1, TCP_CORK=1)
        conn.send(b"x")
        wire.run(ms=100)
        assert lengths(peer) == []

    def test_the_end_of_the_stream_is_not_held(self, wire, peer):
        """RFC 9293 3.10.4: all that is queued, then FIN"""
        conn = opened(peer, TCP_CORK=1)
        conn.send(b"last")
        conn.shutdown()
        peer.expect(ACK | FIN, payload=b"last")

    def test_what_is_in_flight_holds_no_full_segment(self, wire, peer):
        """The rest leaves 200 ms after nothing is in flight any more"""
        conn = opened(peer, TCP_CORK=1)
        conn.send(bytes(MSS + 7))
        wire.settle()
        assert lengths(peer) == [MSS]
        peer.send(ACK, ack=1 + MSS)
        peer.expect_nothing(for_ms=195)
        wire.run(ms=10)
        assert lengths(peer) == [7]

    def test_a_closed_window_is_probed(self, wire, peer):
        """RFC 9293 3.8.6.1: the cork is no reason not to"""
        conn = opened(peer, TCP_CORK=1)
        peer.send(ACK, window=0)
        conn.send(b"x")
        peer.expect(ACK, seq=0, payload=b"", within_ms=1100)
        assert wire.count("window_probes") == 1


class TestQuickAck:
    """RFC 9293 3.8.6.3, RFC 5681 4.2: acknowledgments SHOULD be delayed; an application may ask for more."""

    @staticmethod
    def used_to(peer, conn):
        """The connection's first acknowledgments are over, which are never delayed."""
        for _ in range(20):
            peer.send(ACK, b"x")
        peer.drain()
        conn.recv()

    def test_off_the_next_is_delayed(self, wire, peer):
        conn = opened(peer)
        assert conn.getsockopt(TCP, socket.TCP_QUICKACK) == 1
        conn.setsockopt(TCP, socket.TCP_QUICKACK, 0)
        peer.send(ACK, b"x")
        peer.expect_nothing(for_ms=35)
        peer.expect(ACK, ack=2, within_ms=10)

    def test_on_the_next_are_at_once(self, wire, peer):
        conn = opened(peer)
        self.used_to(peer, conn)
        peer.send(ACK, b"y")
        peer.expect_nothing(for_ms=10)
        wire.run(ms=100)
        peer.drain()
        conn.setsockopt(TCP, socket.TCP_QUICKACK, 1)
        peer.send(ACK, b"z")
        peer.expect(ACK, within_ms=0)

    def test_on_what_is_owed_leaves(self, wire, peer):
        conn = opened(peer)
        self.used_to(peer, conn)
        wire.run(ms=100)
        peer.drain()
        peer.send(ACK, b"y")
        conn.setsockopt(TCP, socket.TCP_QUICKACK, 1)
        wire.settle()
        peer.expect(ACK, within_ms=0)


class TestNotSentLowat:
    """TCP_NOTSENT_LOWAT: what is queued and not yet sent stays short, so that what is sent is fresh."""

    def test_the_queue_takes_no_more_than_that(self, wire, peer):
        conn = opened(peer, TCP_NOTSENT_LOWAT=4 * MSS)
        peer.send(ACK, window=10 * MSS)
        taken = conn.send(bytes(100 * MSS))
        assert 4 * MSS <= taken <= 5 * MSS
        with pytest.raises(BlockingIOError):
            conn.send(b"x")

    def test_the_application_is_told_once_half_of_it_has_left(self, wire, peer):
        """Not only once it is acknowledged"""
        conn = opened(peer, TCP_NOTSENT_LOWAT=4 * MSS)
        sent = 0
        for _ in range(20):
            try:
                sent += conn.send(bytes(100 * MSS))
            except BlockingIOError:
                wire.settle()
        assert len(lengths(peer)) == 10, "the initial window is used"
        assert conn.info()["unsent_bytes"] <= 5 * MSS
        assert sent <= 15 * MSS

    def test_who_closed_is_not_told(self, wire, peer):
        """RFC 9293 3.10.4: what was queued is sent, and nobody waits for room any more"""
        conn = opened(peer, TCP_NOTSENT_LOWAT=4 * MSS)
        peer.send(ACK, window=3 * MSS)
        assert conn.send(bytes(5 * MSS)) == 4 * MSS
        conn.close()
        wire.settle()
        assert lengths(peer) == [MSS] * 3
        peer.send(ACK, window=3 * MSS)
        peer.expect(ACK | FIN, payload=bytes(MSS))

    def test_none_is_no_limit(self, wire, peer):
        conn = opened(peer, TCP_NOTSENT_LOWAT=4 * MSS)
        conn.setsockopt(TCP, socket.TCP_NOTSENT_LOWAT, 0)
        assert conn.send(bytes(50 * MSS)) == 50 * MSS


def test_nagle_taken_off_sends_what_it_held(wire, peer):
    """RFC 9293 3.7.4"""
    conn = opened(peer)
    conn.send(b"one")
    wire.settle()
    conn.send(b"two")
    wire.settle()
    peer.expect(ACK, payload=b"one")
    peer.expect_nothing()
    conn.setsockopt(TCP, socket.TCP_NODELAY, 1)
    wire.settle()
    peer.expect(ACK, payload=b"two")
