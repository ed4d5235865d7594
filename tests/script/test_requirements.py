"""Requirements of RFC 9293 that no other script is about; docs/rfc9293.md has them all."""

import errno
import itertools
import socket

import pytest

import underpass
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN

MSS = 1000
IP_RECVERR = 11  # not in the socket module


def lengths(peer):
    """Payload octets of the data segments that have come."""
    peer.wire.settle()
    return [len(seg.payload) for seg in peer.drain() if seg.payload]


def error_of(call, *arguments):
    with pytest.raises(OSError) as raised:
        call(*arguments)
    return raised.value.errno


def connect(wire, **arguments):
    """The stack's active open to port 90 of the remote end."""
    peer = wire.peer(port=90, to_port=50000)
    return peer, wire.stack.connect((peer.base.src, 90), (peer.base.dst, 50000), **arguments)


# ---- headers and options

@pytest.mark.parametrize("window", [0x7FFF, 0x8000, 0xFFFF])
def test_a_window_is_unsigned(wire, peer, window):
    """RFC 9293 3.1, MUST-1"""
    conn = peer.open(mss=MSS, window=window)
    assert conn.info()["snd_wnd_bytes"] == window
    conn.send(bytes(5 * MSS))
    assert lengths(peer) == [MSS] * 5


def test_a_window_takes_thirty_two_bits(wire, peer):
    """RFC 9293 3.1, REC-1"""
    conn = peer.open(window_scale=14)
    peer.send(ACK, window=65535)
    assert conn.info()["snd_wnd_bytes"] == 65535 << 14


@pytest.mark.parametrize("v6", [False, True])
def test_every_segment_leaves_with_its_checksum(wire, v6):
    """RFC 9293 3.1, MUST-2: the parser of the test refuses any other"""
    peer = wire.peer(v6=v6)
    conn = peer.open()
    for length in (1, 2, 999, 1460):
        conn.send(bytes(length))
        wire.settle()
        peer.send(ACK)
    conn.close()
    assert sum(lengths(peer)) == 2462
    with pytest.raises(ValueError, match="checksum"):
        TcpSegment.parse(peer.make(ACK).build(tcp_checksum=1))


def test_options_are_taken_from_any_segment(wire, peer):
    """RFC 9293 3.2, MUST-5, MUST-6: known or not, on data as on SYN and FIN"""
    conn = peer.open()
    peer.wire.send_frame(peer.make(ACK | PSH, b"data").build(options=b"\xfd\x04\x12\x34\x01\x1e\x03\x00"))
    assert conn.recv() == b"data"
    peer.wire.send_frame(peer.make(ACK | FIN, seq=5).build(options=b"\x02\x04\x00\x40"))
    assert conn.recv() == b""
    assert conn.info()["peer_mss"] == 1460


def test_our_options_fill_their_words_without_an_end_of_list(wire, peer):
    """RFC 9293 3.1, 3.2, MUST-68, MUST-69: lengths for all but NOP, and nothing that would need to be zero"""
    peer.timestamp = 7
    peer.open(sack_permitted=True, window_scale=2)
    peer.send(ACK, bytes(100), seq=500)
    assert len(wire.frames) == 2
    for frame in wire.frames:
        options = frame[54 : 34 + (frame[46] >> 4) * 4]
        while options:
            assert options[0] != 0
            options = options[1:] if options[0] == 1 else options[options[1] :]


def test_only_a_syn_announces_an_mss(wire, peer):
    """RFC 9293 3.7.1, MUST-14, MUST-65, MAY-3, SHLD-5"""
    conn = peer.open(mss=MSS)
    conn.send(bytes(3000))
    wire.settle()
    peer.send(ACK | FIN, b"x")
    conn.recv()
    conn.close()
    wire.run(ms=1000)
    assert {seg.mss for seg in peer.drain()} == {None}
    other, _ = connect(wire)
    assert other.expect(SYN).mss == 1460


@pytest.mark.parametrize(("v6", "default"), [(False, 536), (True, 1220)])
def test_without_an_mss_option_segments_are_small(wire, v6, default):
    """RFC 9293 3.7.1, MUST-15"""
    peer = wire.peer(v6=v6)
    peer.send(SYN)
    peer.expect(SYN | ACK)
    peer.send(ACK)
    (conn,) = wire.accepted()
    conn.send(bytes(3 * default))
    assert lengths(peer) == [default] * 3


def test_a_reset_may_carry_text(wire, peer):
    """RFC 9293 3.5.3, SHLD-2: which is not read"""
    conn = peer.open()
    peer.send(RST, b"why")
    assert wire.host.was_closed(conn)
    assert error_of(conn.recv) == errno.ECONNRESET


# ---- sending

def test_small_writes_become_full_segments(wire, peer):
    """RFC 9293 3.9.1.2, SHLD-27, SHLD-28, MAY-16: PSH once, on the last"""
    conn = peer.open(mss=MSS)
    for _ in range(100):
        conn.send(bytes(35))
    wire.settle()
    segments = [seg for seg in peer.drain() if seg.payload]
    assert [len(seg.payload) for seg in segments] == [MSS, MSS, MSS]
    peer.send(ACK)
    last = peer.expect(ACK)
    assert len(last.payload) == 500
    assert [bool(seg.flags & PSH) for seg in [*segments, last]] == [False, False, False, True]


def test_what_is_not_pushed_does_not_wait_for_ever(wire, peer):
    """RFC 9293 3.9.1.2, MUST-60: a window in which nothing full fits is used at last"""
    conn = peer.open(mss=MSS, window=5 * MSS)
    conn.send(bytes(5 * MSS))
    lengths(peer)
    conn.send(b"the rest")
    peer.send(ACK, ack=1 + 5 * MSS, window=3)
    peer.expect(ACK, payload=b"the", within_ms=10_000)


def test_a_window_that_shrinks_gets_no_new_data(wire, peer):
    """RFC 9293 3.8.6, MUST-34, SHLD-15"""
    conn = peer.open(mss=MSS, window=10 * MSS)
    conn.send(bytes(5 * MSS))
    assert len(lengths(peer)) == 5
    peer.send(ACK, ack=1, window=2 * MSS)
    conn.send(bytes(2 * MSS))
    assert lengths(peer) == []
    peer.send(ACK, ack=1 + 5 * MSS, window=2 * MSS)
    assert lengths(peer) == [MSS, MSS]


def test_what_lies_within_a_window_that_shrank_is_sent_again(wire, peer):
    """RFC 9293 3.8.6, SHLD-16, MAY-7: and beyond it, for the peer had offered room"""
    conn = peer.open(mss=MSS, window=10 * MSS)
    conn.send(bytes(4 * MSS))
    lengths(peer)
    peer.send(ACK, ack=1, window=2 * MSS)
    assert peer.expect(ACK, within_ms=3000).seq in (1, 1 + 3 * MSS)
    wire.run(ms=60_000)
    assert 1 in {seg.seq for seg in peer.drain()}
    assert conn.state == "ESTABLISHED"


def test_the_first_probe_of_a_closed_window_waits_for_a_timeout(wire, peer):
    """RFC 9293 3.8.6.1, SHLD-29, SHLD-30"""
    conn = peer.open(mss=MSS, window=MSS)
    conn.send(bytes(2 * MSS))
    peer.expect(ACK)
    peer.send(ACK, ack=1 + MSS, window=0)
    before = [wire.now_ns]
    for _ in range(4):
        peer.expect(ACK, within_ms=10_000)
        before.append(wire.now_ns)
    waits = [later - earlier for earlier, later in itertools.pairwise(before)]
    assert waits[0] == pytest.approx(conn.info()["rto_us"] * 1000, rel=0.1)
    assert waits[1:] == pytest.approx([2 * wait for wait in waits[:-1]], rel=0.1)


def test_a_retransmission_carries_the_same_identification(wire, peer):
    """RFC 9293 3.8.1, MAY-4; RFC 6864 4.1: it is always 0, for nothing is ever a fragment"""
    peer.open().send(b"lost")
    wire.run(ms=5000)
    data = [frame for frame in wire.frames if frame.endswith(b"lost")]
    assert len(data) > 2
    assert {frame[18:20] for frame in data} == {b"\0\0"}


# ---- receiving

def test_segments_that_came_together_get_one_acknowledgment(wire, peer):
    """RFC 9293 3.10.7.4, MUST-58, MUST-59"""
    conn = peer.open()
    wire.send_frame(*(peer.make(ACK, bytes(100), seq=1 + 100 * i).build() for i in range(8)))
    peer.expect(ACK, ack=801)
    peer.expect_nothing(for_ms=1000)
    assert len(conn.recv()) == 800


@pytest.mark.wire(rcv_bytes=2048)
def test_a_closed_window_lets_a_reset_pass(wire, peer):
    """RFC 9293 3.10.7.4, MUST-66"""
    conn = peer.open()
    while (left := peer.expect(ACK).window if peer.snd_nxt > 1 else 1000) > 0:
        peer.send(ACK | PSH, bytes(min(left, 1000)))
    peer.send(RST)
    assert wire.host.was_closed(conn)


@pytest.mark.wire(rcv_bytes=2048)
def test_our_window_may_stay_closed(wire, peer):
    """RFC 9293 3.8.6.1, MAY-8: probes are answered for as long as they come"""
    conn = peer.open()
    while (left := peer.expect(ACK).window if peer.snd_nxt > 1 else 1000) > 0:
        peer.send(ACK | PSH, bytes(min(left, 1000)))
    for _ in range(50):
        wire.run(ms=60_000)
        peer.send(ACK, b"?", seq=peer.snd_nxt)
        peer.expect(ACK, ack=peer.snd_nxt, window=0)
    assert conn.state == "ESTABLISHED"


# ---- opening and addresses

def test_listeners_and_connections_share_a_port(wire, peer):
    """RFC 9293 3.9.1.1, MUST-41, MUST-42: an open that waits does not disturb another"""
    wire.stack.listen(("10.0.0.1", 90))
    outgoing = wire.peer(port=90, to_port=90)
    ours = wire.stack.connect((outgoing.base.src, 90), (outgoing.base.dst, 90))
    outgoing.expect(SYN)
    wire.stack.listen(("0.0.0.0", 90))
    incoming = wire.peer(port=91, to_port=90)
    theirs = incoming.open()
    outgoing.send(SYN | ACK, mss=1460)
    outgoing.expect(ACK)
    assert ours.state == theirs.state == "ESTABLISHED"
    assert peer.open().local == ("10.0.0.1", 80)


@pytest.mark.parametrize("source", [None, ("10.0.0.7", 0)])
def test_all_segments_have_the_address_of_the_first(wire, source):
    """RFC 9293 3.9.2.3, MUST-43, MUST-44, MUST-45: the one that was asked for, or the route's"""
    wire.stack.set_addresses([("10.0.0.1", 24), ("10.0.0.7", 24)])
    conn = wire.stack.connect(("10.0.0.2", 90), source)
    wire.settle()
    (syn,) = wire.strays
    wire.send_frame(
        TcpSegment(
            src="10.0.0.2", dst=syn.src, src_port=90, dst_port=syn.src_port, seq=5, ack=(syn.seq + 1) % 2**32,
            flags=SYN | ACK, mss=1460, src_mac=syn.dst_mac, dst_mac=syn.src_mac,
        ).build()
    )  # fmt: skip
    conn.send(b"hello")
    conn.close()
    wire.settle()
    assert len(wire.strays) > 2
    assert {seg.src for seg in wire.strays} == {source[0] if source else "10.0.0.1"}


@pytest.mark.parametrize(
    "address", ["10.0.0.255", "255.255.255.255", "224.0.0.1", "ff02::1", "127.0.0.1", "::1"]
)
def test_no_connection_to_a_group_or_to_all(wire, address):
    """RFC 9293 3.9.2.3, MUST-46"""
    wire.stack.set_routes([("0.0.0.0", 0, "10.0.0.2", None, 0, 0), ("::", 0, "fd00::2", None, 0, 0)])
    assert error_of(wire.stack.connect, (address, 80)) == errno.ENETUNREACH
    assert error_of(wire.stack.listen, (address, 90)) == errno.EADDRNOTAVAIL


# ---- failures

def test_a_connection_is_not_given_up_within_a_hundred_seconds(wire, peer):
    """RFC 9293 3.8.3, MUST-20, SHLD-11: R2"""
    conn = peer.open(rtt_ms=1)
    conn.send(b"lost")
    wire.run(ms=100_000)
    assert conn.state == "ESTABLISHED"
    wire.run(ms=3_600_000)
    assert wire.host.was_closed(conn)


@pytest.mark.wire(retries=3)
def test_how_long_to_try_can_be_chosen_for_the_stack(wire, peer):
    """RFC 9293 3.8.3, MUST-21"""
    conn = peer.open(rtt_ms=1)
    conn.send(b"lost")
    wire.run(ms=20_000)
    assert wire.host.was_closed(conn)


# ---- keepalive

def test_keepalive_waits_two_hours_by_default(wire, peer):
    """RFC 9293 3.8.4, MUST-25, MUST-27, MUST-28"""
    conn = peer.open()
    assert conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) >= 7200
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.expect_nothing(for_ms=7_199_000)
    peer.expect(ACK, seq=0, payload=b"", within_ms=2000)


def test_keepalive_is_silent_while_data_is_on_its_way(wire, peer):
    """RFC 9293 3.8.4, MUST-26: what is sent again asks the same question"""
    conn = peer.open()
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3)):
        conn.setsockopt(socket.IPPROTO_TCP, option, value)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    conn.send(b"lost")
    wire.run(ms=60_000)
    assert {seg.payload for seg in peer.drain()} == {b"lost"}
    assert conn.state == "ESTABLISHED"
    assert wire.count("keepalives") == 0


def test_an_old_syn_ack_in_syn_received_does_not_disturb(wire, peer):
    """RFC 9293 3.5.2, MUST-11: a passive open that is reset was never the application's"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    peer.send(RST)
    assert wire.host.seen == []
    mine, conn = connect(wire)
    mine.expect(SYN)
    mine.send(SYN, mss=1460)
    mine.expect(SYN | ACK)
    mine.send(RST)
    assert error_of(conn.recv) == errno.ECONNREFUSED


# ---- the interfaces above and below

@pytest.mark.parametrize("v6", [False, True])
def test_the_differentiated_services_field_is_the_applications(wire, v6):
    """RFC 9293 3.9.1.7, MUST-48, SHLD-21, SHLD-22, SHLD-23: unchanged to IP"""
    peer = wire.peer(v6=v6)
    conn = peer.open()
    level, option = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if v6 else (socket.IPPROTO_IP, socket.IP_TOS)
    conn.send(b"best effort")
    assert peer.expect(ACK).traffic_class == 0
    conn.setsockopt(level, option, 46 << 2)
    for _ in range(3):
        peer.send(ACK)
        conn.send(b"expedited")
        assert peer.expect(ACK).traffic_class == 46 << 2
    conn.close()
    assert peer.expect(ACK | FIN).traffic_class == 46 << 2


@pytest.mark.wire(ecn=2)
def test_the_services_field_leaves_ecn_alone(wire, peer):
    """RFC 3168 5: two of its bits are not the application's"""
    peer.send(SYN | Flags.ECE | Flags.CWR, mss=1460)
    peer.expect()
    peer.send(ACK)
    (conn,) = wire.accepted()
    conn.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 255)
    conn.send(b"capable")
    assert peer.expect(ACK).traffic_class == 0xFC | 2
    assert conn.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0xFC


@pytest.mark.parametrize("v6", [False, True])
def test_the_hop_limit_is_the_applications(wire, v6):
    """RFC 9293 3.9.2, MUST-49"""
    peer = wire.peer(v6=v6)
    conn = peer.open()
    level, option = (
        (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if v6 else (socket.IPPROTO_IP, socket.IP_TTL)
    )
    conn.send(b"far")
    assert peer.expect(ACK).hop_limit == 64
    conn.setsockopt(level, option, 3)
    peer.send(ACK)
    conn.send(b"near")
    assert peer.expect(ACK).hop_limit == 3


def told_of_trouble(wire, conn):
    return sum(bool(ready & underpass.TROUBLE) for other, ready in wire.host.seen if other is conn)


@pytest.mark.parametrize("asked", [False, True])
def test_retransmissions_in_vain_are_told_to_who_asks(wire, peer, asked):
    """RFC 9293 3.8.3, SHLD-9, SHLD-10, SHLD-20; 3.9.1.8, MUST-47: after three, long before the end"""
    conn = peer.open(rtt_ms=1)
    conn.setsockopt(socket.IPPROTO_IP, IP_RECVERR, asked)
    conn.send(b"lost")
    while conn.info()["backoff"] < 3:
        assert told_of_trouble(wire, conn) == 0
        wire.run(ms=100)
    wire.run(ms=60_000)
    assert told_of_trouble(wire, conn) == asked
    assert conn.state == "ESTABLISHED"


@pytest.mark.parametrize("asked", [False, True])
def test_what_icmp_says_is_told_to_who_asks(wire, peer, asked):
    """RFC 9293 3.9.1.8, 3.9.2.2, MUST-47, MUST-56, SHLD-25, SHLD-20"""
    conn = peer.open()
    conn.setsockopt(socket.IPPROTO_IP, IP_RECVERR, asked)
    conn.send(b"data")
    peer.icmp(peer.expect(ACK), 3, 1)
    assert told_of_trouble(wire, conn) == asked
    assert conn.info()["soft_error"] == errno.EHOSTUNREACH
    assert conn.state == "ESTABLISHED"


@pytest.mark.parametrize("option", [b"\x83\x07\x04\x0a\x00\x00\x09\x00", b"\x89\x07\x04\x0a\x00\x00\x09\x00"])
def test_a_source_route_is_refused(wire, peer, option):
    """RFC 9293 3.9.2.1, MUST-51 to MUST-53, SHLD-24: given up on purpose (RFC 7126 4.3)"""
    wire.send_frame(peer.make(SYN, mss=1460).build(ip_options=option))
    peer.expect_nothing(for_ms=5000)
    assert wire.count("ipv4_option", "refused") == 1
