"""Proportional rate reduction (RFC 6937, draft-ietf-tcpm-prr-rfc6937bis)."""

import socket

from underpass.testing.flight import MSS, RTT, ack, block, in_flight, numbers
from underpass.testing.peer import ACK


def halving(peer):
    """Ten of sixty segments in flight, and a congestion control that halves its window."""
    conn = in_flight(peer, segments=60)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "reno")
    return conn


def reported(peer, behind):
    """Report segments 1..behind - 1; returns how many segments that let out."""
    ack(peer, 0, block(1, behind))
    return numbers(peer)


def test_in_recovery_segments_leave_in_proportion_to_those_delivered(wire, peer):
    """RFC 6937 3.1: neither silence for half a round trip nor a burst"""
    conn = halving(peer)
    sent = [reported(peer, behind) for behind in range(2, 11)]
    # Two acknowledgments each let one segment out (RFC 3042); the third starts recovery.
    assert sent[:3] == [[10], [11], [0]]
    # RFC 5681 3.2, step 2: half of ten; what limited transmit sent does not count.
    assert conn.info()["ssthresh_bytes"] == 5 * MSS
    later = sent[3:]
    assert all(len(segments) <= 1 for segments in later)
    assert sum(map(len, sent[2:])) == 7 * 5 // 10, "seven of ten delivered, five of ten may be in flight"


def test_the_window_comes_down_to_the_threshold(wire, peer):
    """RFC 6937 3.1: at the end of recovery pipe is about ssthresh"""
    conn = halving(peer)
    highest = 9
    for behind in range(2, 12):
        highest = max([highest, *reported(peer, behind)])
    info = conn.info()
    assert info["pipe_bytes"] <= info["ssthresh_bytes"] + 2 * MSS
    wire.run(ms=RTT)
    ack(peer, highest + 1)
    info = conn.info()
    assert 0 <= info["cwnd_bytes"] - info["ssthresh_bytes"] <= MSS


def test_the_first_retransmission_does_not_wait_for_the_window(wire, peer):
    """RFC 6937 3.1: a fast retransmission is forced upon entering recovery"""
    in_flight(peer)
    ack(peer, 0, block(1))
    wire.run(ms=RTT / 4 + 2)                # the reordering timer, while nine tenths are in flight
    assert numbers(peer) == [0]


def test_after_heavy_loss_there_is_no_burst(wire, peer):
    """RFC 6937 3.1, PRR-CRB: with little in flight, what is delivered lets as much out"""
    conn = in_flight(peer, segments=60)
    ack(peer, 0, block(7, 10))              # seven of ten lost, three delivered at once
    assert conn.info()["lost_bytes"] == 7 * MSS
    assert len(numbers(peer)) == 3


def test_an_acknowledgment_that_advances_safely_lets_one_more_out(wire, peer):
    """draft-ietf-tcpm-prr-rfc6937bis 6.2: SafeACK, PRR-SSRB"""
    in_flight(peer, segments=60)
    ack(peer, 0, block(7, 10))
    assert numbers(peer) == [0, 1, 2]
    wire.run(ms=RTT)
    ack(peer, 1, block(7, 10))
    assert len(numbers(peer)) == 2
    ack(peer, 2, block(7, 10))
    assert len(numbers(peer)) == 2


def test_one_acknowledgment_of_many_segments_is_met_in_proportion(wire, peer):
    """RFC 6937 3: stretch ACKs and lost ACKs do no harm"""
    conn = halving(peer)
    assert reported(peer, 4) == [0]
    sent = reported(peer, 10)
    assert 0 < len(sent) <= 4
    assert conn.info()["pipe_bytes"] <= conn.info()["ssthresh_bytes"]


def test_an_acknowledgment_that_delivers_nothing_lets_nothing_out(wire, peer):
    """RFC 6937 3.1: DeliveredData 0"""
    in_flight(peer, segments=60)
    for behind in range(2, 6):
        reported(peer, behind)
    for _ in range(20):
        assert reported(peer, 5) == []


def test_without_sack_the_window_is_halved_as_rfc_6582_says(wire, peer):
    """RFC 6582 3.2, RFC 5681 3.2: duplicate ACKs inflate it, a new one deflates it"""
    conn = in_flight(peer, segments=60, sack_permitted=False)
    for _ in range(3):
        ack(peer, 0)
    numbers(peer)
    assert conn.info()["cwnd_bytes"] == conn.info()["ssthresh_bytes"]


def batch(wire, peer, *acks):
    """Acknowledgments that are taken in together: (segment acknowledged up to, SACK blocks)."""
    frames = [peer.make(ACK, ack=1 + MSS * number, sack=blocks).build() for number, blocks in acks]
    wire.send_frame(*frames)


def test_a_loss_told_at_the_end_of_a_batch_reduces_the_window_that_was_used(wire, peer):
    """RFC 9438 4.6, RFC 5681 3.1: not what the batch's first acknowledgments have left in flight"""
    conn = in_flight(peer, segments=200)
    used = conn.info()["cwnd_bytes"]
    arrived = [(number, ()) for number in range(1, 7)]
    batch(wire, peer, *arrived, (6, (block(7),)), (6, (block(7, 9),)), (6, (block(7, 10),)))
    info = conn.info()
    grown = used + 6 * MSS                  # slow start
    assert info["recovery"] == "recovery"
    assert info["ssthresh_bytes"] == grown * 7 // 10


def test_what_a_batch_made_room_for_leaves_in_recovery_too(wire, peer):
    """RFC 6937 3.1: as had each acknowledgment been answered by itself, pipe is about ssthresh"""
    conn = in_flight(peer, segments=200)
    arrived = [(number, ()) for number in range(1, 7)]
    batch(wire, peer, *arrived, (6, (block(7),)), (6, (block(7, 9),)), (6, (block(7, 10),)))
    info = conn.info()
    assert abs(info["pipe_bytes"] - info["ssthresh_bytes"]) <= MSS
    assert numbers(peer)[0] == 6


def test_a_sender_that_had_no_more_is_reduced_by_what_was_in_flight(wire, peer):
    """RFC 5681 3.1: FlightSize, for the window was not used up"""
    conn = in_flight(peer, segments=8)
    batch(wire, peer, (1, ()), (2, ()), (2, (block(3),)), (2, (block(3, 5),)), (2, (block(3, 6),)))
    assert conn.info()["ssthresh_bytes"] <= 6 * MSS
