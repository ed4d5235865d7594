"""Opening connections (RFC 9293 3.5, 3.10.7.2, 3.10.7.3)."""

import errno

import pytest

from underpass.testing.peer import ACK, FIN, PSH, RST, SYN


def error_of(call, *arguments):
    with pytest.raises(OSError) as raised:
        call(*arguments)
    return raised.value.errno


@pytest.mark.parametrize("v6", [False, True])
def test_a_passive_open(wire, v6):
    """RFC 9293 3.5, figure 6"""
    peer = wire.peer(v6=v6)
    conn = peer.open()
    assert conn.state == "ESTABLISHED"
    assert conn.remote == ((peer.base.src), 40000)
    assert conn.local == ((peer.base.dst), 80)
    peer.send(ACK | PSH, b"hello")
    assert conn.recv() == b"hello"
    peer.expect(ACK, ack=6)


def test_a_syn_ack_offers_no_option_that_the_peer_did_not(wire, peer):
    """RFC 7323 1.3, 2.2, 3.2; RFC 2018 2; the MSS is always announced (RFC 9293 3.7.1)"""
    peer.send(SYN)
    peer.expect(SYN | ACK, mss=1460, window_scale=None, timestamps=None, sack_permitted=False)
    peer.send(ACK)
    (conn,) = wire.accepted()
    conn.send(bytes(2000))
    # RFC 9293 3.7.1: 536 octets where the peer announced nothing.
    assert len(peer.expect(ACK, timestamps=None).payload) == 536


OPTIONS = {"window_scale": 7, "timestamps": (99, 0), "sack_permitted": True}


@pytest.mark.parametrize("offered", [(), *((name,) for name in OPTIONS), tuple(OPTIONS)], ids="+".join)
def test_each_option_is_agreed_to_on_its_own(wire, peer, offered):
    """RFC 7323 1.3, RFC 2018 2: each by itself"""
    peer.send(SYN, mss=1000, **{name: OPTIONS[name] for name in offered})
    answer = peer.expect(SYN | ACK)
    assert (answer.window_scale is not None) == ("window_scale" in offered)
    assert answer.sack_permitted == ("sack_permitted" in offered)
    assert (answer.timestamps is not None) == ("timestamps" in offered)
    if answer.timestamps is not None:
        assert answer.timestamps[1] == 99


def test_the_window_of_a_syn_is_not_scaled_and_all_later_ones_are(wire, peer):
    """RFC 7323 2.2"""
    conn = peer.open(window_scale=8, window=2)
    conn.send(bytes(1460))
    wire.settle()
    assert sum(len(seg.payload) for seg in peer.drain()) == 512


def test_an_mss_that_would_flood_us_with_packets_is_raised(wire, peer):
    """RFC 9293 3.7.1, MUST-16"""
    conn = peer.open(mss=1)
    conn.send(bytes(640))
    wire.settle()
    assert len(peer.drain()) <= 10


@pytest.mark.wire(mtu=576)
def test_our_mss_follows_the_mtu(wire, peer):
    """RFC 9293 3.7.1, RFC 6691"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, mss=536)


def test_a_retransmitted_syn_gets_the_same_answer(wire, peer):
    """RFC 9293 3.10.7.4, first: in SYN-RECEIVED"""
    peer.send(SYN, mss=1460)
    first = peer.expect(SYN | ACK)
    peer.send(SYN, seq=0, mss=1460)
    peer.expect(SYN | ACK, window=first.window)
    peer.send(ACK)
    assert len(wire.accepted()) == 1


def test_a_syn_ack_is_sent_again_until_the_peer_answers(wire, peer):
    """RFC 6298 2.1, 5.5: after one second, then two, then four"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    for wait_ms in (1000, 2000, 4000):
        peer.expect_nothing(for_ms=wait_ms - 100)
        peer.expect(SYN | ACK, within_ms=200)
    peer.send(ACK)
    assert len(wire.accepted()) == 1


def test_a_peer_that_never_answers_leaves_nothing(wire, peer):
    """RFC 9293 3.8.3, RFC 4987 2.2"""
    peer.send(SYN, mss=1460)
    wire.run(ms=600_000)
    assert wire.accepted() == []
    assert [row["state"] for row in wire.stack.connections()] == ["LISTEN"] * 2
    assert wire.host.link.frames.free == wire.host.link.frames.count


def test_data_with_a_syn_is_not_acknowledged_with_it_and_may_be_sent_again(wire, peer):
    """RFC 9293 3.10.7.2: it may be kept or not; the stream is whole in both cases."""
    peer.send(SYN, b"early", mss=1460)
    answer = peer.expect(SYN | ACK)
    assert answer.ack in (1, 6)
    peer.send(ACK, seq=1)
    peer.send(ACK | PSH, b"early", seq=1)
    peer.send(ACK | PSH, b" bird", seq=6)
    (conn,) = wire.accepted()
    assert conn.recv() == b"early bird"


def test_syn_and_fin_together_open_nothing(wire, peer):
    """RFC 9293 3.10.7.2: FIN cannot be processed in LISTEN"""
    peer.send(SYN | FIN, mss=1460)
    peer.expect_nothing(for_ms=5000)
    assert wire.count("tcp_flags", "refused") == 1


def test_an_ack_to_a_listener_is_reset(wire, peer):
    """RFC 9293 3.10.7.2, second"""
    peer.send(ACK, seq=5, ack=77)
    peer.expect(RST)
    peer.send(SYN | ACK, seq=5, ack=77)
    peer.expect(RST)
    peer.expect_nothing(for_ms=1000)


@pytest.mark.parametrize("flags", [RST, RST | ACK, FIN, PSH])
def test_what_else_comes_to_a_listener_is_ignored(wire, peer, flags):
    """RFC 9293 3.10.7.2, first and fourth"""
    peer.send(flags, seq=5)
    peer.expect_nothing(for_ms=1000)
    assert wire.accepted() == []


def test_a_closed_port_answers_with_a_reset(wire):
    """RFC 9293 3.10.7.1"""
    peer = wire.peer(to_port=81)
    peer.send(SYN, b"abc", mss=1460)
    peer.expect(RST | ACK, ack=4, payload=b"")
    peer.send(ACK, seq=9, ack=5)
    peer.expect(RST, payload=b"")
    peer.send(RST, seq=9)
    peer.expect_nothing(for_ms=1000)
    assert wire.count("no_listener") == 3


def test_an_active_open(wire):
    """RFC 9293 3.10.1, 3.10.7.3"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    assert conn.state == "SYN-SENT"
    syn = peer.answer(window_scale=3, sack_permitted=True)
    assert syn.mss == 1460
    assert syn.window_scale is not None and syn.sack_permitted and syn.timestamps is not None
    assert conn.state == "ESTABLISHED"
    conn.send(b"request")
    peer.expect(ACK, payload=b"request", timestamps=None)


def test_an_active_open_takes_data_that_comes_with_the_syn_ack(wire):
    """RFC 9293 3.10.7.3, fourth: on to the sixth step where there is text"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN)
    peer.send(SYN | ACK, b"banner", mss=1460)
    peer.expect(ACK, ack=7)
    assert conn.recv() == b"banner"


def test_a_syn_is_sent_again_and_at_last_given_up(wire):
    """RFC 6298 5.5; the error is the one that connect() gives"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN)
    for wait_ms in (1000, 2000, 4000):
        peer.expect_nothing(for_ms=wait_ms - 100)
        peer.expect(SYN, within_ms=200)
    wire.run(ms=600_000)
    assert wire.host.was_closed(conn)
    assert error_of(conn.recv) == errno.ETIMEDOUT
    assert wire.count("connect_failures") == 1


def test_a_syn_is_sent_for_three_minutes_at_least(wire):
    """RFC 9293 3.8.3, MUST-22, MUST-23: R2 of a SYN"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    wire.run(ms=180_000)
    assert not wire.host.was_closed(conn)
    assert len(peer.drain()) == 8
    wire.run(ms=120_000)
    assert wire.host.was_closed(conn)


def test_a_syn_ack_is_given_up_sooner(wire, peer):
    """What a stranger asked for is not worth three minutes: RFC 4987 2.2 tells why."""
    peer.send(SYN, mss=1460)
    wire.run(ms=64_000)
    assert len(peer.drain()) == 6
    assert [row["state"] for row in wire.stack.connections()] == ["LISTEN"] * 2


def test_a_refused_connection(wire):
    """RFC 9293 3.10.7.3, second"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN)
    peer.send(RST | ACK, seq=0, ack=1)
    peer.expect_nothing(for_ms=5000)
    assert wire.host.was_closed(conn)
    assert error_of(conn.recv) == errno.ECONNREFUSED


def test_a_reset_that_does_not_acknowledge_our_syn_is_ignored(wire):
    """RFC 9293 3.10.7.3: without an acceptable ACK, drop it"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN)
    peer.send(RST, seq=0)
    peer.send(RST | ACK, seq=0, ack=2)
    peer.send(RST | ACK, seq=0, ack=0)
    assert conn.state == "SYN-SENT"
    peer.drain()
    peer.send(SYN | ACK, seq=0, ack=1, mss=1460)
    peer.expect(ACK)
    assert conn.state == "ESTABLISHED"


@pytest.mark.parametrize("ack", [0, 2, -5])
def test_a_syn_ack_for_something_else_is_reset(wire, ack):
    """RFC 9293 3.10.7.3, first; 3.5.1: old duplicates"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN)
    peer.send(SYN | ACK, seq=0, ack=ack, mss=1460)
    peer.expect(RST)
    assert conn.state == "SYN-SENT"


@pytest.mark.parametrize("answer", ["SYN-ACK", "ACK"])
def test_a_simultaneous_open(wire, answer):
    """RFC 9293 3.5, figure 7: our SYN-ACK has our SYN's number, and the peer's ends the handshake."""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect(SYN)
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, seq=0, ack=1)
    assert conn.state == "SYN-RECEIVED"
    if answer == "ACK":
        peer.send(ACK)
    else:
        peer.send(SYN | ACK, seq=0, mss=1460)
    assert conn.state == "ESTABLISHED"
    conn.send(b"hello")
    wire.settle()
    assert b"hello" in [seg.payload for seg in peer.drain()]


def test_initial_sequence_numbers_differ_by_tuple_and_move_with_time(wire):
    """RFC 6528 3, RFC 9293 3.4.1"""
    seen = []
    for port in (1000, 1001, 1002):
        peer = wire.peer(port=port)
        peer.send(SYN, mss=1460)
        peer.expect(SYN | ACK)
        seen.append(peer.irs)
    assert len({number >> 20 for number in seen}) == 3
    first = wire.peer(port=1000)
    first.send(RST, seq=1)
    first.send(RST, seq=0)
    wire.run(ms=1000)
    again = wire.peer(port=1000, iss=7)
    again.send(SYN, mss=1460)
    # One tick is 4 us: a second is 250,000 of them.
    gap = (again.expect(SYN | ACK) and again.irs - seen[0]) % 2**32
    assert 240_000 <= gap <= 260_000


@pytest.mark.parametrize(
    ("address", "number"),
    [
        (("192.0.2.1", 80), errno.ENETUNREACH),
        (("0.0.0.0", 80), errno.EINVAL),
    ],
)
def test_what_cannot_be_connected_to(wire, address, number):
    """RFC 9293 3.9.2.3, MUST-46, SHLD-20: each with the errno of Linux"""
    assert error_of(wire.stack.connect, address) == number


def test_a_tuple_in_use_and_a_source_that_is_not_ours(wire):
    """RFC 9293 3.10.1: error: connection already exists"""
    conn = wire.stack.connect(("10.0.0.2", 80), ("10.0.0.1", 50000))
    assert error_of(wire.stack.connect, ("10.0.0.2", 80), ("10.0.0.1", 50000)) == errno.EADDRINUSE
    assert error_of(wire.stack.connect, ("10.0.0.2", 80), ("10.0.0.9", 50000)) == errno.EADDRNOTAVAIL
    assert error_of(wire.stack.listen, ("0.0.0.0", 80)) == errno.EADDRINUSE
    conn.close()
