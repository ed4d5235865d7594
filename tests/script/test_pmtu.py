"""The size of segments on a path (RFC 1191, RFC 8201, RFC 4821 7.7)."""

import dataclasses

import pytest

from underpass.testing.peer import ACK, SYN

UNREACHABLE, FRAGMENTATION_NEEDED, TOO_BIG_V6 = 3, 4, 2


def too_big(peer, seg, mtu, **wrong):
    if seg.is_v4:
        peer.icmp(seg, UNREACHABLE, FRAGMENTATION_NEEDED, mtu=mtu, **wrong)
    else:
        peer.icmp(seg, TOO_BIG_V6, mtu=mtu, **wrong)


def flight(wire, peer, conn, octets=5840):
    conn.send(bytes(octets))
    wire.settle()
    return peer.drain()


def acknowledge_all(peer):
    peer.send(ACK)
    while peer.drain():
        peer.send(ACK)


def sizes(segments):
    return [len(seg.payload) for seg in segments]


@pytest.mark.parametrize(("v6", "headers"), [(False, 40), (True, 60)])
def test_a_flight_that_is_too_big_is_sent_again_in_smaller_segments_at_once(wire, v6, headers):
    """RFC 1191 6.4, RFC 8201 5.4: not after a timeout, and not as a loss that congestion caused"""
    peer = wire.peer(v6=v6)
    conn = peer.open()
    segments = flight(wire, peer, conn, 4 * (1500 - headers))
    cwnd = conn.info()["cwnd_bytes"]
    too_big(peer, segments[0], 1300)
    again = peer.drain()
    assert max(sizes(again)) == 1300 - headers
    assert sum(sizes(again)) == 4 * (1500 - headers)
    assert conn.info()["cwnd_bytes"] == cwnd
    assert conn.info()["mss"] == 1300 - headers
    assert conn.info()["path_mtu"] == 1300
    assert wire.count("path_mtu_lowered") == 1
    assert wire.count("timeouts") == 0


def test_the_stream_is_whole_after_it_was_split(wire, peer):
    """RFC 1191 6.4"""
    conn = peer.open(sack_permitted=True)
    data = bytes(range(256)) * 40
    conn.send(data)
    wire.settle()
    too_big(peer, peer.drain()[0], 1000)
    received = {}
    for _ in range(40):
        for seg in peer.drain():
            assert len(seg.payload) <= 960
            received[seg.seq] = seg.payload
            peer.send(ACK, ack=seg.seq + len(seg.payload))
    whole = b"".join(received[seq] for seq in sorted(received))
    assert whole == data


def test_later_segments_fit(wire, peer):
    """RFC 1191 6.4, RFC 8201 5.4"""
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], 1200)
    peer.drain()
    peer.send(ACK, ack=5841)
    assert max(sizes(flight(wire, peer, conn))) == 1160


def test_what_was_queued_before_fits_too(wire):
    """RFC 1191 6.4: frames filled for larger segments are cut when their turn comes"""
    peer = wire.peer()
    conn = peer.open(window=4000)
    segments = flight(wire, peer, conn, 20_000)
    too_big(peer, segments[0], 700)
    peer.drain()
    peer.send(ACK, ack=sum(sizes(segments)) + 1, window=30_000)
    assert max(sizes(peer.drain())) == 660


def test_timestamps_come_out_of_the_segment(wire, peer):
    """RFC 6691"""
    peer.timestamp = 7
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], 1400)
    assert max(sizes(peer.drain())) == 1400 - 40 - 12


def test_new_connections_know(wire, peer):
    """RFC 8201 5.2: what was learned is kept by destination"""
    too_big(peer, flight(wire, peer, peer.open())[0], 1100)
    other = wire.peer(port=40001)
    assert sizes(flight(wire, other, other.open()))[0] == 1060


@pytest.mark.wire(path_mtu_ms=600_000)
def test_after_ten_minutes_larger_segments_are_tried_again(wire, peer):
    """RFC 1191 6.3, RFC 8201 4"""
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], 1100)
    acknowledge_all(peer)
    wire.run(ms=599_000)
    assert max(sizes(flight(wire, peer, conn))) == 1060
    acknowledge_all(peer)
    wire.run(ms=2000)
    peer.send(ACK)
    assert max(sizes(flight(wire, peer, conn))) == 1460
    assert wire.count("path_mtu_raised") == 1
    other = wire.peer(port=40001)
    assert sizes(flight(wire, other, other.open()))[0] == 1460


@pytest.mark.wire(path_mtu_ms=20_000)
def test_a_larger_segment_fits_the_window_of_a_connection_that_lost_smaller_ones(wire, peer):
    """RFC 5681 3.1: after a timeout the window is one segment, and never less, whatever size that has"""
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], 552)
    wire.run(ms=30_000)
    info = conn.info()
    assert wire.count("timeouts") >= 1
    assert info["mss"] == 1460
    assert info["cwnd_bytes"] >= 1460


@pytest.mark.parametrize("mtu", [1500, 1501, 65535])
def test_an_mtu_that_is_no_smaller_is_refused(wire, peer, mtu):
    """RFC 1191 6.3: a message cannot enlarge the path"""
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], mtu)
    peer.expect_nothing()
    assert conn.info()["mss"] == 1460
    assert wire.count("icmp_too_big_refused") == 1


def test_a_second_error_for_the_same_flight_changes_nothing(wire, peer):
    """RFC 1191 6.4: one retransmission"""
    conn = peer.open()
    segments = flight(wire, peer, conn)
    too_big(peer, segments[0], 1300)
    peer.drain()
    too_big(peer, segments[1], 1300)
    peer.expect_nothing()
    assert wire.count("path_mtu_lowered") == wire.count("icmp_too_big_refused") == 1


def test_a_packet_that_fits_cannot_be_too_big(wire, peer):
    """RFC 5927 7.2"""
    conn = peer.open()
    seg = flight(wire, peer, conn, 100)[0]
    too_big(peer, seg, 1000)
    assert conn.info()["mss"] == 1460
    assert wire.count("icmp_too_big_refused") == 1


@pytest.mark.parametrize("mtu", [0, 68, 1279])
def test_no_ipv6_path_is_below_1280(wire, mtu):
    """RFC 8201 4: such a message is to be discarded"""
    peer = wire.peer(v6=True)
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], mtu)
    assert conn.info()["mss"] == 1440
    assert wire.count("icmp_too_big_refused") == 1


@pytest.mark.parametrize("mtu", [1, 68, 296, 551])
def test_no_ipv4_segment_goes_below_the_floor(wire, peer, mtu):
    """A forged error must not turn a stream into a flood of tiny packets (RFC 5927 7)."""
    conn = peer.open()
    too_big(peer, flight(wire, peer, conn)[0], mtu)
    assert conn.info()["mss"] == 512


def test_a_router_that_does_not_say_its_mtu_gets_the_next_usual_one(wire, peer):
    """RFC 1191 5, 7.1"""
    conn = peer.open()
    for mss in (1492 - 40, 1006 - 40, 552 - 40):
        too_big(peer, flight(wire, peer, conn)[0], 0)
        assert conn.info()["mss"] == mss
        peer.send(ACK, ack=peer.rcv_nxt)
        wire.run(ms=3000)
        peer.send(ACK, ack=peer.rcv_nxt)
        peer.drain()


def test_an_error_about_nothing_in_flight_lowers_nothing(wire, peer):
    """RFC 5927 4.1"""
    conn = peer.open()
    segments = flight(wire, peer, conn)
    peer.send(ACK, ack=5841)
    for seg in segments:
        too_big(peer, seg, 1000)
    too_big(peer, dataclasses.replace(segments[0], seq=2**30), 1000)
    assert conn.info()["mss"] == 1460
    assert wire.count("icmp_out_of_window") == len(segments) + 1


def test_a_fin_stays_at_the_end_of_what_is_split(wire, peer):
    """RFC 9293 3.10.4"""
    conn = peer.open()
    conn.send(bytes(1460))
    conn.shutdown()
    wire.settle()
    (seg,) = peer.drain()
    too_big(peer, seg, 800)
    again = peer.drain()
    assert sizes(again) == [760, 700]
    assert [bool(seg.flags & 1) for seg in again] == [False, True]


def test_octets_reported_by_sack_are_not_sent_again(wire, peer):
    """RFC 2018 8"""
    conn = peer.open(sack_permitted=True)
    segments = flight(wire, peer, conn)
    peer.send(ACK, ack=1, sack=((1461, 2921),))
    peer.drain()
    too_big(peer, segments[0], 1300)
    again = peer.drain()
    assert not any(1461 <= seg.seq < 2921 for seg in again)
    assert max(sizes(again)) == 1260


def test_a_syn_for_which_the_path_is_too_small_goes_on(wire):
    """RFC 1191 6.4: the SYN fits; what follows is made for the path"""
    peer = wire.peer(port=81, to_port=40001)
    conn = wire.stack.connect((peer.base.src, 81), source=(peer.base.dst, 40001))
    syn = peer.expect(SYN)
    too_big(peer, syn, 600)
    assert conn.state == "SYN-SENT"
    assert wire.count("icmp_too_big_refused") == 1


# ------------------------------------------------------------------------- where nobody says it


def survivors(wire, peer, conn, most, for_ms):
    """Acknowledge what fits through a path that swallows larger packets, and says nothing."""
    got = 0
    for _ in range(int(for_ms // 10)):
        wire.run(ms=10)
        for seg in peer.drain():
            if len(seg.payload) <= most and seg.seq == got + 1:
                got += len(seg.payload)
                peer.send(ACK, ack=got + 1)
    return got


@pytest.mark.parametrize(("v6", "most"), [(False, 1024), (False, 512), (True, 1220)])
def test_a_black_hole_is_found(wire, v6, most):
    """RFC 4821 7.7: large segments vanish again and again, so smaller ones are tried"""
    peer = wire.peer(v6=v6)
    conn = peer.open()
    conn.send(bytes(5000))
    assert survivors(wire, peer, conn, most, 120_000) == 5000
    assert conn.info()["mss"] == most
    assert wire.count("path_black_holes") >= 1


@pytest.mark.wire(mtu_probing=0)
def test_black_holes_are_left_alone_where_that_is_off(wire, peer):
    """RFC 4821 7.7; Linux: tcp_mtu_probing 0"""
    conn = peer.open()
    conn.send(bytes(5000))
    assert survivors(wire, peer, conn, 1024, 60_000) == 0
    assert conn.info()["mss"] == 1460


def test_small_segments_that_are_lost_are_no_black_hole(wire, peer):
    """RFC 4821 7.7"""
    conn = peer.open()
    conn.send(bytes(100))
    wire.run(ms=60_000)
    assert conn.info()["mss"] == 1460
    assert wire.count("path_black_holes") == 0


# ------------------------------------------------------------------------- what is announced and used


@pytest.mark.wire(mss=1000)
def test_the_limit_bounds_what_is_announced_and_sent(wire, peer):
    """RFC 9293 3.7.1"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, mss=1000)
    peer.send(ACK)
    (conn,) = wire.accepted()
    assert max(sizes(flight(wire, peer, conn))) == 1000


def test_a_route_says_what_to_announce(wire, peer):
    """Linux's `ip route ... advmss`"""
    wire.stack.set_routes([("10.0.0.0", 24, None, None, 0, 0, 1200)])
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, mss=1200)


def test_a_route_cannot_announce_more_than_the_interface_takes(wire, peer):
    """RFC 9293 3.7.1, MUST-67"""
    wire.stack.set_routes([("10.0.0.0", 24, None, None, 0, 0, 9000)])
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, mss=1460)


@pytest.mark.wire(mss=1000, half_open=0)
def test_a_cookie_announces_the_same(wire, peer):
    """RFC 9293 3.7.1, MUST-14; RFC 4987 3.6"""
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, mss=1000)
