"""Recovery that was a mistake, and how it is taken back (RFC 3708, 3522, 4015, 5682)."""

import socket

import pytest

from underpass.testing.flight import MSS, RTT, ack, at, block, in_flight, numbers
from underpass.testing.peer import ACK


def fast_recovery(peer, **options):
    """Segments 0 and 1 of ten were late, and are sent again; returns the connection and its cwnd before."""
    conn = in_flight(peer, **options)
    cwnd = conn.info()["cwnd_bytes"]
    ack(peer, 0, block(2, 9))
    sent = numbers(peer)
    ack(peer, 0, block(2, 10))
    assert sent + numbers(peer) == [0, 1]
    assert conn.info()["ssthresh_bytes"] < cwnd
    return conn, cwnd


def timed_out(peer, wire, segments=10, **options):
    """Nothing came for so long that the retransmission timer fired; the first segment was sent again."""
    conn = in_flight(peer, segments, **options)
    cwnd = conn.info()["cwnd_bytes"]
    while not wire.count("timeouts"):
        wire.run(ms=10)
    numbers(peer)
    assert conn.info()["cwnd_bytes"] == conn.info()["mss"]
    return conn, cwnd


def is_as_before(conn, cwnd):
    """The window is back, or grows back by slow start (RFC 4015 3.2 step 8)."""
    info = conn.info()
    return info["cwnd_bytes"] >= cwnd or info["ssthresh_bytes"] >= cwnd


# ---- by duplicates


def test_undone_when_all_that_was_sent_again_is_reported(wire, peer):
    """RFC 3708 3, RFC 2883 5"""
    conn, cwnd = fast_recovery(peer)
    ack(peer, 10, block(0))
    assert not is_as_before(conn, cwnd)
    ack(peer, 10, block(1))
    assert is_as_before(conn, cwnd)
    assert wire.count("spurious_recoveries") == 1


def test_not_undone_when_part_of_it_was_needed(wire, peer):
    """RFC 3708 3"""
    conn, cwnd = fast_recovery(peer)
    ack(peer, 10, block(1))
    conn.send(bytes(MSS))
    ack(peer, 11)
    assert not is_as_before(conn, cwnd)
    assert wire.count("spurious_recoveries") == 0


def test_the_same_report_twice_is_one(wire, peer):
    """RFC 3708 3: an ACK that the network duplicates"""
    conn, cwnd = fast_recovery(peer)
    ack(peer, 10, block(1))
    ack(peer, 10, block(1))
    assert not is_as_before(conn, cwnd)


def test_undone_within_recovery(wire, peer):
    """RFC 3708 3: the report may come before recovery is over; nothing more is sent again"""
    conn = in_flight(peer, segments=40)
    ack(peer, 0, block(1, 4))
    sent = numbers(peer)
    assert sent[0] == 0
    ack(peer, 5, block(0))
    assert wire.count("spurious_recoveries") == 1
    assert conn.info()["lost_bytes"] == 0
    assert all(number > 9 for number in numbers(peer))


def test_the_way_back_is_no_burst(wire, peer):
    """RFC 4015 3.2 step 8"""
    conn = in_flight(peer, segments=200, window=65535)
    for number in range(1, 11):             # slow start to 20
        ack(peer, number)
    first = 10
    newest = max(numbers(peer))
    wire.run(ms=RTT)
    ack(peer, first, block(first + 1, first + 4))
    assert numbers(peer)[0] == first
    sent = numbers(peer)
    ack(peer, newest + 1, block(first))
    sent = numbers(peer)
    assert wire.count("spurious_recoveries") == 1
    assert len(sent) <= 14                  # the threshold
    assert conn.info()["ssthresh_bytes"] == 0xFFFFFFFF, "slow start goes on"


def test_a_later_probe_that_was_not_needed_undoes_nothing(wire, peer):
    """RFC 3708 3: only what was sent again in that recovery counts"""
    conn, cwnd = fast_recovery(peer)
    ack(peer, 10)
    conn.send(bytes(5 * MSS))
    assert numbers(peer) == [10, 11, 12, 13, 14]
    peer.expect(ACK, seq=at(14), within_ms=100)
    ack(peer, 15)
    ack(peer, 15, block(14))
    assert not is_as_before(conn, cwnd)


# ---- by timestamps


@pytest.mark.parametrize("spurious", [True, False])
def test_the_echoed_timestamp_tells(wire, peer, spurious):
    """RFC 3522 3.2 (Eifel)"""
    peer.timestamp = 7
    conn = in_flight(peer, mss=MSS + 12, timestamps=(7, 0))
    cwnd = conn.info()["cwnd_bytes"]
    first = peer.ts_recent
    ack(peer, 0, block(1, 10), timestamps=(8, first))
    assert numbers(peer) == [0] and peer.ts_recent != first
    wire.run(ms=RTT)
    ack(peer, 10, timestamps=(9, first if spurious else peer.ts_recent))
    assert is_as_before(conn, cwnd) == spurious
    assert wire.count("spurious_recoveries") == spurious


def test_a_duplicate_ack_with_an_old_timestamp_proves_nothing(wire, peer):
    """RFC 3522 3.2 step 4: the first acceptable ACK, which acknowledges something"""
    peer.timestamp = 7
    conn = in_flight(peer, mss=MSS + 12, timestamps=(7, 0))
    cwnd = conn.info()["cwnd_bytes"]
    first = peer.ts_recent
    for behind in (4, 6, 8, 10):
        ack(peer, 0, block(1, behind), timestamps=(8, first))
    assert not is_as_before(conn, cwnd)


def test_after_a_timeout_the_round_trip_that_was_too_long_counts(wire, peer):
    """RFC 4015 3.2 (RTO): the next timeout is later"""
    peer.timestamp = 7
    conn = in_flight(peer, segments=1, mss=MSS + 12, timestamps=(7, 0))
    first = peer.ts_recent
    while not wire.count("timeouts"):
        wire.run(ms=10)
    numbers(peer)
    rto_us = conn.info()["rto_us"]
    ack(peer, 1, timestamps=(8, first))
    assert wire.count("spurious_timeouts") == 1
    assert conn.info()["rto_us"] > rto_us and conn.info()["backoff"] == 0


def test_without_sack_timestamps_undo_too(wire, peer):
    """RFC 3522 needs no SACK"""
    peer.timestamp = 7
    conn = in_flight(peer, mss=MSS + 12, timestamps=(7, 0), sack_permitted=False)
    cwnd = conn.info()["cwnd_bytes"]
    first = peer.ts_recent
    for _ in range(3):
        ack(peer, 0, timestamps=(8, first))
    assert numbers(peer) == [0] and peer.ts_recent != first
    ack(peer, 10, timestamps=(8, first))
    assert is_as_before(conn, cwnd)


# ---- F-RTO


def test_a_spurious_timeout_shows_by_progress_without_retransmission(wire, peer):
    """RFC 5682 3.1: 2 b sends new segments, 3 b finds what was never sent again acknowledged"""
    conn, cwnd = timed_out(peer, wire, segments=30)
    ack(peer, 1)
    sent = numbers(peer)
    assert sent and all(number > 9 for number in sent)
    ack(peer, 3)
    assert wire.count("spurious_timeouts") == 1
    assert is_as_before(conn, cwnd)
    assert all(number > 9 for number in numbers(peer)), "nothing else is sent again"
    assert conn.info()["lost_bytes"] == 0


def test_a_true_timeout_shows_by_lack_of_progress(wire, peer):
    """RFC 5682 3.1, 3 a"""
    conn, cwnd = timed_out(peer, wire, segments=30)
    ack(peer, 1)
    newest = max(numbers(peer))
    wire.run(ms=RTT)
    ack(peer, 1, block(newest))
    assert numbers(peer)[0] == 1
    ack(peer, 2, block(newest))
    assert wire.count("spurious_timeouts") == 0
    assert not is_as_before(conn, cwnd)


def test_a_late_report_shows_a_spurious_timeout(wire, peer):
    """RFC 5682 3.1: SACK of what was not sent again since the timeout"""
    conn, cwnd = timed_out(peer, wire)
    ack(peer, 0, block(1))
    assert wire.count("spurious_timeouts") == 1
    assert is_as_before(conn, cwnd)


def test_an_ack_of_everything_proves_nothing(wire, peer):
    """RFC 5682 2.1 step 2 a: the retransmission may have filled a hole"""
    conn, cwnd = timed_out(peer, wire)
    ack(peer, 10)
    assert wire.count("spurious_timeouts") == 0
    assert not is_as_before(conn, cwnd)


def test_without_new_data_recovery_is_conventional(wire, peer):
    """RFC 5682 3.1 step 2 b"""
    timed_out(peer, wire)
    ack(peer, 1)
    assert numbers(peer) == [1, 2]


def test_without_room_in_the_peers_window_as_well(wire, peer):
    """RFC 5682 3.1 step 2 b"""
    timed_out(peer, wire, segments=30, window=10 * MSS)
    ack(peer, 1, window=9 * MSS)
    assert numbers(peer) == [1, 2]


@pytest.mark.parametrize("spurious", [True, False])
def test_without_sack_f_rto_works_by_acknowledgments(wire, peer, spurious):
    """RFC 5682 2.1"""
    conn, cwnd = timed_out(peer, wire, segments=30, sack_permitted=False)
    ack(peer, 1)
    assert all(number > 9 for number in numbers(peer))
    wire.run(ms=RTT)
    if spurious:
        ack(peer, 3)
    else:
        ack(peer, 1)
        assert numbers(peer)[0] == 1
    assert wire.count("spurious_timeouts") == spurious
    assert is_as_before(conn, cwnd) == spurious


def test_a_second_timeout_ends_the_suspicion_of_the_first(wire, peer):
    """RFC 6298 5.5: silence goes on, and so does the backoff"""
    conn, _ = timed_out(peer, wire)
    peer.expect(ACK, seq=at(0), within_ms=1000)
    assert wire.count("timeouts") == 2
    assert conn.info()["backoff"] == 2
    ack(peer, 10)
    assert conn.info()["backoff"] == 0
    assert conn.info()["cwnd_bytes"] <= 3 * MSS


def test_newreno_takes_it_back_too(wire, peer):
    """RFC 4015 3.2: for any congestion control"""
    conn = in_flight(peer)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "reno")
    ack(peer, 0, block(1, 10))
    assert numbers(peer) == [0]
    cwnd = 10 * MSS
    assert conn.info()["ssthresh_bytes"] == cwnd // 2
    ack(peer, 10, block(0))
    assert is_as_before(conn, cwnd)
