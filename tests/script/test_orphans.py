"""Connections that their application has closed: SO_LINGER, TCP_LINGER2; how many live on, for how long."""

import socket
import struct

import pytest

from underpass.testing.peer import ACK, FIN, RST, SYN

SOCKET, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
MINUTE_MS = 60_000


def linger(on, seconds):
    return struct.pack("ii", on, seconds)


def states(wire):
    return [row["state"] for row in wire.stack.connections() if row["state"] != "LISTEN"]


def closed(peer, data=b""):
    """A connection that its application has closed, in FIN-WAIT-1."""
    conn = peer.open()
    if data:
        conn.send(data)
    conn.close()
    peer.wire.settle()
    return conn


class TestLinger:
    """SO_LINGER decides what close() does with what is queued; here close() never waits."""

    def test_no_time_to_linger_is_a_reset(self, wire, peer):
        """RFC 9293 3.10.5: as ABORT"""
        conn = peer.open()
        conn.setsockopt(SOCKET, socket.SO_LINGER, linger(1, 0))
        conn.send(b"never to leave")
        conn.close()
        wire.settle()
        peer.expect(RST | ACK)
        assert states(wire) == []

    def test_some_time_to_linger_is_an_ordinary_close(self, wire, peer):
        """RFC 9293 3.10.4: the FIN follows what is queued"""
        conn = peer.open()
        conn.setsockopt(SOCKET, socket.SO_LINGER, linger(1, 5))
        conn.send(b"data")
        conn.close()
        wire.settle()
        peer.expect(ACK | FIN, payload=b"data")

    def test_switched_off_again(self, wire, peer):
        """RFC 9293 3.10.4"""
        conn = peer.open()
        for on in (1, 0):
            conn.setsockopt(SOCKET, socket.SO_LINGER, linger(on, 0))
        conn.close()
        wire.settle()
        peer.expect(ACK | FIN)

    def test_shutdown_does_not_linger(self, wire, peer):
        """RFC 9293 3.9.1.4: it is close() that lets go"""
        conn = peer.open()
        conn.setsockopt(SOCKET, socket.SO_LINGER, linger(1, 0))
        conn.shutdown()
        wire.settle()
        peer.expect(ACK | FIN)


class TestFinWait2:
    """RFC 9293 3.6 sets FIN-WAIT-2 no end; for a connection that nobody waits for TCP_LINGER2 does."""

    @staticmethod
    def until_fin_wait_2(peer, seconds):
        conn = peer.open()
        conn.setsockopt(TCP, socket.TCP_LINGER2, seconds)
        conn.close()
        peer.expect(ACK | FIN)
        peer.send(ACK, ack=2)

    def test_its_time(self, wire, peer):
        self.until_fin_wait_2(peer, 5)
        wire.run(ms=4_900)
        assert states(wire) == ["FIN-WAIT-2"]
        wire.run(ms=200)
        assert states(wire) == []

    def test_no_time_at_all(self, wire, peer):
        """As on Linux a reset tells the peer"""
        self.until_fin_wait_2(peer, -1)
        peer.expect(RST | ACK)
        assert states(wire) == []

    def test_by_default_the_stacks_limit(self, wire, peer):
        self.until_fin_wait_2(peer, 0)
        wire.run(ms=59_000)
        assert states(wire) == ["FIN-WAIT-2"]
        wire.run(ms=2_000)
        assert states(wire) == []

    def test_not_while_the_application_waits(self, wire, peer):
        """RFC 9293 3.6: half-closed, it may receive for ever"""
        conn = peer.open()
        conn.setsockopt(TCP, socket.TCP_LINGER2, 1)
        conn.shutdown()
        peer.expect(ACK | FIN)
        peer.send(ACK, ack=2)
        wire.run(ms=10 * MINUTE_MS)
        peer.send(ACK, b"still here")
        assert conn.recv() == b"still here"


class TestNumber:
    @pytest.mark.wire(orphans=2)
    def test_beyond_the_limit_a_close_is_a_reset(self, wire):
        """RFC 9293 3.10.4 has the rest sent; a peer that never takes it would hold memory for nothing"""
        peers = [wire.peer(port=port) for port in range(1000, 1003)]
        for peer in peers:
            closed(peer)
        for peer in peers[:2]:
            peer.expect(ACK | FIN)
        peers[2].expect(RST | ACK)
        assert wire.count("orphan_limit") == 1

    @pytest.mark.wire(orphans=1)
    def test_who_has_ended_makes_room(self, wire):
        for port in range(1000, 1010):
            peer = wire.peer(port=port)
            closed(peer)
            peer.expect(ACK | FIN)
            peer.send(RST, ack=2)
        assert wire.count("orphan_limit") == 0
        assert states(wire) == []

    @pytest.mark.wire(orphans=1)
    def test_time_wait_is_none(self, wire):
        """RFC 9293 3.6: it holds no connection block"""
        for port in range(1000, 1004):
            peer = wire.peer(port=port)
            closed(peer)
            peer.expect(ACK | FIN)
            peer.send(ACK | FIN, ack=2)
        assert wire.count("orphan_limit") == 0
        assert states(wire) == ["TIME-WAIT"] * 4

    @pytest.mark.wire(orphans=0)
    def test_a_close_with_nothing_in_the_way_is_a_reset_where_none_may_be(self, wire, peer):
        closed(peer)
        peer.expect(RST | ACK)


class TestTime:
    def test_a_window_that_stays_closed_ends_it(self, wire, peer):
        """RFC 9293 3.8.6.1 has it probed for as long as the peer answers; nobody waits for it any more"""
        conn = peer.open()
        peer.send(ACK, window=0)
        conn.send(b"nobody takes it")
        conn.close()
        start_ns = wire.now_ns
        while states(wire) and wire.now_ns - start_ns < 10 * MINUTE_MS * 1_000_000:
            wire.run(ms=100)
            for _ in peer.drain():
                peer.send(ACK, window=0)
        assert (wire.now_ns - start_ns) / 1e6 == pytest.approx(2 * MINUTE_MS, abs=1000)
        assert wire.count("orphan_drops") == 1

    def test_progress_gives_it_more_time(self, wire, peer):
        """RFC 9293 3.8.6.1: two minutes from the latest acknowledgment of something new"""
        conn = peer.open(window=100)
        conn.send(bytes(1000))
        conn.close()
        for _ in range(5):
            wire.run(ms=1.5 * MINUTE_MS)
            taken = [seg for seg in peer.drain() if seg.payload]
            peer.send(ACK, ack=max(seg.end for seg in taken))
        assert "FIN-WAIT-1" in states(wire)
        assert wire.count("orphan_drops") == 0

    def test_while_the_application_holds_it_there_is_no_such_end(self, wire, peer):
        """RFC 9293 3.8.6.1"""
        conn = peer.open()
        peer.send(ACK, window=0)
        conn.send(b"later")
        for _ in range(6 * 60):
            wire.run(ms=10_000)
            for _ in peer.drain():
                peer.send(ACK, window=0)
        peer.send(ACK, window=1000)
        peer.expect(ACK, payload=b"later")

    @pytest.mark.wire(orphan_ms=1000)
    def test_what_is_in_flight_has_its_retries(self, wire, peer):
        """RFC 9293 3.8.3: on a path that loses much they take longer than any window should stay closed"""
        closed(peer, b"data")
        wire.run(ms=20_000)
        assert states(wire) == ["FIN-WAIT-1"]
        peer.send(ACK, ack=6)
        assert states(wire) == ["FIN-WAIT-2"]

    def test_a_window_that_shrinks_to_nothing_ends_it_too(self, wire, peer):
        """RFC 9293 3.8.6 (SHLD-17) has what is in flight sent again for as long as the peer answers"""
        closed(peer, b"data")
        for _ in range(400):
            wire.run(ms=1000)
            peer.send(ACK, ack=1, window=0)
        assert states(wire) == []

    def test_a_silent_peer_is_given_up_sooner(self, wire, peer):
        """RFC 9293 3.8.3: R2 of a connection that nobody waits for"""
        closed(peer, b"data")
        wire.run(ms=2 * MINUTE_MS + 1000)
        assert states(wire) == []

    @pytest.mark.wire(orphan_ms=10_000)
    def test_the_stacks_limit(self, wire, peer):
        conn = peer.open()
        peer.send(ACK, window=0)
        conn.send(b"data")
        conn.close()
        wire.run(ms=9_900)
        assert states(wire) == ["FIN-WAIT-1"]
        wire.run(ms=200)
        assert states(wire) == []
        assert wire.count("orphan_drops") == 1

    def test_a_peer_that_only_keeps_alive_does_not_hold_it(self, wire, peer):
        """RFC 9293 3.8.6.1: answers to probes are no progress"""
        closed(peer, b"data")
        for _ in range(13):
            wire.run(ms=10_000)
            peer.send(ACK, ack=1, seq=0)
        assert states(wire) == []


class TestTheEnd:
    """RFC 9293 3.10.5 for all at once: where the process ends, nobody would answer the peers any more."""

    def test_every_peer_is_told_and_so_is_the_application(self, wire):
        peers = [wire.peer(port=port) for port in range(1000, 1200)]
        open_ones = [peer.open() for peer in peers[:150]]
        for peer in peers[150:]:
            closed(peer, b"never acknowledged")
            peer.expect(ACK | FIN)
        assert wire.stack.abort_all() == 200
        wire.settle()
        for peer in peers:
            peer.expect(RST | ACK)
        assert states(wire) == []
        assert all(wire.host.was_closed(it) for it in open_ones)
        assert wire.host.is_idle()

    def test_half_open_ones_as_well(self, wire, peer):
        peer.send(SYN, ack=None)
        peer.expect(SYN | ACK)
        assert wire.stack.abort_all() == 1
        wire.settle()
        peer.expect(RST | ACK)
        assert wire.host.is_idle()

    def test_nothing_in_time_wait(self, wire, peer):
        closed(peer)
        peer.expect(ACK | FIN)
        peer.send(ACK | FIN, ack=2)
        peer.expect(ACK)
        assert wire.stack.abort_all() == 0
        wire.settle()
        peer.expect_nothing(for_ms=1000)

    def test_a_peer_that_has_all_and_may_not_have_read_it_is_left_alone(self, wire, peer):
        """Some systems throw away at a reset what their application has not read."""
        closed(peer)
        peer.expect(ACK | FIN)
        peer.send(ACK, ack=2)
        assert states(wire) == ["FIN-WAIT-2"]
        assert wire.stack.abort_all() == 0
        wire.settle()
        peer.expect_nothing(for_ms=1000)
        assert states(wire) == []
        assert wire.host.is_idle()

    def test_closing_the_stack_tells_them(self, wire, peer):
        peer.open()
        wire.stack.close()
        wire.settle()
        peer.expect(RST | ACK)
