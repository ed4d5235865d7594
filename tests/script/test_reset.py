"""Resets and intruders: RFC 9293 3.5.2, 3.10.7.4 and RFC 5961."""

import errno

import pytest

from underpass.testing.peer import ACK, PSH, RST, SYN


def error_of(call, *arguments):
    with pytest.raises(OSError) as raised:
        call(*arguments)
    return raised.value.errno


def test_a_reset_at_rcv_nxt_resets(wire, peer):
    """RFC 5961 3.2 (1)"""
    conn = peer.open()
    peer.send(RST)
    peer.expect_nothing(for_ms=1000)
    assert wire.host.was_closed(conn)
    assert error_of(conn.recv) == errno.ECONNRESET
    assert wire.count("resets_in") == 1


def test_another_reset_in_the_window_is_challenged(wire, peer):
    """RFC 5961 3.2 (2)"""
    conn = peer.open()
    peer.send(RST, seq=2)
    peer.expect(ACK, seq=1, ack=1)
    assert conn.state == "ESTABLISHED"
    assert wire.count("in_window_reset") == wire.count("challenge_acks") == 1
    peer.send(RST, seq=1)
    assert wire.host.was_closed(conn)


@pytest.mark.parametrize("seq", [0, -1000, 2**30])
def test_a_reset_outside_the_window_is_dropped(wire, peer, seq):
    """RFC 5961 3.2 (3)"""
    conn = peer.open()
    peer.send(RST, seq=seq)
    peer.send(RST | ACK, seq=seq)
    peer.expect_nothing(for_ms=1000)
    assert conn.state == "ESTABLISHED"


def test_a_reset_in_syn_received_returns_to_listen(wire, peer):
    """RFC 9293 3.10.7.4, second: a passive open is forgotten without a word"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    peer.send(RST)
    peer.expect_nothing(for_ms=5000)
    assert wire.host.seen == []
    assert wire.host.is_idle()


@pytest.mark.parametrize("seq", [0, 1, 100])
def test_a_syn_on_a_connection_is_challenged(wire, peer, seq):
    """RFC 5961 4.2"""
    conn = peer.open()
    peer.send(SYN, seq=seq, mss=1460)
    peer.expect(ACK, seq=1, ack=1)
    assert conn.state == "ESTABLISHED"
    peer.send(ACK | PSH, b"still here", seq=1)
    assert conn.recv() == b"still here"


@pytest.mark.parametrize("ack", [2, 1000, -200_000])
def test_an_ack_out_of_range_is_challenged_and_its_data_dropped(wire, peer, ack):
    """RFC 5961 5.2"""
    conn = peer.open()
    peer.send(ACK | PSH, b"evil", seq=1, ack=ack)
    peer.expect(ACK, seq=1, ack=1)
    assert error_of(conn.recv) == errno.EAGAIN
    assert wire.count("ack_refused") == 1


def test_an_old_ack_within_range_is_good(wire, peer):
    """RFC 5961 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK"""
    conn = peer.open()
    conn.send(b"12345")
    peer.expect(ACK, payload=b"12345")
    peer.send(ACK, ack=6)
    peer.send(ACK | PSH, b"data", ack=1)
    assert conn.recv() == b"data"


def test_an_ack_out_of_range_in_syn_received_is_reset(wire, peer):
    """RFC 9293 3.10.7.4, fifth"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    peer.send(ACK, ack=5)
    peer.expect(RST, seq=5)
    peer.send(ACK, ack=1)
    assert len(wire.accepted()) == 1


@pytest.mark.wire(challenge_acks_ps=10)
def test_challenge_acks_are_limited_in_all(wire):
    """RFC 5961 7"""
    peers = [wire.peer(port=port) for port in range(1000, 1100)]
    for peer in peers:
        peer.open()
    for peer in peers:
        peer.send(RST, seq=2)
    assert 5 <= sum(len(peer.drain()) for peer in peers) <= 15
    assert wire.count("challenge_limited") >= 85
    wire.run(ms=1000)
    peers[0].send(RST, seq=2)
    peers[0].expect(ACK)


def test_a_connection_answers_one_bad_segment_in_half_a_second(wire, peer):
    """RFC 5961 7: two sides that take each other's numbers for wrong do not answer each other for ever"""
    peer.open()
    for _ in range(100):
        peer.send(RST, seq=2)
        peer.send(SYN, seq=1, mss=1460)
        peer.send(ACK, seq=2**30)
        peer.send(ACK, seq=0)
    assert len(peer.drain()) == 1
    assert wire.count("answer_limited") == 399
    wire.run(ms=500)
    peer.send(ACK, seq=0)
    peer.expect(ACK, seq=1, ack=1)


def test_a_segment_outside_the_window_is_answered_with_an_ack(wire, peer):
    """RFC 9293 3.10.7.4, first"""
    peer.open()
    peer.send(ACK | PSH, b"x", seq=2**30)
    peer.expect(ACK, seq=1, ack=1)
    peer.send(ACK | PSH, b"x", seq=-1)
    peer.expect(ACK, seq=1, ack=1)
    assert wire.count("out_of_window") == 2


def test_a_segment_without_ack_is_dropped(wire, peer):
    """RFC 9293 3.10.7.4, fifth"""
    conn = peer.open()
    peer.send(PSH, b"x", seq=1)
    peer.expect_nothing(for_ms=1000)
    assert error_of(conn.recv) == errno.EAGAIN


def test_old_timestamps_are_refused(wire, peer):
    """RFC 7323 5.3 R1: PAWS"""
    peer.timestamp = 1000
    conn = peer.open()
    peer.send(ACK | PSH, b"one")
    peer.expect(ACK, ack=4)
    peer.timestamp = 999
    peer.send(ACK | PSH, b"old", seq=4)
    peer.expect(ACK, ack=4)
    assert wire.count("paws_refused") == 1
    peer.timestamp = 1001
    peer.send(ACK | PSH, b"new", seq=4)
    peer.expect(ACK, ack=7, timestamps=lambda stamps: stamps[1] == 1001)
    assert conn.recv() == b"onenew"


def test_abort_sends_a_reset(wire, peer):
    """RFC 9293 3.10.5"""
    conn = peer.open()
    conn.abort()
    peer.expect(RST | ACK, seq=1)
    wire.settle()
    assert wire.host.is_idle()


def test_closing_with_unread_data_is_a_reset(wire, peer):
    """RFC 2525 2.17, RFC 9293 3.6.1"""
    conn = peer.open()
    peer.send(ACK | PSH, b"never read")
    peer.expect(ACK)
    conn.close()
    assert RST in peer.expect().flags
    assert wire.host.is_idle()


def test_data_for_a_closed_connection_is_reset(wire, peer):
    """RFC 9293 3.6.1: nobody will read it"""
    conn = peer.open()
    conn.close()
    peer.expect(ACK | 1)
    peer.send(ACK)
    peer.send(ACK | PSH, b"too late")
    assert RST in peer.expect().flags
    assert wire.count("after_close") == 1
    assert wire.host.is_idle()
