"""Explicit Congestion Notification (RFC 3168), with a peer that marks and echoes as it likes."""

import socket

import pytest

from underpass.testing.flight import RTT, ack, at, block
from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, FIN, PSH, SYN

ECE, CWR = Flags.ECE, Flags.CWR
ECT_0, CE = 2, 3
MSS = 1000

asks = pytest.mark.wire(ecn=1)
both_families = pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])


def opened(peer, **options):
    """A connection that the peer opened with ECN; returns the SYN-ACK's flags too."""
    peer.send(SYN | ECE | CWR, mss=MSS, **options)
    answer = peer.expect()
    peer.send(ACK)
    return peer.wire.accepted()[-1], answer


def data(peer):
    """The segments with payload that have come."""
    peer.wire.settle()
    return [seg for seg in peer.drain() if seg.payload]


# ---- the handshake


def test_an_ecn_setup_syn_is_agreed_to(wire, peer):
    """RFC 3168 6.1.1: the SYN-ACK has ECE, and not CWR"""
    conn, answer = opened(peer)
    assert answer.flags == SYN | ACK | ECE
    assert conn.info()["ecn"] == 1
    assert wire.count("ecn_negotiated") == 1


@pytest.mark.parametrize("flags", [Flags.NONE, ECE, CWR], ids=["neither", "ECE", "CWR"])
def test_another_syn_is_not(wire, peer, flags):
    """RFC 3168 6.1.1: an ECN-setup SYN has both flags"""
    peer.send(SYN | flags, mss=MSS)
    assert peer.expect().flags == SYN | ACK
    peer.send(ACK)
    conn = wire.accepted()[-1]
    conn.send(b"plain")
    assert [seg.traffic_class for seg in data(peer)] == [0]


@pytest.mark.wire(ecn=0)
def test_ecn_switched_off(peer):
    """As Linux' tcp_ecn 0"""
    conn, answer = opened(peer)
    assert answer.flags == SYN | ACK
    assert conn.info()["ecn"] == 0


def test_by_default_our_syn_does_not_ask(wire):
    """As Linux' tcp_ecn 2: only where the peer asks"""
    peer = wire.peer(port=80, to_port=50000)
    wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    assert peer.expect().flags == SYN


@asks
def test_our_syn_asks_where_it_shall(wire):
    """RFC 3168 6.1.1: ECE and CWR with the SYN, ECE with the answer"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    assert peer.expect().flags == SYN | ECE | CWR
    peer.send(SYN | ACK | ECE, mss=MSS)
    assert peer.expect().flags == ACK
    conn.send(b"capable")
    assert [seg.traffic_class for seg in data(peer)] == [ECT_0]


@asks
@pytest.mark.parametrize("flags", [Flags.NONE, ECE | CWR, CWR], ids=["neither", "both", "CWR"])
def test_a_syn_ack_that_does_not_agree(wire, flags):
    """RFC 3168 6.1.1.1: both flags are but a reflection of ours"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    peer.expect()
    peer.send(SYN | ACK | flags, mss=MSS)
    conn.send(b"plain")
    assert {seg.traffic_class for seg in data(peer)} == {0}
    assert conn.info()["ecn"] == 0


@asks
def test_a_syn_that_is_not_answered_is_sent_again_without_ecn(wire):
    """RFC 3168 6.1.1.1: something on the way may drop SYNs with these flags"""
    peer = wire.peer(port=80, to_port=50000)
    conn = wire.stack.connect((peer.base.src, 80), (peer.base.dst, 50000))
    assert peer.expect().flags == SYN | ECE | CWR
    assert peer.expect(within_ms=5000).flags == SYN
    assert wire.count("ecn_fallbacks") == 1
    peer.send(SYN | ACK | ECE, mss=MSS)
    conn.send(b"plain")
    assert {seg.traffic_class for seg in data(peer)} == {0}


def test_the_peers_fallback_is_followed(wire, peer):
    """RFC 3168 6.1.1: who has received a SYN without ECN must not set ECT"""
    peer.send(SYN | ECE | CWR, mss=MSS)
    assert peer.expect().flags == SYN | ACK | ECE
    peer.send(SYN, mss=MSS, seq=0)
    assert peer.expect().flags == SYN | ACK
    peer.send(ACK)
    wire.accepted()[-1].send(b"plain")
    assert [seg.traffic_class for seg in data(peer)] == [0]


def test_a_repeated_ecn_setup_syn_is_answered_as_before(peer):
    """RFC 3168 6.1.1"""
    peer.send(SYN | ECE | CWR, mss=MSS)
    peer.expect()
    peer.send(SYN | ECE | CWR, mss=MSS, seq=0)
    assert peer.expect().flags == SYN | ACK | ECE


# ---- which segments may be marked


@both_families
def test_only_new_data_may_be_marked(wire, v6):
    """RFC 3168 6.1.4, 6.1.5: not the SYN-ACK, not pure ACKs, not what is sent again, not a FIN alone"""
    peer = wire.peer(port=40001, v6=v6)
    conn, answer = opened(peer)
    assert answer.traffic_class == 0
    peer.send(ACK | PSH, b"x")
    assert peer.expect(ACK).traffic_class == 0
    conn.send(b"new")
    assert peer.expect(ACK, payload=b"new").traffic_class == ECT_0
    assert peer.expect(ACK, payload=b"new", within_ms=5000).traffic_class == 0
    peer.send(ACK, ack=4)
    conn.shutdown()
    assert peer.expect(FIN | ACK).traffic_class == 0


# ---- receiving


def test_a_mark_is_echoed_until_the_peer_has_reacted(peer):
    """RFC 3168 6.1.3: ECE on every acknowledgment, until CWR comes"""
    opened(peer)
    peer.send(ACK | PSH, b"a", traffic_class=ECT_0)
    assert peer.expect().flags == ACK
    peer.send(ACK | PSH, b"b", traffic_class=CE)
    assert peer.expect().flags == ACK | ECE
    peer.send(ACK | PSH, b"c", traffic_class=ECT_0)
    assert peer.expect().flags == ACK | ECE
    peer.send(ACK | PSH | CWR, b"d", traffic_class=ECT_0)
    assert peer.expect().flags == ACK


def test_a_mark_on_the_segment_with_cwr_is_a_new_one(peer):
    """RFC 3168 6.1.3: the mark is younger than the reduction"""
    opened(peer)
    peer.send(ACK | PSH, b"a", traffic_class=CE)
    assert peer.expect().flags == ACK | ECE
    peer.send(ACK | PSH | CWR, b"b", traffic_class=CE)
    assert peer.expect().flags == ACK | ECE


def test_our_data_echo_the_mark_too(peer):
    """RFC 3168 6.1.3: the acknowledgment that a data segment carries"""
    conn, _ = opened(peer)
    peer.send(ACK | PSH, b"a", traffic_class=CE)
    peer.expect()
    conn.send(b"answer")
    assert ECE in peer.expect(payload=b"answer").flags


def test_a_mark_outside_the_window_is_ignored(wire, peer):
    """RFC 3168 6.1.5: it may be forged"""
    opened(peer)
    peer.send(ACK | PSH, b"far", seq=1 + 10_000_000, traffic_class=CE)
    assert ECE not in peer.expect().flags
    assert wire.count("ce_marks_in") == 0


def test_marks_without_an_agreement_are_ignored(wire, peer):
    """RFC 3168 6.1.1"""
    peer.open()
    peer.send(ACK | PSH, b"a", traffic_class=CE)
    assert peer.expect().flags == ACK
    assert wire.count("ce_marks_in") == 0


# ---- sending


def test_an_echo_reduces_the_window_once_for_a_window_of_data(wire, peer):
    """RFC 3168 6.1.2"""
    conn, _ = opened(peer)
    conn.send(bytes(100 * MSS))
    assert len(data(peer)) == 10
    before = conn.info()["cwnd_bytes"]
    peer.send(ACK | ECE, ack=1 + 2 * MSS)
    reduced = conn.info()["cwnd_bytes"]
    assert reduced == pytest.approx(0.7 * before, abs=2 * MSS)
    for segments in (4, 6, 8):
        peer.send(ACK | ECE, ack=1 + segments * MSS)
        assert conn.info()["cwnd_bytes"] == reduced
    assert wire.count("ecn_reductions") == 1
    assert wire.count("retransmits") == 0


def test_the_next_window_of_data_may_be_told_of_again(wire, peer):
    """RFC 3168 6.1.2"""
    conn, _ = opened(peer)
    conn.send(bytes(100 * MSS))
    data(peer)
    peer.send(ACK | ECE, ack=1 + 2 * MSS)
    data(peer)
    peer.send(ACK, ack=1 + 10 * MSS)
    later = data(peer)
    peer.send(ACK | ECE, ack=later[-1].end)
    assert wire.count("ecn_reductions") == 2


def test_the_peer_hears_of_the_reduction_with_the_next_new_segment(peer):
    """RFC 3168 6.1.2: CWR, once"""
    conn, _ = opened(peer)
    conn.send(bytes(100 * MSS))
    assert not any(CWR in seg.flags for seg in data(peer))
    peer.send(ACK | ECE, ack=1 + 8 * MSS)
    after = data(peer)
    assert [CWR in seg.flags for seg in after] == [True] + [False] * (len(after) - 1)


def test_a_loss_in_the_same_window_reduces_it_no_further(wire, peer):
    """RFC 3168 6.1.2: one reduction for a window of data"""
    conn, _ = opened(peer, sack_permitted=True)
    conn.send(bytes(100 * MSS))
    data(peer)
    peer.send(ACK | ECE, ack=1 + MSS)
    threshold = conn.info()["ssthresh_bytes"]
    for last in (4, 5, 6):
        peer.send(ACK | ECE, ack=1 + MSS, sack=((1 + 2 * MSS, 1 + last * MSS),))
    assert wire.count("fast_retransmits") == 1
    assert conn.info()["ssthresh_bytes"] == threshold


def test_a_loss_is_told_of_by_cwr_too(peer):
    """RFC 3168 6.1.2: for any reason; what is sent again does not carry it"""
    conn, _ = opened(peer)
    conn.send(bytes(100 * MSS))
    data(peer)
    for _ in range(3):
        peer.send(ACK, ack=1)
    after = data(peer)
    peer.send(ACK, ack=1 + 10 * MSS)
    after += data(peer)
    told = [seg.seq for seg in after if CWR in seg.flags]
    assert len(told) == 1
    assert 1 in [seg.seq for seg in after] and 1 not in told


def test_a_loss_that_was_none_leaves_the_next_one_to_be_answered(wire, peer):
    """RFC 3708 3, RFC 3168 6.1.2: a reduction that was taken back is none for this window of data"""
    conn, _ = opened(peer, sack_permitted=True)
    conn.send(bytes(10 * MSS))
    wire.run(ms=RTT)
    data(peer)
    before = conn.info()["cwnd_bytes"]
    ack(peer, 0, block(1, 4))
    assert [seg.seq for seg in data(peer)] == [at(0)]
    assert conn.info()["ssthresh_bytes"] < before
    ack(peer, 4, block(0))
    assert wire.count("spurious_recoveries") == 1
    assert conn.info()["ssthresh_bytes"] >= before
    wire.run(ms=RTT)
    ack(peer, 4, block(5, 10))
    wire.run(ms=RTT)
    assert wire.count("fast_retransmits") == 2
    assert conn.info()["ssthresh_bytes"] < before
    ack(peer, 10)
    assert conn.info()["cwnd_bytes"] < before


def test_echoes_without_an_agreement_are_ignored(wire, peer):
    """RFC 3168 6.1.1"""
    conn = peer.open(mss=MSS)
    conn.send(bytes(20 * MSS))
    data(peer)
    peer.send(ACK | ECE, ack=1 + 2 * MSS)
    assert wire.count("ecn_reductions") == 0


def test_a_peer_that_always_echoes_never_stops_us(wire, peer):
    """RFC 3168 6.1.2: two segments at least, whatever it says"""
    conn, _ = opened(peer)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    conn.send(bytes(400 * MSS))
    acked = 0
    for _ in range(100):
        acked = max([acked, *(seg.end for seg in data(peer))])
        peer.send(ACK | ECE, ack=acked)
    assert acked > 150 * MSS
    assert conn.info()["cwnd_bytes"] >= 2 * MSS
