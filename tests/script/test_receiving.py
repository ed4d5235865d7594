"""Receiving: order, acknowledgments, windows, games (RFC 9293 3.8.6, RFC 5681 4.2, RFC 2018)."""

import errno

import pytest

from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, FIN, PSH, SYN

SEGMENT = bytes(range(250)) * 4


def would_block(conn):
    with pytest.raises(OSError) as raised:
        conn.recv()
    return raised.value.errno == errno.EAGAIN


def read_all(conn):
    octets = b""
    try:
        while part := conn.recv():
            octets += part
    except BlockingIOError:
        pass
    return octets


def past_quick_acks(peer, conn, count=20):
    """Take the connection to where acknowledgments are delayed."""
    for _ in range(count):
        peer.send(ACK | PSH, b"x")
    peer.wire.run(ms=500)
    read_all(conn)
    peer.drain()


def test_out_of_order_data_is_acknowledged_at_once_with_sack(wire, peer):
    """RFC 5681 4.2, RFC 2018 4: the newest block first"""
    conn = peer.open(sack_permitted=True)
    peer.send(ACK, SEGMENT, seq=1001)
    peer.expect(ACK, ack=1, sack=((1001, 2001),))
    peer.send(ACK, SEGMENT, seq=3001)
    peer.expect(ACK, ack=1, sack=((3001, 4001), (1001, 2001)))
    peer.send(ACK, SEGMENT, seq=2001)
    peer.expect(ACK, ack=1, sack=((1001, 4001),))
    assert would_block(conn)
    peer.send(ACK, SEGMENT, seq=1)
    peer.expect(ACK, ack=4001, sack=())
    assert read_all(conn) == SEGMENT * 4


@pytest.mark.parametrize("options", [{}, {"sack_permitted": True}])
def test_each_segment_out_of_order_has_its_own_acknowledgment(wire, peer, options):
    """RFC 5681 3.2, 4.2: of segments that come together, too: their sender counts duplicates"""
    peer.open(**options)
    together = [peer.make(ACK, SEGMENT, seq=1 + 1000 * number) for number in (1, 2, 3)]
    wire.send_frame(*(seg.build() for seg in together))
    assert [seg.ack for seg in peer.drain()] == [1, 1, 1]


def together(wire, peer, numbers):
    """Segments by number in one batch; the acknowledgments that it is answered with."""
    wire.send_frame(*(peer.make(ACK, SEGMENT, seq=1 + 1000 * number).build() for number in numbers))
    return peer.drain()


def test_behind_a_gap_one_acknowledgment_tells_of_a_batch(wire, peer):
    """RFC 5681 4.2, RFC 2018 4: after a few that a sender counts, of what lengthens the newest block"""
    peer.open(sack_permitted=True)
    answers = together(wire, peer, range(1, 31))
    assert [seg.sack for seg in answers] == [((1001, end),) for end in (2001, 3001, 4001, 5001, 31001)]


def test_without_sack_every_one_is_acknowledged(wire, peer):
    """RFC 5681 3.2: duplicates are all that the sender has to count"""
    peer.open()
    assert len(together(wire, peer, range(1, 31))) == 30


def test_a_new_block_is_told_at_once_in_a_batch_too(wire, peer):
    """RFC 2018 4: the first block is the one that the newest segment is in; more than fit would be lost"""
    peer.open(sack_permitted=True)
    together(wire, peer, range(1, 9))
    answers = together(wire, peer, (9, 11, 12, 14, 15))
    assert [seg.sack[0] for seg in answers] == [(11001, 12001), (14001, 15001), (14001, 16001)]


def test_a_duplicate_behind_a_gap_is_told_at_once(wire, peer):
    """RFC 2883 4: each by its own"""
    peer.open(sack_permitted=True)
    together(wire, peer, range(1, 9))
    answers = together(wire, peer, (3, 4))
    assert [seg.sack[0] for seg in answers] == [(3001, 4001), (4001, 5001)]


def test_on_a_long_way_an_acknowledgment_waits_for_others(wire, peer):
    """RFC 5681 4.2; Linux: tcp_comp_sack_delay_ns: a twentieth of the round trip, a millisecond at most"""
    peer.open(rtt_ms=40, sack_permitted=True)
    together(wire, peer, range(1, 6))
    peer.send(ACK, SEGMENT, seq=6001)
    peer.expect_nothing(for_ms=0.5)
    peer.send(ACK, SEGMENT, seq=7001)
    peer.expect(ACK, ack=1, sack=((1001, 8001),), within_ms=3)
    peer.send(ACK, SEGMENT, seq=8001)
    peer.send(ACK, SEGMENT, seq=1)
    peer.expect(ACK, ack=9001, sack=(), within_ms=0)


def test_a_long_batch_is_told_in_parts(wire, peer):
    """RFC 5681 4.2: of so many segments one acknowledgment at least, however long the way"""
    peer.open(rtt_ms=40, sack_permitted=True, window=65535)
    answers = together(wire, peer, range(1, 61))
    assert [seg.sack[0][1] for seg in answers][4:] == [(1 + 3 + 44 + 1 + 1) * 1000 + 1]


def test_no_sack_blocks_for_a_peer_that_did_not_permit_them(wire, peer):
    """RFC 2018 2"""
    peer.open()
    peer.send(ACK, SEGMENT, seq=1001)
    peer.expect(ACK, ack=1, sack=())


def test_three_blocks_fit_beside_timestamps(wire, peer):
    """RFC 2018 3"""
    peer.timestamp = 5
    peer.open(sack_permitted=True)
    for seq in (2001, 4001, 6001, 8001):
        peer.send(ACK, SEGMENT, seq=seq)
    assert peer.drain()[-1].sack == ((8001, 9001), (6001, 7001), (4001, 5001))


@pytest.mark.parametrize("order", [(1, 501, 251), (501, 1, 251), (251, 1, 501), (1, 1, 501), (501, 501, 1)])
def test_overlapping_segments_make_one_stream(wire, peer, order):
    """RFC 9293 3.10.7.4, seventh: only what is new is taken"""
    conn = peer.open()
    stream = bytes(i % 251 for i in range(1400))
    for seq in order:
        peer.send(ACK, stream[seq - 1 : seq + 749], seq=seq)
    peer.send(ACK, stream, seq=1)
    assert read_all(conn) == stream


def test_the_first_octets_that_came_count(wire, peer):
    """RFC 9293 3.10.7.4, seventh: what is held is not replaced by another copy of its numbers"""
    conn = peer.open()
    peer.send(ACK, b"BBBB", seq=5)
    peer.send(ACK, b"cccccccc", seq=3)
    peer.send(ACK, b"aa", seq=1)
    assert read_all(conn)[4:8] == b"BBBB"


def test_every_second_full_segment_is_acknowledged_at_once(wire, peer):
    """RFC 5681 4.2, RFC 9293 3.8.6.3"""
    conn = peer.open(mss=1000)
    past_quick_acks(peer, conn)
    acks = 0
    for _ in range(10):
        peer.send(ACK, SEGMENT)
        acks += len(peer.drain())
        read_all(conn)
    assert acks == 5


def test_a_single_segment_is_acknowledged_within_the_limit(wire, peer):
    """RFC 9293 3.8.6.3: less than 0.5 seconds"""
    conn = peer.open()
    past_quick_acks(peer, conn)
    peer.send(ACK | PSH, b"one")
    peer.expect_nothing()
    peer.expect(ACK, ack=peer.snd_nxt, within_ms=499)
    assert wire.count("delayed_acks") >= 1


def answered_at_once(peer, count):
    """How many of so many segments, each sent alone, are acknowledged without delay."""
    acks = 0
    for _ in range(count):
        peer.send(ACK | PSH, b"x")
        acks += len(peer.drain())
        peer.wire.run(ms=100)
        peer.drain()
    return acks


def test_after_a_loss_single_segments_are_acknowledged_at_once(wire, peer):
    """RFC 5681 4.2: a sender whose window has shrunk to one segment is not kept waiting"""
    conn = peer.open(sack_permitted=True)
    past_quick_acks(peer, conn)
    assert answered_at_once(peer, 4) == 0
    peer.send(ACK, b"b", seq=peer.snd_nxt + 1)
    peer.send(ACK, b"a", seq=peer.snd_nxt)
    peer.snd_nxt += 2
    peer.drain()
    assert answered_at_once(peer, 20) in (15, 16)


def test_after_a_duplicate_single_segments_are_acknowledged_at_once(wire, peer):
    """RFC 5681 4.2: the peer's timer has fired, so its window is one segment"""
    conn = peer.open()
    past_quick_acks(peer, conn)
    peer.send(ACK | PSH, b"x", seq=peer.snd_nxt - 1)
    peer.drain()
    assert answered_at_once(peer, 20) in (15, 16)


def test_an_answer_carries_the_acknowledgment(wire, peer):
    """RFC 9293 3.10.7.4, seventh: piggybacked where possible"""
    conn = peer.open()
    past_quick_acks(peer, conn)
    peer.send(ACK | PSH, b"question")
    conn.send(conn.recv().upper())
    peer.expect(ACK, payload=b"QUESTION", ack=peer.snd_nxt)
    peer.expect_nothing(for_ms=150)


def test_urgent_data_is_ordinary_data(wire, peer):
    """RFC 6093 6"""
    conn = peer.open()
    peer.send(ACK | PSH | Flags.URG, b"urgent", urgent=3)
    assert conn.recv() == b"urgent"
    assert wire.count("urgent_in") == 1


@pytest.mark.wire(rcv_bytes=16384)
def test_the_window_closes_and_never_shrinks_and_opens_again(wire, peer):
    """RFC 9293 3.8.6: the right edge stays or moves on; 3.8.6.2.2: by a segment or half the buffer"""
    conn = peer.open()
    edge = 0
    while True:
        ack = peer.expect(ACK) if peer.snd_nxt > 1 else None
        if ack is not None:
            assert ack.ack + ack.window >= edge
            edge = ack.ack + ack.window
            if ack.window < 1000:
                break
        peer.send(ACK, SEGMENT)
    assert edge - 1 <= 16384 + 1460
    peer.send(ACK, b"probe", seq=edge)
    peer.expect(ACK, ack=peer.snd_nxt)
    conn.recv(100)
    peer.expect_nothing(for_ms=1000)
    read_all(conn)
    opened = peer.expect(ACK)
    assert opened.window >= 8192


@pytest.mark.wire(rcv_bytes=8192)
def test_an_ack_is_taken_from_a_segment_that_the_closed_window_refuses(wire, peer):
    """RFC 9293 3.10.7.4: special allowance for valid ACKs where RCV.WND is zero"""
    conn = peer.open()
    while (left := peer.expect(ACK).window if peer.snd_nxt > 1 else 1000) > 0:
        peer.send(ACK, SEGMENT[:left])
    conn.send(b"ours")
    peer.expect(ACK, payload=b"ours", window=0)
    peer.send(ACK, b"z", seq=peer.snd_nxt)
    wire.run(ms=10)
    peer.drain()
    peer.expect_nothing(for_ms=5000)
    assert wire.count("retransmits") == 0


def test_data_beyond_the_window_is_cut(wire, peer):
    """RFC 9293 3.10.7.4, first: segments with higher beginnings wait, and what lies outside is trimmed"""
    conn = peer.open(window_scale=0)
    window = 65535
    sent = b""
    while len(sent) < 70_000:
        part = bytes([len(sent) % 251]) * 1400
        peer.send(ACK, part)
        sent += part
    got = read_all(conn)
    assert sent.startswith(got)
    assert len(got) >= window - 1400


@pytest.mark.wire(frames=512, rcv_bytes=65536)
def test_a_peer_of_one_octet_segments_does_not_starve_the_pool(wire, peer):
    """RFC 9293 7: small payloads are copied together, 4,000 segments take few frames"""
    conn = peer.open()
    frames = wire.host.link.frames
    for i in range(4000):
        peer.send(ACK | PSH, bytes([i % 251]))
    assert frames.count - frames.free < 32
    assert read_all(conn) == bytes(i % 251 for i in range(4000))
    assert frames.free == frames.count


@pytest.mark.wire(frames=512, rcv_bytes=262144)
def test_peers_with_holes_of_one_octet_do_not_starve_the_pool(wire):
    """RFC 9293 7: octets that cannot be copied together are limited and counted, and others are served"""
    for port in range(100, 120):
        peer = wire.peer(port=port)
        peer.open(window_scale=2)
        for i in range(100):
            peer.send(ACK | PSH, b"x", seq=2 + 2 * i)
    assert wire.count("ooo_limit") > 0
    frames = wire.host.link.frames
    assert frames.free >= frames.count // 16
    other = wire.peer(port=99)
    conn = other.open()
    other.send(ACK | PSH, b"served")
    assert read_all(conn) == b"served"


@pytest.mark.wire(ooo_frames=8)
def test_out_of_order_data_is_limited(wire, peer):
    """RFC 9293 3.10.7.4, SHLD-31: it is kept within bounds"""
    conn = peer.open()
    for i in range(20):
        peer.send(ACK, SEGMENT, seq=1001 + 2000 * i)
    assert wire.count("ooo_limit") >= 11
    peer.drain()
    for i in range(40):
        peer.send(ACK, SEGMENT, seq=1 + 1000 * i)
    assert read_all(conn) == SEGMENT * 40


def test_data_before_the_handshake_is_complete(wire, peer):
    """RFC 9293 3.10.7.4: the ACK of the handshake may carry data, and FIN"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    peer.send(ACK | PSH | FIN, b"all at once")
    (conn,) = wire.accepted()
    assert conn.recv() == b"all at once"
    assert conn.recv() == b""
    peer.expect(ACK, ack=13)


def test_a_duplicate_is_acknowledged_at_once(wire, peer):
    """RFC 9293 3.10.7.4, first"""
    conn = peer.open()
    peer.send(ACK | PSH, b"data")
    peer.drain()
    peer.send(ACK | PSH, b"data", seq=1)
    peer.expect(ACK, ack=5)
    assert read_all(conn) == b"data"


def test_text_behind_the_fin_is_dropped(wire, peer):
    """RFC 9293 3.10.7.4, eighth: nothing follows FIN; what came beyond it is neither kept nor reported"""
    peer.open(sack_permitted=True)
    free = wire.host.link.frames.free
    peer.send(ACK, SEGMENT, seq=2)
    peer.expect(ACK, ack=1, sack=((2, 1002),))
    peer.send(ACK | FIN, seq=1)
    peer.expect(ACK, ack=2, sack=())
    assert wire.host.link.frames.free == free
