"""Limits, each with its counter, and what must not be answered."""

import dataclasses

import pytest

from underpass.testing.packets import TcpSegment
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN

# From the scripts' end of the cable to the stack's.
FRAME = TcpSegment(src="10.0.0.2", dst="10.0.0.1", src_mac="02:00:00:00:00:02", dst_mac="02:00:00:00:00:01")


def states(wire):
    return [row["state"] for row in wire.stack.connections() if row["state"] != "LISTEN"]


@pytest.mark.wire(connections=4)
def test_connections_are_limited(wire):
    """RFC 9293 7: whatever arrives, memory is bounded"""
    for port in range(100, 104):
        wire.peer(port=port).open()
    late = wire.peer(port=104)
    late.send(SYN, mss=1460)
    late.expect_nothing()
    assert wire.count("connection_limit") == 1
    wire.accepted()[0].abort()
    wire.settle()
    late.send(SYN, seq=0, mss=1460)
    late.expect(SYN | ACK)


@pytest.mark.wire(half_open=2)
@pytest.mark.parametrize("v6", [False, True])
def test_syn_cookies_when_the_backlog_is_full(wire, v6):
    """RFC 4987 3.6: nothing is kept, and the connection comes to be all the same"""
    for port in (100, 101):
        wire.peer(port=port).send(SYN, mss=1460)
    kept = len(wire.stack.connections())
    peer = wire.peer(port=102, v6=v6)
    peer.send(SYN, mss=1300, window_scale=7, sack_permitted=True)
    peer.expect(SYN | ACK, ack=1, window_scale=None, sack_permitted=False)
    assert len(wire.stack.connections()) == kept
    assert wire.count("cookies_sent") == wire.count("half_open_limit") == 1
    wire.run(ms=30_000)
    peer.send(ACK | PSH, b"hello")
    (conn,) = wire.accepted()
    assert conn.recv() == b"hello"
    conn.send(bytes(10_000))
    wire.settle()
    data = [len(seg.payload) for seg in peer.drain() if seg.payload]
    # The MSS survives as the next lower of the eight that a cookie can tell.
    assert 536 <= max(data) <= 1300
    assert wire.count("cookies_accepted") == 1


@pytest.mark.wire(half_open=1)
@pytest.mark.parametrize("wrong", [1, -1, 2**24, 2**31])
def test_a_forged_cookie_is_reset(wire, wrong):
    """RFC 4987 3.6, RFC 9293 3.10.7.2, second"""
    wire.peer(port=100).send(SYN, mss=1460)
    peer = wire.peer(port=101)
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    peer.send(ACK, ack=1 + wrong)
    assert RST in peer.expect().flags
    assert wire.accepted() == []
    assert wire.count("cookies_refused") == 1


@pytest.mark.wire(half_open=1)
def test_a_cookie_does_not_live_for_ever(wire):
    """RFC 4987 3.6"""
    wire.peer(port=100).send(SYN, mss=1460)
    peer = wire.peer(port=101)
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK)
    wire.run(ms=300_000)
    peer.send(ACK, ack=1)
    assert RST in peer.expect().flags
    assert wire.accepted() == []


@pytest.mark.wire(half_open=8, connections=64)
def test_a_flood_of_syns_is_answered_statelessly_and_leaves_nothing(wire):
    """RFC 4987 2, 3.6"""
    for i in range(2000):
        wire.send_frame(FRAME.build(src=f"10.0.0.{3 + i % 250}", src_port=1 + i, flags=SYN, seq=i, mss=1460))
    assert len(states(wire)) <= 8
    peer = wire.peer(port=9)
    conn = peer.open()
    peer.send(ACK | PSH, b"served")
    assert conn.recv() == b"served"
    conn.abort()
    wire.run(ms=300_000)
    assert wire.host.is_idle()


@pytest.mark.wire(connections=64)
@pytest.mark.parametrize("flags", [ACK, FIN | ACK, SYN | ACK, ACK | PSH])
def test_a_flood_for_no_connection_leaves_nothing(wire, flags):
    """RFC 9293 3.10.7.1"""
    for i in range(500):
        wire.send_frame(FRAME.build(src_port=1 + i, flags=flags, seq=i, ack=i))
    assert wire.host.is_idle()
    assert states(wire) == []


def malformed():
    """Frames that break one rule each, and the reason under which they are counted."""
    good = dataclasses.replace(FRAME, flags=SYN, mss=1460)
    good6 = dataclasses.replace(good, src="fd00::2", dst="fd00::1")
    return {
        "ETHERNET_SHORT": good.build(truncate=13),
        "ETHERNET_TYPE": good.build(ethertype=0x88CC),
        "ETHERNET_VLAN_DEPTH": good.build(vlan=(1, 2, 3)),
        "ETHERNET_NOT_OURS": good.build(dst_mac="02:00:00:00:00:77"),
        "IPV4_SHORT": good.build(truncate=20),
        "IPV4_VERSION": good.build(ip_version=5),
        "IPV4_HEADER_LENGTH": good.build(ip_header_words=4),
        "IPV4_TOTAL_LENGTH": good.build(ip_total_length=1000),
        "IPV4_CHECKSUM": good.build(ip_checksum=0x1234),
        "IPV4_FRAGMENT": good.build(ip_fragment=0x2000),
        "IP_PROTOCOL": good.build(protocol=17),
        "IP_SOURCE": good.build(src="127.0.0.1"),
        "IPV6_SHORT": good6.build(truncate=40),
        "IPV6_VERSION": good6.build(ip_version=4),
        "IPV6_PAYLOAD_LENGTH": good6.build(ip_total_length=1000),
        "TCP_DATA_OFFSET": good.build(data_offset=4),
        "TCP_CHECKSUM": good.build(tcp_checksum=0x1234),
        "TCP_OPTION_LENGTH": good.build(options=b"\2\0\0\0"),
        "TCP_PORT_ZERO": good.build(src_port=0),
        "TCP_FLAGS": good.build(flags=SYN | FIN),
    }


@pytest.mark.parametrize("reason", malformed())
def test_a_malformed_packet_is_counted_under_its_reason_and_unanswered(wire, reason):
    """RFC 9293 3.1, MUST-3, MUST-7"""
    wire.send_frame(malformed()[reason])
    wire.run(ms=5000)
    assert wire.strays == []
    counted = {name: count for name, count in wire.stack.stats()["refused"].items() if count}
    assert counted == {reason.lower(): 1}
    assert wire.host.is_idle()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"dst": address} for address in ("10.0.0.9", "10.0.0.255")),
        *({"dst_mac": mac} for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01")),
        *({"src": address} for address in ("224.0.0.1", "10.0.0.1", "255.255.255.255", "0.0.0.0")),
    ],
    ids=str,
)
@pytest.mark.parametrize("flags", [SYN, ACK])
@pytest.mark.parametrize("port", [80, 81])
def test_what_is_not_for_us_or_from_nobody_is_not_answered(wire, wrong, flags, port):
    """RFC 9293 3.9.2.3, RFC 1122 3.2.1.3"""
    wire.send_frame(FRAME.build(dst_port=port, flags=flags, mss=1460, **wrong))
    wire.run(ms=2000)
    assert wire.strays == []
    assert sum(wire.stack.stats()["refused"].values()) == 1


def test_every_cut_of_a_good_frame_is_survived(wire, peer):
    """RFC 9293 3.1, MUST-7"""
    conn = peer.open()
    whole = peer.make(ACK | PSH, b"payload", timestamps=(1, 2)).build()
    for octets in range(1, len(whole)):
        wire.send_frame(whole[:octets])
    peer.drain()
    peer.send(ACK | PSH, b"after")
    assert conn.recv() == b"after"


def test_padding_of_the_frame_is_not_data(wire, peer):
    """RFC 894: the IP length says where the packet ends"""
    conn = peer.open()
    wire.send_frame(peer.make(ACK | PSH, b"x").build(padding=bytes(20)))
    assert conn.recv() == b"x"
    wire.settle()
    assert peer.drain()[-1].ack == 2
