"""Limited transmit, receivers that renege, and acknowledgments made to exhaust (RFC 3042, 2018 8, 4953)."""

import random

from underpass.testing.flight import MSS, RTT, ack, block, in_flight, numbers
from underpass.testing.peer import ACK


def test_the_first_two_duplicates_let_one_new_segment_out_each(wire, peer):
    """RFC 3042 2"""
    in_flight(peer, segments=30, sack_permitted=False)
    sent = []
    for _ in range(3):
        ack(peer, 0)
        sent.append(numbers(peer))
    assert sent == [[10], [11], [0]]


def test_with_sack_as_well(wire, peer):
    """RFC 3042 2, RFC 6675 5: by the pipe"""
    in_flight(peer, segments=30)
    sent = []
    for behind in (2, 3, 4):
        ack(peer, 0, block(1, behind))
        sent.append(numbers(peer))
    assert sent == [[10], [11], [0]]


def test_limited_transmit_keeps_to_the_peers_window(wire, peer):
    """RFC 3042 2: the advertised window allows it"""
    in_flight(peer, segments=30, sack_permitted=False, window=10 * MSS)
    ack(peer, 0)
    ack(peer, 0)
    assert numbers(peer) == []


def test_limited_transmit_leaves_the_window_as_it_is(wire, peer):
    """RFC 3042 2: cwnd must not change"""
    conn = in_flight(peer, segments=30, sack_permitted=False)
    cwnd = conn.info()["cwnd_bytes"]
    ack(peer, 0)
    ack(peer, 0)
    assert conn.info()["cwnd_bytes"] == cwnd


def test_what_was_reported_behind_a_hole_widens_no_window(wire, peer):
    """RFC 9438 4.6, RFC 5681 3.1: a loss reduces the window, however far the hole lets the stream run on"""
    conn = in_flight(peer, segments=400)
    ack(peer, 0, block(1, 10))
    last = 9
    for _ in range(8):                      # the retransmission of 0 does not arrive, what follows does
        last = max(last, *numbers(peer), 0)
        ack(peer, 0, block(1, last + 1))
    before = conn.info()
    assert before["flight_bytes"] > 4 * before["ssthresh_bytes"]
    while not wire.count("timeouts"):
        wire.run(ms=10)
    assert conn.info()["ssthresh_bytes"] <= before["ssthresh_bytes"]


def test_a_timeout_keeps_what_was_reported(wire, peer):
    """RFC 8985 6.3, RFC 6675 5.1: only the holes are sent again"""
    in_flight(peer)
    ack(peer, 0, block(3, 6), block(8, 10))
    numbers(peer)
    while not wire.count("timeouts"):
        wire.run(ms=10)
    wire.run(ms=RTT)
    for number in (1, 2, 6, 7):
        ack(peer, number, block(3, 6), block(8, 10)) if number < 3 else ack(peer, number, block(8, 10))
        wire.run(ms=RTT)
    ack(peer, 10)
    sent = numbers(peer)
    assert set(sent) == {0, 1, 2, 6, 7}
    assert wire.count("sack_reneged") == 0


def test_a_receiver_that_reneged_is_found_out(wire, peer):
    """RFC 2018 8: what was reported must not be freed, nor believed for ever"""
    in_flight(peer)
    ack(peer, 0, block(1, 10))
    assert numbers(peer) == [0]
    wire.run(ms=RTT)
    ack(peer, 1)                            # the rest was thrown away
    start = wire.now_ns
    sent = []
    number = 1
    while number < 10:
        wire.run(ms=RTT)
        sent += numbers(peer)
        number = max(sent, default=0) + 1
        ack(peer, number)
    assert wire.count("sack_reneged") == 1
    assert set(sent) == set(range(1, 10))
    assert wire.now_ns - start < 200e6
    peer.expect_nothing(for_ms=5000)


def test_a_receiver_that_reneges_in_silence_is_found_out_by_the_timeout(wire, peer):
    """RFC 2018 8: the first segment is lost again, then the next one stands at SND.UNA"""
    in_flight(peer, segments=4)
    ack(peer, 0, block(1, 4))
    assert numbers(peer) == [0]
    wire.run(ms=1000)
    ack(peer, 1)
    sent = set(numbers(peer))
    for _ in range(20):
        wire.run(ms=50)
        sent |= set(numbers(peer))
    assert sent >= {0, 1}
    ack(peer, 4)
    peer.expect_nothing(for_ms=5000)


def test_duplicates_beyond_what_is_in_flight_let_nothing_out(wire, peer):
    """RFC 5681 3.2: an attacker's duplicate ACKs; each may stand for one segment that was in flight"""
    in_flight(peer, segments=400, sack_permitted=False)
    for _ in range(300):
        peer.send(ACK, ack=1)
    assert len(numbers(peer)) <= 10 + 2 + 1


def test_reports_of_what_was_never_sent_are_refused(wire, peer):
    """RFC 2018 4, RFC 4953 3.2"""
    conn = in_flight(peer)
    ack(peer, 0, block(5, 11), block(20, 30))
    assert wire.count("sack_refused") == 2
    assert conn.info()["sacked_bytes"] == 0
    assert numbers(peer) == []


def test_a_flood_of_random_reports_ends_well(wire, peer):
    """RFC 4953: the stream goes through whatever SACK blocks say on the way"""
    rng = random.Random(5)
    conn = in_flight(peer, segments=60)
    acked = 0
    got = set(range(10))
    for _ in range(400):
        got |= set(numbers(peer))
        blocks = [block(*sorted(rng.sample(range(70), 2))) for _ in range(4)]
        ack(peer, acked, *blocks[: rng.randint(0, 4)])
        wire.run(ms=rng.choice([0, 1, 5]))
    for _ in range(400):
        got |= set(numbers(peer))
        while acked in got and acked < 60:
            acked += 1
        ack(peer, acked)
        wire.run(ms=20)
    assert acked == 60
    assert conn.info()["flight_bytes"] == conn.info()["sacked_bytes"] == conn.info()["lost_bytes"] == 0
    peer.expect_nothing(for_ms=100_000)


def test_a_report_of_part_of_a_segment_counts_for_nothing(wire, peer):
    """RFC 2018 5: a segment is reported when all of it is"""
    conn = in_flight(peer)
    ack(peer, 0, (1500, 2500))
    assert conn.info()["sacked_bytes"] == 0


def test_an_old_acknowledgment_still_tells_what_arrived(wire, peer):
    """RFC 6675 5: SACK information in an ACK that was overtaken"""
    conn = in_flight(peer)
    ack(peer, 2)
    ack(peer, 1, block(5))
    assert conn.info()["sacked_bytes"] == MSS


def test_a_round_trip_is_not_timed_by_what_was_reported_long_ago(wire, peer):
    """RFC 6298 3: the sample ends with the first word of the segment's arrival"""
    conn = in_flight(peer)
    ack(peer, 0, block(1, 10))
    wire.run(ms=150)
    ack(peer, 10)
    assert conn.info()["rtt_us"] < 2 * RTT * 1000


def test_a_round_trip_is_not_timed_by_what_waited_behind_a_retransmission(wire, peer):
    """RFC 6298 3: its acknowledgment came so late because the hole before it was filled so late"""
    conn = in_flight(peer, sack_permitted=False)
    wire.run(ms=5000)
    ack(peer, 10)
    assert conn.info()["rtt_us"] < 2 * RTT * 1000
