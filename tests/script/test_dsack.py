"""Duplicates that are reported: by the stack to its peer, and by the peer to it (RFC 2883)."""

import pytest

from underpass.testing.flight import MSS, RTT, ack, block, in_flight, numbers, opened
from underpass.testing.peer import ACK, PSH

HUNDRED = bytes(100)


def receiving(peer, **options):
    """A connection on which the peer sends: octets 1..200 have come."""
    peer.open(sack_permitted=True, **options)
    peer.send(ACK | PSH, HUNDRED)
    peer.send(ACK | PSH, HUNDRED)
    peer.wire.run(ms=100)
    peer.drain()


def test_an_old_segment_is_reported(wire, peer):
    """RFC 2883 4.1.1: below the acknowledgment, in the first block"""
    receiving(peer)
    peer.send(ACK, HUNDRED, seq=1)
    peer.expect(ACK, ack=201, sack=((1, 101),))
    assert wire.count("duplicates_reported") == 1


def test_an_original_that_its_retransmission_overtook_is_reported(wire, peer):
    """RFC 7323 5.3 R1 refuses it for its timestamp; that it came twice is told nonetheless (RFC 2883 4)"""
    peer.timestamp = 1000
    receiving(peer, timestamps=(1000, 0))
    peer.send(ACK | PSH, HUNDRED, timestamps=(1005, peer.ts_recent))
    peer.drain()
    peer.send(ACK | PSH, HUNDRED, seq=201, timestamps=(1001, peer.ts_recent))
    peer.expect(ACK, ack=301, sack=((201, 301),))
    assert wire.count("paws_refused") == 1


def test_it_is_reported_once(wire, peer):
    """RFC 2883 4 (1)"""
    receiving(peer)
    peer.send(ACK, HUNDRED, seq=1)
    peer.expect(ACK, sack=((1, 101),))
    peer.send(ACK | PSH, HUNDRED)
    peer.expect(ACK, ack=301, sack=())


def test_the_old_part_of_a_segment_is_reported(wire, peer):
    """RFC 2883 4.2: partly new data"""
    receiving(peer)
    peer.send(ACK, bytes(150), seq=151)
    peer.expect(ACK, ack=301, sack=((151, 201),))


def test_a_duplicate_out_of_order_comes_before_the_block_that_holds_it(wire, peer):
    """RFC 2883 4.1.2"""
    receiving(peer)
    peer.send(ACK, HUNDRED, seq=301)
    peer.expect(ACK, ack=201, sack=((301, 401),))
    peer.send(ACK, HUNDRED, seq=401)
    peer.expect(ACK, sack=((301, 501),))
    peer.send(ACK, HUNDRED, seq=601)
    peer.expect(ACK, sack=((601, 701), (301, 501)))
    peer.send(ACK, HUNDRED, seq=401)
    peer.expect(ACK, ack=201, sack=((401, 501), (301, 501), (601, 701)))


def test_an_old_segment_beside_blocks(wire, peer):
    """RFC 2883 4.1.1: the blocks of RFC 2018 follow"""
    receiving(peer)
    peer.send(ACK, HUNDRED, seq=301)
    peer.expect(ACK)
    peer.send(ACK, HUNDRED, seq=101)
    peer.expect(ACK, ack=201, sack=((101, 201), (301, 401)))


def test_at_most_three_blocks_beside_timestamps(wire, peer):
    """RFC 2018 3: the option's room, the duplicate counted"""
    peer.timestamp = 5
    receiving(peer, timestamps=(5, 0))
    for start in (301, 501, 701):
        peer.send(ACK, HUNDRED, seq=start)
    peer.drain()
    peer.send(ACK, HUNDRED, seq=1)
    peer.expect(ACK, sack=((1, 101), (701, 801), (501, 601)))
    peer.send(ACK, HUNDRED, seq=901)
    peer.expect(ACK, sack=((901, 1001), (701, 801), (501, 601)))


def test_a_segment_over_a_hole_and_what_lies_behind_it(wire, peer):
    """RFC 2883 4.2: the part that was held already"""
    receiving(peer)
    peer.send(ACK, HUNDRED, seq=301)
    peer.expect(ACK)
    peer.send(ACK, bytes(200), seq=201)
    peer.expect(ACK, ack=401, sack=((301, 401),))


def test_each_old_segment_is_reported_though_they_come_together(wire, peer):
    """RFC 2883 4: a block tells of the packet that its acknowledgment answers"""
    receiving(peer)
    frames = [peer.make(ACK, HUNDRED, seq=seq).build() for seq in (1, 101)]
    wire.send_frame(*frames)
    peer.expect(ACK, ack=201, sack=((1, 101),))
    peer.expect(ACK, ack=201, sack=((101, 201),))


def test_without_sack_permitted_nothing_is_reported(wire, peer):
    """RFC 2883 4: an extension of the SACK option"""
    peer.open()
    peer.send(ACK | PSH, HUNDRED)
    wire.run(ms=100)
    peer.drain()
    peer.send(ACK, HUNDRED, seq=1)
    peer.expect(ACK, ack=101, sack=())


def test_a_keepalive_probe_with_an_old_octet_is_reported(wire, peer):
    """RFC 2883 4.1.1, RFC 9293 3.8.4"""
    receiving(peer)
    peer.send(ACK, b"\0", seq=200)
    peer.expect(ACK, ack=201, sack=((200, 201),))


# ---- reports of the peer


def test_a_report_is_counted_once(wire, peer):
    """RFC 3708 3: what was sent again for nothing; a duplicated ACK is not a second report"""
    in_flight(peer)
    ack(peer, 0, block(1, 4))
    assert numbers(peer) == [0]
    for _ in range(3):
        ack(peer, 10, block(0))
    assert wire.count("spurious_retransmits") == 1


@pytest.mark.parametrize("blocks", [(block(0),), (block(3), block(2, 5))], ids=["below", "within the second"])
def test_a_report_marks_nothing_as_delivered(wire, peer, blocks):
    """RFC 2883 4.1, RFC 6675 1"""
    conn = in_flight(peer)
    ack(peer, 1, block(2, 5))
    ack(peer, 1, *blocks)
    assert conn.info()["sacked_bytes"] == 3 * MSS


def test_a_report_of_what_was_sent_once_is_the_networks_doing(wire, peer):
    """RFC 3708 3: duplicated in the network, no reason to change anything"""
    conn = in_flight(peer)
    ack(peer, 5)
    ack(peer, 5, block(2))
    assert wire.count("spurious_retransmits") == 0
    conn.send(bytes(5 * MSS))
    numbers(peer)
    wire.run(ms=RTT)
    ack(peer, 5, block(6, 10))
    assert numbers(peer)[0] == 5, "no reordering is assumed"


@pytest.mark.parametrize("start", [-70_000, 9])
def test_a_report_of_what_cannot_be_is_ignored(wire, peer, start):
    """RFC 3708 3: older than any window, or never sent"""
    in_flight(peer)
    ack(peer, 0, block(1, 4))
    numbers(peer)
    ack(peer, 4, (start, 1001) if start > 0 else (start % 2**32, (start + 1000) % 2**32))
    assert wire.count("spurious_retransmits") == (1 if start > 0 else 0)


def test_a_connection_without_loss_reports_nothing(wire, peer):
    """RFC 2883: no SACK option where nothing came twice or out of order"""
    conn = opened(peer, segments=5)
    for number in range(1, 6):
        ack(peer, number)
        peer.send(ACK | PSH, HUNDRED)
        conn.recv()
    assert all(seg.sack == () for seg in peer.drain())
