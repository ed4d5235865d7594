"""Those who forge and cheat: RFC 5961, RFC 4953, and receivers that lie.

See also test_reset, test_icmp, test_limits, test_recovery.
"""

import contextlib
import random
import socket

import pytest

from underpass.testing.clock import SECOND
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN

MSS = 1000
WINDOW = 65535


def data(peer):
    """The data segments that have come."""
    peer.wire.settle()
    return [seg for seg in peer.drain() if seg.payload]


def answers(peer):
    peer.wire.settle()
    return len(peer.drain())


# ---- blind resets, SYNs and data

def bring(peer, state):
    """A connection of ours in that state; what the peer sends next has number SND.NXT."""
    conn = peer.open()
    if state in ("CLOSE-WAIT", "LAST-ACK"):
        peer.send(ACK | FIN)
    if state not in ("ESTABLISHED", "CLOSE-WAIT"):
        conn.shutdown()
    peer.wire.settle()
    if state == "FIN-WAIT-2":
        peer.send(ACK)
    if state == "CLOSING":
        peer.send(ACK | FIN, ack=1)
    assert conn.state == state
    peer.drain()
    return conn


STATES = ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"]


@pytest.mark.parametrize("state", STATES)
def test_a_reset_counts_only_at_rcv_nxt_in_every_state(wire, peer, state):
    """RFC 5961 3.2, RFC 9293 3.10.7.4, second"""
    conn = bring(peer, state)
    for beyond in (1, 1000, WINDOW - 1, WINDOW + 1, 2**31):
        peer.send(RST, seq=peer.snd_nxt + beyond)
    assert conn.state == state
    peer.send(RST)
    assert conn.state == "CLOSED"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("flags", [SYN, SYN | ACK])
def test_a_syn_ends_nothing_in_every_state(wire, peer, state, flags):
    """RFC 5961 4.2: whatever its number, it is challenged or dropped"""
    conn = bring(peer, state)
    for seq in (-1, 0, 1, WINDOW - 1, 2**31):
        peer.send(flags, seq=peer.snd_nxt + seq, ack=1, mss=1460)
    assert conn.state == state
    assert all(seg.flags == ACK for seg in peer.drain())


def test_a_sweep_of_resets_over_the_window_hits_once(wire, peer):
    """RFC 5961 3.1: who does not know RCV.NXT needs one segment for each number, not one for each window"""
    conn = peer.open()
    for seq in range(2, WINDOW, 97):
        peer.send(RST, seq=seq)
    assert conn.state == "ESTABLISHED"
    assert wire.count("resets_in") == 0
    assert answers(peer) <= 1500


def test_a_reset_does_not_end_time_wait(wire, peer):
    """RFC 1337 3, RFC 4953 2.1: an assassin would let old duplicates into the next connection"""
    conn = bring(peer, "FIN-WAIT-2")
    peer.send(ACK | FIN)
    conn.close()
    wire.settle()
    peer.send(RST)
    assert "TIME-WAIT" in [row["state"] for row in wire.stack.connections()]


@pytest.mark.parametrize(
    ("behind", "taken"), [(0, True), (WINDOW, True), (WINDOW + 1, False), (2**30, False)]
)
def test_data_needs_an_acknowledgment_from_the_last_window(wire, peer, behind, taken):
    """RFC 5961 5.2: (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT"""
    conn = peer.open(mss=MSS)
    for _ in range(100):
        conn.send(bytes(MSS))
        wire.settle()
        peer.drain()
        peer.send(ACK)
    peer.send(ACK | PSH, b"x", ack=peer.rcv_nxt - behind)
    try:
        assert conn.recv() == b"x"
        got = True
    except BlockingIOError:
        got = False
    assert got == taken


def test_blind_data_without_an_ack_or_with_any_but_ours_is_dropped(wire, peer):
    """RFC 5961 5.1: the chance of a hit is that of the window among all numbers"""
    rng = random.Random(7)
    conn = peer.open()
    for _ in range(500):
        peer.send(ACK | PSH, b"evil", seq=1, ack=rng.randrange(2, 2**32 - WINDOW))
    with pytest.raises(BlockingIOError):
        conn.recv()
    assert wire.count("ack_refused") == 500


# ---- acknowledgments without end

@pytest.mark.wire(challenge_acks_ps=10)
def test_the_budget_of_a_second_cannot_be_counted(wire):
    """RFC 5961 7, and CVE-2016-5696: a constant limit tells third parties what others sent"""
    peers = [wire.peer(port=port) for port in range(1000, 1040)]
    for peer in peers:
        peer.open()
    seen = set()
    for _ in range(12):
        wire.run(ms=1000 - wire.now_ns % SECOND // 1_000_000)
        for peer in peers:
            peer.send(RST, seq=2)
        seen.add(sum(answers(peer) for peer in peers))
    assert len(seen) > 2
    assert max(seen) <= 15


def desynchronize(peer):
    """Another octet than the peer's own came in: from now on its pure ACKs are one behind (RFC 4953 2.3)."""
    conn = peer.open()
    peer.send(ACK | PSH, b"!", seq=1)
    conn.recv()
    peer.wire.run(ms=1000)
    peer.drain()
    peer.snd_nxt = 1


def test_two_sides_that_disagree_do_not_answer_each_other_for_ever(wire, peer):
    """RFC 9293 3.10.7.4, first; RFC 5961 7: the ACK storm of injected data ends"""
    desynchronize(peer)
    for _ in range(300):
        peer.send(ACK, seq=1, ack=2)
    assert answers(peer) <= 2


@pytest.mark.parametrize("seq", [-1, -1000, WINDOW + 10, 2**30])
def test_segments_without_text_are_answered_at_a_bounded_rate(wire, peer, seq):
    """RFC 5961 7"""
    peer.open()
    for _ in range(300):
        peer.send(ACK, seq=1 + seq)
    assert answers(peer) <= 2


@pytest.mark.parametrize("fields", [{"ack": 500}, {"ack": -WINDOW * 4}])
def test_bad_acknowledgments_are_answered_at_a_bounded_rate(wire, peer, fields):
    """RFC 5961 5.2, 7: with and without text"""
    peer.open()
    for _ in range(150):
        peer.send(ACK, **fields)
        peer.send(ACK | PSH, b"x", seq=1, **fields)
    assert answers(peer) <= 2


def test_old_timestamps_are_answered_at_a_bounded_rate(wire, peer):
    """RFC 7323 5.3 R1: an ACK in answer, but not to every one of a flood without text"""
    peer.timestamp = 1000
    peer.open()
    peer.timestamp = 1
    for _ in range(300):
        peer.send(ACK, seq=1, ack=1)
    assert answers(peer) <= 2


def test_segments_outside_the_window_are_answered_once_a_batch(wire, peer):
    """RFC 9293 3.10.7.4, MUST-58: no more answers than segments, and fewer where they come together"""
    peer.open()
    for _ in range(10):
        wire.send_frame(*(peer.make(ACK | PSH, b"x", seq=2**29 + i).build() for i in range(30)))
    assert answers(peer) <= 10


def test_time_wait_answers_at_a_bounded_rate(wire, peer):
    """RFC 5961 7"""
    conn = bring(peer, "FIN-WAIT-2")
    peer.send(ACK | FIN)
    conn.close()
    wire.settle()
    peer.drain()
    for _ in range(300):
        peer.send(ACK, seq=1, ack=1)
    assert answers(peer) <= 2


# ---- receivers that lie

def test_an_acknowledgment_of_what_was_not_sent_moves_nothing(wire, peer):
    """RFC 9293 3.10.7.4, fifth; RFC 5681 3.1: optimistic ACKs"""
    conn = peer.open(mss=MSS)
    conn.send(bytes(100 * MSS))
    assert len(data(peer)) == 10
    before = conn.info()
    for ack in (10 * MSS + 2, 20 * MSS, 2**31):
        peer.send(ACK, ack=ack)
    after = conn.info()
    assert data(peer) == []
    assert (after["cwnd_bytes"], after["flight_bytes"]) == (before["cwnd_bytes"], before["flight_bytes"])
    assert wire.count("ack_refused") == 3


def test_an_acknowledgment_of_what_was_never_received_harms_the_liar_alone(wire, peer):
    """RFC 5681 3.1, RFC 3465 2.3: the window grows by what is acknowledged, L segments an ACK at most"""
    conn = peer.open(mss=MSS, window_scale=4)
    conn.send(bytes(2000 * MSS))
    cwnd = conn.info()["cwnd_bytes"]
    for _ in range(10):
        sent = data(peer)
        if not sent:
            break
        peer.send(ACK, ack=sent[-1].seq + MSS)
        assert conn.info()["cwnd_bytes"] == cwnd + min(len(sent), 96) * MSS
        cwnd = conn.info()["cwnd_bytes"]
    assert wire.count("retransmits") == 0


def test_acknowledgments_in_small_parts_gain_nothing(wire, peer):
    """RFC 3465 2.1: division of an ACK"""
    whole, parts = wire.peer(port=100), wire.peer(port=101)
    grown = []
    for each, step in ((whole, 10 * MSS), (parts, 10)):
        conn = each.open(mss=MSS)
        conn.send(bytes(12 * MSS))
        data(each)
        for ack in range(1 + step, 10 * MSS + 2, step):
            each.send(ACK, ack=ack)
        grown.append(conn.info()["cwnd_bytes"])
    assert grown[1] <= grown[0] + 2 * MSS
    assert grown[1] <= 20 * MSS


@pytest.mark.wire(snd_frames=1024, frames=8192)
def test_reports_of_every_second_segment_cost_a_bounded_time(wire, peer):
    """RFC 2018 8, RFC 4953: as many holes as there can be, reported again and again"""
    conn = peer.open(mss=64, window_scale=7, sack_permitted=True)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    for _ in range(7):
        with contextlib.suppress(BlockingIOError):
            conn.send(bytes(50_000))
        peer.send(ACK, ack=peer.rcv_nxt)
    edge = peer.rcv_nxt
    una = edge - conn.info()["flight_bytes"]
    assert edge - una > 50 * 64
    blocks = [(seq, seq + 64) for seq in range(una + 64, edge - 64, 128)]
    for at in range(0, len(blocks) - 4, 4):
        peer.send(ACK, ack=una, sack=tuple(blocks[at : at + 4]))
    assert conn.info()["sacked_bytes"] > 20 * 64
    edge = una + conn.info()["flight_bytes"]
    peer.send(ACK, ack=edge)
    assert conn.info()["sacked_bytes"] == conn.info()["lost_bytes"] == 0


@pytest.mark.parametrize(
    "blocks", [((500, 400),), ((1, 1),), ((2**31, 2**31 + 5),), ((0, 5),), ((-5, 2**31 - 10),)]
)
def test_reports_that_make_no_sense_are_refused(wire, peer, blocks):
    """RFC 2018 3, RFC 2883 5"""
    conn = peer.open(mss=MSS, sack_permitted=True)
    conn.send(bytes(5 * MSS))
    data(peer)
    peer.send(ACK, ack=1, sack=blocks)
    assert conn.info()["sacked_bytes"] == 0
    assert conn.state == "ESTABLISHED"


# ---- small segments and windows

@pytest.mark.parametrize("mss", [0, 1, 8, 63])
def test_a_tiny_mss_costs_bounded_overhead(wire, peer, mss):
    """RFC 4953, RFC 9293 3.7.1: a peer that wants one octet a packet does not get it"""
    peer.timestamp = 1
    conn = peer.open(mss=mss)
    conn.send(bytes(4000))
    sizes = [len(seg.payload) for seg in data(peer)]
    assert min(sizes) >= 52
    assert conn.info()["mss"] >= 52


def test_a_window_of_one_octet_costs_a_packet_a_timeout(wire, peer):
    """RFC 9293 3.8.6.2.1: silly windows are not filled, but for the override"""
    conn = peer.open(mss=MSS, window=4 * MSS)
    conn.send(bytes(20 * MSS))
    data(peer)
    edge = peer.rcv_nxt
    peer.send(ACK, window=1)
    sent = 0
    for _ in range(600):
        wire.run(ms=100)
        came = data(peer)
        sent += len(came)
        edge = max([edge, *(seg.seq + len(seg.payload) for seg in came)])
        peer.send(ACK, ack=edge, window=1)
    assert conn.state == "ESTABLISHED"
    assert 0 < sent <= 310


def test_a_window_that_opens_and_shuts_is_no_reason_to_send_more(wire, peer):
    """RFC 9293 3.8.6: shrinking and growing by turns, a hundred times"""
    conn = peer.open(mss=MSS, window=10 * MSS)
    conn.send(bytes(30 * MSS))
    first = len(data(peer))
    for _ in range(100):
        peer.send(ACK, ack=1, window=0)
        peer.send(ACK, ack=1, window=10 * MSS)
    assert first == 10
    assert len(data(peer)) <= 3
    assert conn.state == "ESTABLISHED"


# ---- two versions of the same octets

@pytest.mark.parametrize("order", ["front", "over", "behind", "pieces"])
def test_of_two_versions_the_first_is_delivered(wire, peer, order):
    """RFC 9293 3.10.7.4, seventh; RFC 4953 2.3: a later copy does not replace what is held"""
    conn = peer.open(sack_permitted=True)
    held = {"front": [(5, b"HELD")], "over": [(5, b"HELD")], "behind": [(3, b"HELD")],
            "pieces": [(3, b"A"), (6, b"B"), (9, b"CC")]}[order]  # fmt: skip
    for seq, octets in held:
        peer.send(ACK | PSH, octets, seq=seq)
    forged = {"front": b"ffffff", "over": b"f" * 12, "behind": b"ffff", "pieces": b"f" * 12}[order]
    peer.send(ACK | PSH, forged, seq=1)
    got = conn.recv()
    for seq, octets in held:
        assert got[seq - 1 : seq - 1 + len(octets)] == octets
    assert set(got) <= set(b"f" + b"".join(octets for _, octets in held))
    peer.send(ACK | PSH, b"X" * len(got), seq=1)
    with pytest.raises(BlockingIOError):
        conn.recv()


# ---- time

@pytest.mark.parametrize("days", [1, 30, 400])
def test_a_jump_of_the_clock_is_one_timeout(wire, peer, days):
    """RFC 6298 5: as after a suspension of the machine; the peer is asked once more, not given up"""
    conn = peer.open(rtt_ms=10)
    conn.send(b"in flight")
    data(peer)
    wire.network.clock.now_ns += days * 86400 * SECOND
    wire.settle()
    assert conn.state == "ESTABLISHED"
    assert [seg.payload for seg in data(peer)] == [b"in flight"]
    peer.send(ACK)
    conn.send(b"goes on")
    assert [seg.payload for seg in data(peer)] == [b"goes on"]


def test_time_that_goes_back_stands_still(wire, peer):
    """A caller's clock that is set back must not end connections or stop their timers."""
    conn = peer.open(rtt_ms=10)
    conn.send(b"in flight")
    data(peer)
    now = wire.now_ns
    for back in (1, SECOND, now):
        wire.stack.step(now - back)
    assert conn.info()["silent_ms"] < 1000
    assert peer.expect(ACK, within_ms=1000).payload == b"in flight"
    peer.send(ACK)
    assert conn.info()["rtt_us"] < 1_000_000


def test_after_a_jump_old_timestamps_prove_nothing(wire, peer):
    """RFC 7323 5.5: TS.Recent is 24 days old"""
    peer.timestamp = 2**31
    conn = peer.open()
    wire.network.clock.now_ns += 25 * 86400 * SECOND
    wire.settle()
    peer.timestamp = 5
    peer.send(ACK | PSH, b"a new age")
    assert conn.recv() == b"a new age"
