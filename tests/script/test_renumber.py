"""Our addresses change while connections are open; nothing leaves from one that went (RFC 1122 3.2.1.3)."""

import errno

import pytest

from underpass.testing.peer import ACK, FIN, PSH, SYN

OURS = [("10.0.0.1", 24), ("fd00::1", 64)]
OTHER = [("10.0.0.77", 24), ("fd00::1", 64)]


def test_a_connection_of_an_address_that_went_is_silent_and_goes_on_when_it_is_back(wire, peer):
    conn = peer.open()
    conn.send(b"before")
    peer.expect(ACK | PSH, payload=b"before")
    peer.send(ACK)
    wire.stack.set_addresses(OTHER)
    conn.send(b"meanwhile")
    peer.expect_nothing(for_ms=5000)
    assert conn.state == "ESTABLISHED" and wire.count("no_neighbour") > 0
    peer.send(ACK | PSH, b"hello")                  # where it comes at all, it is not answered
    peer.expect_nothing(for_ms=5000)
    wire.stack.set_addresses(OURS)
    wire.settle()
    peer.expect(ACK, payload=b"meanwhile", seq=7, ack=6, within_ms=0)
    assert conn.recv() == b"hello"
    conn.close()
    peer.expect(FIN | ACK)


def test_what_was_in_flight_is_sent_again_when_the_address_is_back(wire, peer):
    conn = peer.open()
    conn.send(b"x" * 2920)
    wire.settle()
    peer.drain()
    wire.stack.set_addresses(OTHER)
    peer.expect_nothing(for_ms=3000)
    wire.stack.set_addresses(OURS)
    assert peer.expect(within_ms=10_000).seq == 1
    peer.send(ACK, ack=2921)
    wire.run(ms=10)
    assert conn.info()["flight_bytes"] == 0


def test_it_ends_by_its_timers_where_the_address_stays_away(wire, peer):
    """RFC 9293 3.8.3 (R2); no reset leaves either"""
    conn = peer.open()
    conn.send(b"x")
    peer.expect(ACK | PSH)
    wire.stack.set_addresses(OTHER)
    peer.expect_nothing(for_ms=3_600_000)
    assert conn.state == "CLOSED" and wire.host.was_closed(conn)
    with pytest.raises(OSError) as ended:
        conn.recv()
    assert ended.value.errno == errno.ETIMEDOUT


def test_an_abort_meanwhile_is_silent_and_gives_everything_back(wire, peer):
    conn = peer.open()
    wire.stack.set_addresses(OTHER)
    conn.abort()
    peer.expect_nothing(for_ms=100)
    assert wire.host.is_idle()


def test_connections_of_other_addresses_notice_nothing(wire):
    conn = (v6 := wire.peer(v6=True)).open()
    wire.stack.set_addresses(OTHER)
    conn.send(b"still here")
    v6.expect(ACK | PSH, payload=b"still here")
    v6.send(ACK)
    wire.stack.set_addresses(OURS)
    conn.send(b"and now")
    v6.expect(ACK | PSH, payload=b"and now")


def test_a_handshake_and_an_opening_stand_still_as_well(wire, peer):
    """In SYN-RECEIVED the SYN-ACK, in SYN-SENT the SYN"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    conn = wire.stack.connect(("10.0.0.2", 99))
    opened = wire.peer(port=99, to_port=conn.local[1])
    wire.settle()
    wire.strays.clear()
    opened.drain()
    wire.stack.set_addresses(OTHER)
    wire.run(ms=20_000)
    assert not peer.drain() and not opened.drain() and not wire.strays
    wire.stack.set_addresses(OURS)
    peer.expect(SYN | ACK, within_ms=60_000)
    opened.expect(SYN, within_ms=60_000)


def test_the_way_that_a_handshake_came_is_kept_where_there_is_no_route(wire, peer):
    """The answers go to the station that the SYN came from, as before"""
    wire.stack.set_routes([])
    conn = peer.open()
    wire.stack.set_addresses(OTHER)
    wire.stack.set_addresses(OURS)
    conn.send(b"answer")
    peer.expect(ACK | PSH, payload=b"answer")


def test_the_same_addresses_again_change_nothing(wire, peer):
    conn = peer.open()
    for _ in range(3):
        wire.stack.set_addresses(OURS)
    conn.send(b"answer")
    peer.expect(ACK | PSH, payload=b"answer")
    assert wire.count("no_neighbour") == 0
