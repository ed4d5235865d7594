"""Sequence numbers that wrap at 2^32 in the middle of everything (RFC 9293 3.4): theirs, ours, and both."""

import pytest

from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN

MSS = 1000
TICK_NS = 4000
URG = Flags.URG


def ours_at(wire, before, **arguments):
    """A peer to whom our initial number is `before` octets under the wrap, give or take three."""
    probe = wire.peer(**arguments)
    probe.send(SYN, mss=MSS)
    probe.expect(SYN | ACK)
    probe.send(RST, seq=1)
    wait = (2**32 - before - probe.irs) % 2**32 * TICK_NS
    wire.network.run(for_ns=wait)
    return wire.peer(**arguments)


@pytest.fixture(params=["theirs", "ours", "both"])
def near(request, wire):
    """near(n): a peer with whom that side's, or both sides', numbers wrap n octets after the SYN."""

    def make(octets):
        iss = 2**32 - octets if request.param != "ours" else 1000
        if request.param == "theirs":
            return wire.peer(iss=iss)
        peer = ours_at(wire, octets, iss=iss)
        return peer

    return make


@pytest.mark.parametrize("octets", [0, 1, 2, 3, 4])
def test_the_handshake(wire, near, octets):
    """RFC 9293 3.5: SYN, its acknowledgment or the next octet have number 0"""
    peer = near(octets)
    conn = peer.open(mss=MSS, sack_permitted=True)
    peer.send(ACK | PSH, b"ping")
    assert conn.recv() == b"ping"
    conn.send(b"pong")
    wire.settle()
    assert [seg.payload for seg in peer.drain() if seg.payload] == [b"pong"]


@pytest.mark.parametrize("octets", [1, 500, 1000, 1001, 1002, 4500])
def test_data_both_ways(wire, near, octets):
    """RFC 9293 3.4: in order"""
    peer = near(octets)
    conn = peer.open(mss=MSS)
    stream = bytes(i % 251 for i in range(9 * MSS))
    got = b""
    for at in range(0, len(stream), MSS):
        peer.send(ACK | PSH, stream[at : at + MSS])
        got += conn.recv()
        conn.send(stream[at : at + MSS])
        wire.settle()
    assert got == stream
    assert b"".join(seg.payload for seg in peer.drain() if seg.payload) == stream
    assert wire.count("retransmits") == wire.count("out_of_window") == 0


@pytest.mark.parametrize("octets", [1, 1500, 2001, 2500, 3001])
def test_out_of_order_and_sack(wire, near, octets):
    """RFC 2018 4: blocks on both sides of the wrap, and one across it"""
    peer = near(octets)
    conn = peer.open(mss=MSS, sack_permitted=True)
    stream = bytes(i % 251 for i in range(5 * MSS))
    for number in (4, 2, 3):
        peer.send(ACK, stream[number * MSS : (number + 1) * MSS], seq=1 + number * MSS)
    assert peer.drain()[-1].sack == ((1 + 2 * MSS, 1 + 5 * MSS),)
    peer.send(ACK, stream[MSS : 2 * MSS], seq=1 + MSS)
    peer.send(ACK, stream[:MSS], seq=1)
    assert conn.recv() == stream
    assert peer.drain()[-1].ack == 1 + 5 * MSS


@pytest.mark.parametrize("octets", [1, 1500, 3001, 6500])
def test_recovery_by_sack(wire, near, octets):
    """RFC 6675 5, RFC 8985 6.2: holes on both sides of the wrap are sent again, and nothing else"""
    peer = near(octets)
    conn = peer.open(mss=MSS, sack_permitted=True, rtt_ms=10)
    conn.send(bytes(10 * MSS))
    wire.settle()
    peer.drain()
    wire.run(ms=10)
    peer.send(ACK, ack=1, sack=((1 + MSS, 1 + 3 * MSS), (1 + 4 * MSS, 1 + 10 * MSS)))
    wire.run(ms=5)
    assert {seg.seq for seg in peer.drain()} == {1, 1 + 3 * MSS}
    peer.send(ACK, ack=1 + 10 * MSS)
    assert conn.info()["flight_bytes"] == conn.info()["lost_bytes"] == 0


@pytest.mark.parametrize("octets", [1, 999, 1000, 1001, 1002, 1003])
def test_the_fin(wire, near, octets):
    """RFC 9293 3.6: its number or that behind it is 0"""
    peer = near(octets)
    conn = peer.open(mss=MSS)
    peer.send(ACK | PSH | FIN, bytes(MSS))
    assert len(conn.recv()) == MSS
    assert conn.recv() == b""
    conn.send(bytes(MSS))
    conn.close()
    wire.settle()
    sent = peer.drain()
    assert any(FIN in seg.flags for seg in sent)
    assert sent[-1].ack == MSS + 2
    peer.send(ACK, ack=MSS + 2)
    assert wire.host.is_idle()


@pytest.mark.parametrize("octets", [1, 4, 10])
def test_urgent_data(wire, near, octets):
    """RFC 9293 3.8.5"""
    peer = near(octets)
    conn = peer.open()
    peer.send(ACK | PSH | URG, b"0123456789", urgent=8)
    assert conn.urgent == 8
    conn.recv()
    assert conn.urgent == 0
    conn.send_urgent(b"0123456789")
    wire.settle()
    assert peer.drain()[-1].urgent == 10


@pytest.mark.parametrize("octets", [1, 30, 60])
def test_forged_segments(wire, near, octets):
    """RFC 5961 3.2, 5.2: the checks compare as circles do"""
    peer = near(octets)
    conn = peer.open()
    peer.send(ACK | PSH, bytes(50))
    conn.send(bytes(50))
    wire.settle()
    peer.send(ACK)
    peer.drain()
    for seq in (-2, 1, 1000, -2000):
        peer.send(RST, seq=peer.snd_nxt + seq)
    for ack in (1, 1000, -70_000):
        peer.send(ACK | PSH, b"evil", seq=peer.snd_nxt, ack=peer.rcv_nxt + ack)
    assert conn.state == "ESTABLISHED"
    assert len(conn.recv()) == 50
    peer.send(RST)
    assert conn.state == "CLOSED"


def test_a_window_across_the_wrap(wire, near):
    """RFC 9293 3.8.6: closed and probed, half of it behind the wrap"""
    peer = near(1500)
    conn = peer.open(mss=MSS, window=2 * MSS)
    conn.send(bytes(4 * MSS))
    wire.settle()
    assert len(peer.drain()) == 2
    peer.send(ACK, window=0)
    peer.expect(ACK, within_ms=5000)
    peer.send(ACK, window=2 * MSS)
    wire.settle()
    assert sum(len(seg.payload) for seg in peer.drain()) == 2 * MSS
