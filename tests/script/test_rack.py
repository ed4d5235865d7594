"""RACK (RFC 8985 6): loss by time, and the reordering window."""

import pytest

from underpass.testing.flight import MSS, RTT, ack, at, block, in_flight, numbers, opened
from underpass.testing.peer import ACK


def test_three_segments_reported_above_a_hole_are_enough(wire, peer):
    """RFC 8985 6.2 step 4: no reordering window while no reordering was ever seen"""
    in_flight(peer)
    ack(peer, 0, block(1))
    ack(peer, 0, block(1, 3))
    assert numbers(peer) == []
    ack(peer, 0, block(1, 4))
    assert numbers(peer) == [0]
    assert wire.count("reordering_timeouts") == 0


def test_with_fewer_the_reordering_timer_decides(wire, peer):
    """RFC 8985 6.2 step 5: after a quarter of the smallest round trip"""
    in_flight(peer)
    ack(peer, 0, block(1))
    peer.expect_nothing(for_ms=RTT / 4 - 0.1)
    peer.expect(ACK, seq=at(0), within_ms=3)
    assert (wire.count("reordering_timeouts"), wire.count("timeouts")) == (1, 0)


def test_a_segment_that_comes_within_the_window_is_not_sent_again(wire, peer):
    """RFC 8985 6.2 step 5"""
    conn = in_flight(peer)
    cwnd = conn.info()["cwnd_bytes"]
    ack(peer, 0, block(1))
    wire.run(ms=3)
    ack(peer, 10)
    peer.expect_nothing(for_ms=1000)
    assert (wire.count("retransmits"), wire.count("reordered")) == (0, 1)
    assert conn.info()["cwnd_bytes"] >= cwnd


def test_once_reordering_was_seen_three_segments_are_not_enough(wire, peer):
    """RFC 8985 6.2 steps 3 and 4"""
    conn = in_flight(peer)
    ack(peer, 0, block(1))
    ack(peer, 10)
    conn.send(bytes(10 * MSS))
    assert numbers(peer) == list(range(10, 20))
    wire.run(ms=RTT)
    ack(peer, 10, block(11, 19))
    peer.expect_nothing(for_ms=RTT / 4 - 0.1)
    peer.expect(ACK, seq=at(10), within_ms=3)


def test_a_segment_that_was_late_widens_the_window_beyond_its_lateness(wire, peer):
    """RFC 8985 6.2 step 4 bounds the window by SRTT; what is seen decides within that"""
    conn = in_flight(peer)
    ack(peer, 0, block(1))
    wire.run(ms=4)
    ack(peer, 0, block(1))
    wire.run(ms=0.9)
    ack(peer, 10)                           # 4.9 ms late
    conn.send(bytes(10 * MSS))
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 10, block(11, 19))
    peer.expect_nothing(for_ms=5.5)
    peer.expect(ACK, seq=at(10), within_ms=3)


def test_what_was_sent_later_is_not_lost(wire, peer):
    """RFC 8985 6.2 step 2, RACK_sent_after: in one burst the sequence number tells"""
    conn = in_flight(peer)
    ack(peer, 0, block(2))
    wire.run(ms=10)
    assert numbers(peer) == [0]
    assert conn.info()["lost_bytes"] == 2 * MSS


def test_all_holes_are_found_with_one_reduction_of_the_window(wire, peer):
    """RFC 8985 6.1, RFC 5681 3.2: one loss event"""
    conn = in_flight(peer)
    ack(peer, 0, block(1), block(3), block(5))
    sent = numbers(peer)
    for behind in (7, 8, 9):
        ack(peer, 0, block(5, behind), block(3), block(1))
        sent += numbers(peer)
    assert sent == [0, 2, 4]
    assert wire.count("fast_retransmits") == 1
    assert conn.info()["ssthresh_bytes"] == 7 * MSS


def test_a_retransmission_that_is_lost_is_sent_again_without_a_timeout(wire, peer):
    """RFC 8985 3.3: RACK can tell, by what was sent after the retransmission"""
    in_flight(peer, segments=40)
    for last in range(2, 11):
        ack(peer, 0, block(1, last))
    sent = numbers(peer)
    assert sent[-1] > 9 and sent.count(0) == 1 and sent.index(0) < len(sent) - 1
    newest = max(sent)
    wire.run(ms=RTT)
    ack(peer, 0, block(1, newest + 1))
    assert numbers(peer)[0] == 0
    ack(peer, newest + 1)
    assert wire.count("timeouts") == 0


@pytest.mark.parametrize("after_ms", [0, 1, RTT - 1])
def test_an_ack_too_early_for_the_retransmission_is_the_originals(wire, peer, after_ms):
    """RFC 8985 6.2 step 2: within the smallest round trip; else all behind it would look overdue"""
    in_flight(peer)
    ack(peer, 0, block(1, 4))
    assert numbers(peer) == [0]
    wire.run(ms=after_ms)
    ack(peer, 4)
    peer.expect_nothing(for_ms=1)
    assert wire.count("retransmits") == 1


def test_an_old_timestamp_tells_the_original_from_the_retransmission(wire, peer):
    """RFC 8985 6.2 step 2: RACK.ts: SEG.TSecr before the retransmission's TSval"""
    peer.timestamp = 7
    in_flight(peer, mss=MSS + 12, timestamps=(7, 0))
    first = peer.ts_recent
    ack(peer, 0, block(1, 4))
    assert len(numbers(peer)) == 1 and peer.ts_recent != first
    wire.run(ms=2 * RTT)
    ack(peer, 4, timestamps=(8, first))
    peer.expect_nothing(for_ms=1)
    assert wire.count("retransmits") == 1


def test_without_sack_three_duplicates_decide_and_no_timer(wire, peer):
    """RFC 8985 4 requires SACK; RFC 5681 3.2 without it"""
    in_flight(peer, sack_permitted=False)
    peer.send(ACK, ack=at(0))
    peer.send(ACK, ack=at(0))
    peer.expect_nothing(for_ms=100)
    peer.send(ACK, ack=at(0))
    assert numbers(peer) == [0]
    assert wire.count("reordering_timeouts") == wire.count("loss_probes") == 0


def test_behind_the_reordering_timer_the_retransmission_timer_runs(wire, peer):
    """RFC 8985 8, RFC 6298 5.1: one timer, and something outstanding is always guarded"""
    in_flight(peer)
    ack(peer, 0, block(1, 10))
    assert numbers(peer) == [0]
    start = wire.now_ns
    peer.expect(ACK, seq=at(0), within_ms=1000)
    assert 190e6 < wire.now_ns - start < 300e6
    assert wire.count("timeouts") == 1


def test_the_window_grows_with_reported_duplicates_once_a_round_trip(wire, peer):
    """RFC 8985 6.2 step 4: RACK.reo_wnd_mult and RACK.dsack_round"""
    conn = in_flight(peer)
    ack(peer, 0, block(1, 4))
    assert numbers(peer) == [0]
    for _ in range(5):
        ack(peer, 10, block(0))             # the same round
    conn.send(bytes(10 * MSS))
    sent = numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 10, block(11, sent[-1] + 1))
    peer.expect_nothing(for_ms=2 * RTT / 4 - 0.1)
    peer.expect(ACK, seq=at(10), within_ms=3)


def test_the_window_shrinks_after_sixteen_recoveries_without_a_duplicate(wire, peer):
    """RFC 8985 6.2 step 4: RACK.reo_wnd_persist"""
    conn = in_flight(peer)
    ack(peer, 0, block(1, 4))
    ack(peer, 10, block(0))
    numbers(peer)
    first = 10
    for recovery in range(18):
        conn.send(bytes(2 * MSS))
        assert numbers(peer) == [first, first + 1]
        wire.run(ms=RTT)
        ack(peer, first, block(first + 1))
        start = wire.now_ns
        peer.expect(ACK, seq=at(first), within_ms=20)
        waited_ms = (wire.now_ns - start) / 1e6
        assert waited_ms < 8 if recovery >= 16 else waited_ms > 9, recovery
        numbers(peer)
        wire.run(ms=RTT)
        first += 2
        ack(peer, first)


def test_an_ack_of_everything_stops_the_reordering_timer(wire, peer):
    """RFC 8985 6.2 step 5"""
    opened(peer, segments=4)
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 0, block(3))
    ack(peer, 4)
    peer.expect_nothing(for_ms=2000)
    assert wire.count("reordering_timeouts") == 0
