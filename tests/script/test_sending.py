"""Sending: retransmission, recovery, windows, Nagle (RFC 6298, 5681, 6582, 6675, RFC 9293 3.7.4, 3.8.6)."""

import itertools
import socket

import pytest

from underpass.testing.peer import ACK, PSH, RST

MSS = 1000


def opened(peer, **options):
    """An open connection with an MSS of 1,000 octets."""
    return peer.open(mss=MSS, **options)


def flight(peer):
    """Sequence numbers of the data segments that have come."""
    peer.wire.settle()
    return [seg.seq for seg in peer.drain() if seg.payload]


def test_the_initial_window_is_ten_segments(wire, peer):
    """RFC 6928 2"""
    conn = opened(peer)
    conn.send(bytes(100 * MSS))
    assert flight(peer) == [1 + MSS * i for i in range(10)]
    peer.send(ACK, ack=1 + 10 * MSS)
    # Slow start (RFC 5681 3.1), by at most 8 segments an ACK (RFC 9406 4.2).
    assert 12 <= len(flight(peer)) <= 20


def test_an_old_number_with_a_new_acknowledgment_sets_the_window(wire, peer):
    """RFC 9293 3.10.7.4: SND.UNA + SND.WND is never beyond the edge that the peer offered last"""
    conn = opened(peer, window=5 * MSS)
    conn.send(bytes(4 * MSS))
    assert len(flight(peer)) == 4
    peer.send(ACK | PSH, b"behind a gap", seq=1 + MSS, ack=1)
    peer.send(ACK | PSH, bytes(MSS), ack=1 + 4 * MSS, window=MSS)
    conn.send(bytes(5 * MSS))
    assert flight(peer) == [1 + 4 * MSS]


def test_acknowledgments_lie_within_a_window_that_was_taken_back(wire, peer):
    """RFC 9293 3.8.6 (MUST-34), 3.10.7.4: beyond the peer's window an acknowledgment is not processed"""
    conn = opened(peer, window=5 * MSS)
    conn.send(bytes(5 * MSS))
    assert len(flight(peer)) == 5
    peer.send(ACK | PSH, b"no memory", ack=1 + MSS, window=0)
    assert peer.expect(ACK, payload=b"").seq == 1 + MSS
    peer.send(ACK | PSH, b"nor now", ack=1 + MSS, window=MSS)
    assert peer.expect(ACK, payload=b"").seq == 1 + 2 * MSS
    peer.send(ACK | PSH, b"there was none", ack=1 + 5 * MSS, window=5 * MSS)
    assert peer.expect(ACK, payload=b"").seq == 1 + 5 * MSS


def test_a_window_that_scaling_rounded_off_was_not_taken_back(wire, peer):
    """RFC 7323 2.3"""
    conn = opened(peer, window=5, window_scale=10)
    conn.send(bytes(5 * MSS))
    assert len(flight(peer)) == 5
    peer.send(ACK | PSH, b"x", ack=1 + MSS, window=(4 * MSS) >> 10)
    assert peer.expect(ACK, payload=b"").seq == 1 + 5 * MSS


def test_a_lost_segment_is_sent_again_with_backoff(wire, peer):
    """RFC 6298 5.5: the timeout doubles each time"""
    conn = opened(peer)
    conn.send(b"lost")
    peer.expect(ACK, payload=b"lost")
    times = [wire.now_ns]
    for _ in range(5):
        peer.expect(ACK, payload=b"lost", seq=1, within_ms=60_000)
        times.append(wire.now_ns)
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert all(1.9 < late / early < 2.1 for early, late in itertools.pairwise(waits))
    peer.send(ACK)
    peer.expect_nothing(for_ms=60_000)
    assert wire.count("retransmits") == 5


@pytest.mark.wire(retries=4)
def test_a_peer_that_is_gone_is_given_up(wire, peer):
    """RFC 9293 3.8.3: R2"""
    conn = opened(peer)
    conn.send(b"lost")
    wire.run(ms=600_000)
    with pytest.raises(TimeoutError):
        conn.recv()
    assert len([seg for seg in peer.drain() if seg.payload]) == 5
    assert wire.host.link.frames.free == wire.host.link.frames.count


def test_three_duplicate_acks_cause_a_fast_retransmission(wire, peer):
    """RFC 5681 3.2"""
    conn = opened(peer)
    conn.send(bytes(10 * MSS))
    assert len(flight(peer)) == 10
    peer.send(ACK, ack=1)
    peer.send(ACK, ack=1)
    peer.expect_nothing()
    peer.send(ACK, ack=1)
    peer.expect(ACK, seq=1)
    assert wire.count("fast_retransmits") == 1
    peer.send(ACK, ack=1 + 10 * MSS)
    peer.expect_nothing(for_ms=10_000)


def test_a_partial_ack_sends_the_next_hole(wire, peer):
    """RFC 6582 3.2 step 3"""
    conn = opened(peer)
    conn.send(bytes(10 * MSS))
    flight(peer)
    for _ in range(4):
        peer.send(ACK, ack=1)
    assert flight(peer) == [1]
    peer.send(ACK, ack=1 + 3 * MSS)
    assert flight(peer) == [1 + 3 * MSS]


def test_a_window_update_is_no_duplicate_ack(wire, peer):
    """RFC 5681 2"""
    conn = opened(peer)
    conn.send(bytes(10 * MSS))
    flight(peer)
    for window in (60000, 61000, 62000, 63000):
        peer.send(ACK, ack=1, window=window)
    peer.expect_nothing()


def test_sack_has_only_the_holes_sent_again(wire, peer):
    """RFC 6675 5"""
    conn = opened(peer, sack_permitted=True)
    conn.send(bytes(10 * MSS))
    flight(peer)
    for last in (4, 5, 6, 8, 9, 10):
        blocks = ((1 + 3 * MSS, 1 + min(last, 6) * MSS),)
        if last > 6:
            blocks = ((1 + 7 * MSS, 1 + last * MSS), *blocks)
        peer.send(ACK, ack=1 + MSS, sack=blocks)
    # Segments 2, 3 and 7 (from one on) are missing.
    sent = flight(peer)
    peer.send(ACK, ack=1 + 3 * MSS, sack=((1 + 7 * MSS, 1 + 10 * MSS), (1 + 3 * MSS, 1 + 6 * MSS)))
    sent += flight(peer)
    assert sorted(set(sent)) == [1 + MSS, 1 + 2 * MSS, 1 + 6 * MSS]
    peer.send(ACK, ack=1 + 10 * MSS)
    peer.expect_nothing(for_ms=10_000)


def test_after_a_timeout_everything_unacknowledged_counts_as_lost(wire, peer):
    """RFC 6298 5.4, RFC 2018 8, RFC 5681 3.1: one segment, then slow start"""
    conn = opened(peer, sack_permitted=True)
    conn.send(bytes(10 * MSS))
    flight(peer)
    peer.send(ACK, ack=1, sack=((1 + 9 * MSS, 1 + 10 * MSS),))
    peer.expect(ACK, seq=1, within_ms=5000)
    assert flight(peer) == []
    peer.send(ACK, ack=1 + MSS)
    assert flight(peer) == [1 + MSS, 1 + 2 * MSS]


def test_an_ack_of_part_of_a_segment(wire, peer):
    """RFC 9293 3.10.7.4, fifth: SND.UNA may stand within a segment"""
    conn = opened(peer)
    conn.send(bytes(range(200)))
    peer.expect(ACK)
    peer.send(ACK, ack=101)
    seg = peer.expect(ACK, within_ms=5000)
    assert seg.seq + len(seg.payload) == 201
    assert seg.payload == bytes(range(seg.seq - 1, 200))
    peer.send(ACK, ack=201)
    peer.expect_nothing(for_ms=10_000)


def test_nagle_holds_small_segments_back(wire, peer):
    """RFC 9293 3.7.4"""
    conn = opened(peer)
    conn.send(b"one")
    peer.expect(ACK, payload=b"one")
    conn.send(b"two")
    conn.send(b"three")
    peer.expect_nothing(for_ms=50)
    peer.send(ACK, ack=4)
    peer.expect(ACK, payload=b"twothree")


def test_nagle_switched_off(wire, peer):
    """RFC 9293 3.7.4: MUST be possible"""
    conn = opened(peer)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.send(b"one")
    peer.expect(ACK, payload=b"one")
    conn.send(b"two")
    peer.expect(ACK, payload=b"two")


def test_the_peers_window_is_kept(wire, peer):
    """RFC 9293 3.8.6"""
    conn = opened(peer, window=2500)
    conn.send(bytes(10 * MSS))
    wire.settle()
    assert sum(len(seg.payload) for seg in peer.drain()) <= 2500


def test_no_silly_small_segments(wire, peer):
    """RFC 9293 3.8.6.2.1: a full segment, or half of the largest window, or nothing"""
    conn = opened(peer, window=4 * MSS)
    conn.send(bytes(8 * MSS))
    assert len(flight(peer)) == 4
    peer.send(ACK, ack=1 + 4 * MSS, window=100)
    peer.expect_nothing(for_ms=100)
    peer.send(ACK, ack=1 + 4 * MSS, window=MSS)
    assert len(peer.expect(ACK).payload) == MSS


def test_a_zero_window_is_probed_until_it_opens(wire, peer):
    """RFC 9293 3.8.6.1"""
    conn = opened(peer, window=MSS)
    conn.send(bytes(3 * MSS))
    peer.expect(ACK)
    peer.send(ACK, ack=1 + MSS, window=0)
    times = []
    for _ in range(6):
        peer.expect(within_ms=300_000)
        times.append(wire.now_ns)
        peer.send(ACK, ack=1 + MSS, window=0)
    assert conn.state == "ESTABLISHED"
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert all(later > earlier * 1.5 for earlier, later in itertools.pairwise(waits))
    assert wire.count("window_probes") == 6
    peer.send(ACK, ack=1 + MSS, window=10 * MSS)
    assert flight(peer) == [1 + MSS, 1 + 2 * MSS]


def test_a_window_that_stays_closed_does_not_end_the_connection(wire, peer):
    """RFC 9293 3.8.6.1: for as long as the peer acknowledges the probes"""
    conn = opened(peer, window=MSS)
    conn.send(bytes(2 * MSS))
    peer.expect(ACK)
    peer.send(ACK, ack=1 + MSS, window=0)
    for _ in range(40):
        peer.expect(within_ms=300_000)
        peer.send(ACK, ack=1 + MSS, window=0)
    assert conn.state == "ESTABLISHED"


def test_a_window_that_shrinks_to_nothing_does_not_end_the_connection(wire, peer):
    """RFC 9293 3.8.6 (SHLD-17): not even with data beyond its right edge"""
    conn = opened(peer)
    conn.send(bytes(3 * MSS))
    flight(peer)
    peer.send(ACK, ack=1, window=0)
    for _ in range(40):
        peer.expect(within_ms=300_000)
        peer.drain()
        peer.send(ACK, ack=1, window=0)
    assert conn.state == "ESTABLISHED"


def test_an_old_window_does_not_replace_a_newer_one(wire, peer):
    """RFC 9293 3.10.7.4: SND.WL1 and SND.WL2"""
    conn = opened(peer, window=2 * MSS)
    peer.send(ACK | PSH, b"new", window=5 * MSS)
    peer.drain()
    peer.send(ACK, seq=1, window=MSS)
    peer.drain()
    conn.send(bytes(5 * MSS))
    assert len(flight(peer)) == 5


def test_push_is_set_on_the_last_segment_of_what_there_is(wire, peer):
    """RFC 9293 3.9.1.2"""
    conn = opened(peer)
    conn.send(bytes(3 * MSS))
    wire.settle()
    assert [PSH in seg.flags for seg in peer.drain()] == [False, False, True]


def test_the_send_queue_is_limited_and_room_is_announced(wire, peer):
    """RFC 9293 3.10.2: error: insufficient resources"""
    conn = opened(peer, window=MSS)
    total = 0
    with pytest.raises(BlockingIOError):
        while total < 100_000_000:
            total += conn.send(bytes(65536))
    wire.settle()
    wire.host.seen.clear()
    got = 0
    while got < total:
        got += len(peer.expect(ACK, within_ms=5000).payload)
        peer.send(ACK, ack=1 + got, window=60_000)
    assert any(other is conn for other, _ in wire.host.seen)
    assert conn.send(b"more") == 4


def test_keepalive(wire, peer):
    """RFC 9293 3.8.4: off by default; a probe is an old sequence number"""
    conn = opened(peer)
    wire.run(ms=10_000_000)
    assert peer.drain() == []
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    peer.send(ACK | PSH, b"x")
    peer.drain()
    peer.expect_nothing(for_ms=59_000)
    peer.expect(ACK, seq=0, payload=b"", within_ms=2000)
    peer.send(ACK)
    peer.expect_nothing(for_ms=50_000)
    for _ in range(3):
        peer.expect(ACK, seq=0, within_ms=20_000)
    assert RST in peer.expect(within_ms=20_000).flags
    conn.recv()
    with pytest.raises(TimeoutError):
        conn.recv()
    assert wire.count("keepalive_drops") == 1


def test_keepalive_probes_that_are_answered_do_not_add_up(wire, peer):
    """RFC 9293 3.8.4: probes further apart than the idle time; the peer answers each, and lives"""
    conn = opened(peer)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 2)):
        conn.setsockopt(socket.IPPROTO_TCP, option, value)
    for _ in range(6):
        peer.expect(ACK, seq=0, payload=b"", within_ms=16_000)
        wire.run(ms=50)
        peer.send(ACK)
    assert wire.count("keepalive_drops") == 0


def test_the_user_timeout(wire, peer):
    """RFC 9293 3.9.1.1, RFC 5482"""
    conn = opened(peer)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000)
    conn.send(b"lost")
    wire.run(ms=2500)
    assert conn.state == "ESTABLISHED"
    wire.run(ms=5000)
    assert wire.host.was_closed(conn)
    assert wire.count("user_timeouts") == 1
    with pytest.raises(TimeoutError):
        conn.recv()


def test_an_unresolved_neighbour_is_asked_for_and_probed_when_packets_are_lost(wire):
    """RFC 9293 3.8.3, MUST-20; RFC 4861 7.3.1: the kernel sees none of our traffic, and must be told what is
    in use
    """
    peer = wire.peer(port=80, to_port=50000)
    wire.stack.set_neighbour(peer.base.src, None)
    wire.stack.wanted()
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    wire.run(ms=10)
    assert (peer.base.src, "resolve") in wire.stack.wanted()
    assert peer.drain() == []
    wire.stack.set_neighbour(peer.base.src, wire.remote.mac)
    peer.answer()
    conn.send(b"lost")
    peer.expect(ACK)
    wire.stack.wanted()
    wire.run(ms=3000)  # asked for once a second at most
    assert (peer.base.src, "probe") in wire.stack.wanted()


def test_a_changed_mac_takes_effect_at_once(wire, peer):
    """RFC 4861 7.2.5"""
    conn = opened(peer)
    wire.stack.set_neighbour(peer.base.src, b"\2\0\0\0\0\x55")
    conn.send(b"moved")
    peer.expect(ACK, payload=b"moved", dst_mac="02:00:00:00:00:55")
