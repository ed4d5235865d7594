"""Answers to what may be forged are few: two confused sides do not keep each other busy (RFC 5961)."""

import pytest

from underpass.testing.peer import ACK, FIN, RST, SYN

HALF_SECOND_MS = 500


def answers(peer):
    """How many segments came, and none of them a reset."""
    segments = peer.drain()
    assert all(RST not in seg.flags for seg in segments)
    return len(segments)


def time_wait(peer):
    """A connection that we closed first, and the peer then."""
    peer.open().close()
    peer.wire.settle()
    peer.expect(ACK | FIN)
    peer.send(ACK | FIN, ack=2)
    peer.expect(ACK)


def storm(peer, milliseconds, **fields):
    """A bad ACK every 10 ms; how many were answered."""
    for _ in range(milliseconds // 10):
        peer.send(ACK, **fields)
        peer.wire.run(ms=10)
    return answers(peer)


class TestTimeWait:
    """RFC 9293 3.10.7.4, first: what is unacceptable is answered; a peer that is ESTABLISHED answers that."""

    def test_acks_out_of_the_window_are_answered_twice_a_second(self, wire, peer):
        time_wait(peer)
        assert storm(peer, 3000, seq=2**30) == pytest.approx(6, abs=1)
        assert wire.count("answer_limited") >= 290

    def test_a_single_one_at_once(self, wire, peer):
        time_wait(peer)
        peer.send(ACK, seq=2**30)
        peer.expect(ACK, seq=2, ack=2, within_ms=0)

    def test_a_fin_again_always(self, wire, peer):
        """RFC 9293 3.10.7.4, eighth: our acknowledgment was lost, perhaps each time"""
        time_wait(peer)
        for _ in range(10):
            peer.send(ACK | FIN, seq=1, ack=2)
            peer.expect(ACK, ack=2, within_ms=0)

    def test_syns_that_open_nothing_twice_a_second(self, wire, peer):
        """RFC 5961 4.2"""
        time_wait(peer)
        for _ in range(100):
            peer.send(SYN, seq=-1000, mss=1460)
            wire.run(ms=10)
        assert answers(peer) <= 3

    def test_each_entry_for_itself(self, wire):
        peers = [wire.peer(port=port) for port in range(1000, 1005)]
        for peer in peers:
            time_wait(peer)
        for peer in peers:
            peer.send(ACK, seq=2**30)
        assert [answers(peer) for peer in peers] == [1] * 5


class TestConnection:
    @pytest.mark.parametrize(
        "fields", [{"seq": 2**30}, {"seq": 0}, {"ack": 2**30}, {"seq": 0, "window": 0}],
        ids=["sequence number", "keepalive", "acknowledgment", "window probe"],
    )
    def test_bad_acks_are_answered_twice_a_second(self, wire, peer, fields):
        """RFC 5961 5.2, RFC 9293 3.10.7.4, first"""
        peer.open()
        assert storm(peer, 3000, **fields) == pytest.approx(6, abs=1)

    def test_data_again_always(self, wire, peer):
        """RFC 9293 3.10.7.4, first: whoever sends data again waits for the acknowledgment"""
        peer.open()
        peer.send(ACK, b"data")
        peer.drain()
        for _ in range(20):
            peer.send(ACK, b"data", seq=1)
            peer.expect(ACK, ack=5, within_ms=0)
        assert wire.count("answer_limited") == 0

    def test_each_connection_for_itself(self, wire):
        """RFC 5961 7: a confused one takes nothing from the others"""
        confused, other = wire.peer(port=1000), wire.peer(port=1001)
        for peer in (confused, other):
            peer.open()
        storm(confused, 400, seq=2**30)
        other.send(RST, seq=2)
        other.expect(ACK, within_ms=0)

    def test_an_echo_of_our_answer_ends_it(self, wire, peer):
        """RFC 5961 7: two sides of which each takes the other's ACK for wrong"""
        peer.open()
        peer.send(ACK, seq=2**30)
        rounds = 0
        while peer.drain() and rounds < 1000:
            rounds += 1
            wire.run(ms=20)
            peer.send(ACK, seq=2**30)
        assert rounds == 1


class TestHandshake:
    def test_syns_again_are_answered_twice_a_second(self, wire, peer):
        """RFC 9293 3.10.7.4, fourth: our SYN-ACK was lost; but a flood of SYNs makes none of SYN-ACKs"""
        for _ in range(100):
            peer.send(SYN, seq=0, mss=1460)
            wire.run(ms=10)
        assert answers(peer) <= 4

    def test_a_syn_a_second_later_is_answered_at_once(self, wire, peer):
        """RFC 6298 2.1: so soon a peer sends it again"""
        peer.send(SYN, seq=0, mss=1460)
        peer.expect(SYN | ACK)
        wire.run(ms=990)
        peer.send(SYN, seq=0, mss=1460)
        peer.expect(SYN | ACK, within_ms=0)


class TestOldTimestamps:
    """RFC 7323 5.3 R1: not acceptable, and answered as such."""

    @pytest.fixture
    def stamped(self, peer):
        peer.timestamp = 1000
        peer.open()
        peer.send(ACK, b"new")
        peer.drain()
        peer.timestamp = 900
        return peer

    def test_data_always(self, wire, stamped):
        for _ in range(10):
            stamped.send(ACK, b"old", seq=1)
            stamped.expect(ACK, ack=4, within_ms=0)

    def test_acks_twice_a_second(self, wire, stamped):
        assert storm(stamped, 2000, seq=2) == pytest.approx(4, abs=1)

    def test_an_ack_that_was_overtaken_not_at_all(self, wire, stamped):
        """Reordered, it brings nothing and harms nothing"""
        stamped.send(ACK)
        stamped.expect_nothing(for_ms=100)
        assert wire.count("paws_refused") == 1
