"""Urgent data (RFC 9293 3.8.5, RFC 6093): delivered in line, with a mark of how far it goes."""

import socket

import pytest

import underpass
from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, FIN, PSH, SYN

URG = Flags.URG


def told(wire, conn):
    """How often the application was told of urgent data."""
    return sum(bool(ready & underpass.URGENT) for other, ready in wire.host.seen if other is conn)


def test_the_pointer_is_of_the_octet_behind_the_urgent_ones(wire, peer):
    """RFC 9293 3.8.5, MUST-62, RFC 6093 2.1"""
    conn = peer.open()
    peer.send(ACK | PSH | URG, b"urgent and not", urgent=6)
    assert conn.urgent == 6
    assert conn.recv(6) == b"urgent"
    assert conn.urgent == 0
    assert conn.recv() == b" and not"


def test_the_application_hears_of_it_before_the_octets_come(wire, peer):
    """RFC 9293 3.8.5, MUST-32, MUST-33: at once, and how much is still to be read"""
    conn = peer.open()
    peer.send(ACK | URG, urgent=100)
    assert told(wire, conn) == 1
    assert conn.urgent == 100
    peer.send(ACK | PSH, bytes(60))
    conn.recv(10)
    assert conn.urgent == 90


@pytest.mark.parametrize(("second", "times"), [(1, 1), (2, 1), (9, 2)])
def test_it_hears_again_only_where_the_pointer_moves_on(wire, peer, second, times):
    """RFC 9293 3.10.7.4, sixth: RCV.UP <- max(RCV.UP, SEG.UP)"""
    conn = peer.open()
    peer.send(ACK | PSH | URG, b"0123456789", urgent=12)
    peer.send(ACK | URG, urgent=second)
    assert told(wire, conn) == times
    assert conn.urgent == max(12, 10 + second)


def test_urgent_data_may_be_of_any_length(wire, peer):
    """RFC 9293 3.8.5, MUST-31: beyond what one pointer can tell"""
    conn = peer.open(window_scale=3)
    read = 0
    for at in range(0, 140_000, 1400):
        peer.send(ACK | URG, bytes(1400), urgent=min(140_000 - at, 65535))
        read += len(conn.recv())
        assert conn.urgent == min(140_000, at + 65535) - read
    assert conn.urgent == 0
    assert told(wire, conn) > 1


def test_what_was_read_before_is_not_urgent(wire, peer):
    """RFC 9293 3.8.5, MUST-33"""
    conn = peer.open()
    peer.send(ACK | PSH, b"read")
    assert conn.recv() == b"read"
    peer.send(ACK | URG, seq=1, urgent=4)
    assert conn.urgent == 0
    assert told(wire, conn) == 0


@pytest.mark.wire(rcv_bytes=2048)
def test_a_closed_window_lets_the_pointer_pass(wire, peer):
    """RFC 9293 3.10.7.4, MUST-66"""
    conn = peer.open()
    while (left := peer.expect(ACK).window if peer.snd_nxt > 1 else 1000) > 0:
        peer.send(ACK | PSH, bytes(min(left, 1000)))
    peer.send(ACK | URG, urgent=7)
    assert told(wire, conn) == 1
    assert conn.urgent == peer.snd_nxt - 1 + 7


def test_after_the_peers_fin_the_pointer_is_ignored(wire, peer):
    """RFC 9293 3.10.7.4, sixth: this should not occur in CLOSE-WAIT"""
    conn = peer.open()
    peer.send(ACK | FIN)
    peer.send(ACK | URG, urgent=9)
    assert conn.state == "CLOSE-WAIT"
    assert conn.urgent == 0
    assert told(wire, conn) == 0


def test_the_numbers_may_wrap(wire):
    """RFC 9293 3.4"""
    peer = wire.peer(iss=2**32 - 5)
    conn = peer.open()
    peer.send(ACK | PSH | URG, b"across the wrap", urgent=15)
    assert conn.urgent == 15
    conn.recv()
    assert conn.urgent == 0


def test_an_application_that_is_silent_on_it_loses_nothing(wire, peer):
    """RFC 6093 6: the octets stay in the stream"""
    conn = peer.open()
    peer.send(ACK | PSH | URG, b"oob", urgent=3)
    peer.send(ACK | PSH, b" in line")
    assert conn.recv() == b"oob in line"


def test_our_segments_carry_flag_and_pointer_up_to_the_end(wire, peer):
    """RFC 9293 3.8.5, MUST-30, MUST-62"""
    conn = peer.open(mss=1000)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.send(b"-" * 500)
    peer.expect(ACK, urgent=0)
    peer.send(ACK)
    conn.send_urgent(b"!" * 2500)
    for pointer in (2500, 1500, 500):
        seg = peer.expect(ACK | URG, urgent=pointer)
        assert seg.payload.strip(b"!") == b""
    peer.send(ACK)
    conn.send(b"later")
    peer.expect(ACK, urgent=0, payload=b"later")


def test_what_is_sent_again_is_urgent_still(wire, peer):
    """RFC 9293 3.8.5, MUST-30"""
    conn = peer.open()
    conn.send_urgent(b"now")
    peer.expect(ACK | URG, urgent=3, payload=b"now")
    peer.expect(ACK | URG, urgent=3, payload=b"now", within_ms=2000)


def test_a_pointer_that_is_too_far_says_as_much_as_it_can(wire, peer):
    """RFC 9293 3.8.5, MUST-31: the field has 16 bits, and later segments say the rest"""
    conn = peer.open(window_scale=3, window=65535)
    conn.send_urgent(bytes(100_000))
    assert peer.expect(ACK | URG).urgent == 65535


def test_urgent_data_in_a_handshake_is_nobodys(wire, peer):
    """RFC 9293 3.10.7.3, 3.10.7.4, sixth"""
    peer.send(SYN | URG, mss=1460, urgent=5)
    peer.expect(SYN | ACK)
    peer.send(ACK)
    (conn,) = wire.accepted()
    assert conn.urgent == 0
