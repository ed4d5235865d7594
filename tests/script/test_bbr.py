"""BBR version 3 (draft-ietf-ccwg-bbr) on a connection: what leaves when, and what recovery leaves to it."""

import contextlib
import itertools
import socket

import pytest

from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, SYN

MSS = 1000
RTT_MS = 40

pytestmark = pytest.mark.wire(congestion="bbr")


def opened(peer, **options):
    return peer.open(mss=MSS, window=60_000, window_scale=4, sack_permitted=True, rtt_ms=RTT_MS, **options)


class Path:
    """The peer behind a path: it acknowledges what it gets a round trip later, but what is to be lost."""

    def __init__(self, peer, conn):
        self.peer, self.conn = peer, conn
        self.got, self.due = set(), []
        self.lose = set()
        self.left = 0

    def write(self, octets):
        """The application has so much to send, and gives what is taken."""
        self.left += octets
        with contextlib.suppress(BlockingIOError):
            while self.left:
                self.left -= self.conn.send(bytes(self.left))

    def run(self, ms):
        """Let time pass; returns the data segments that came, with when they did."""
        came = []
        for _ in range(round(ms)):
            self.write(0)
            self.peer.wire.run(ms=1)
            now = self.peer.wire.network.clock.elapsed_ms
            for seg in self.peer.drain():
                if seg.payload:
                    came.append((now, seg))
                    if seg.seq in self.lose:
                        self.lose.remove(seg.seq)
                    else:
                        self.due.append((now + RTT_MS, seg))
            while self.due and self.due[0][0] <= now:
                self.acknowledge(self.due.pop(0)[1])
        return came

    def acknowledge(self, seg):
        self.got |= set(range(seg.seq, seg.end, MSS))
        edge = next(at for at in itertools.count(1, MSS) if at not in self.got)
        sack = ((seg.seq, seg.end),) if seg.seq > edge else ()
        self.peer.send(ACK, ack=edge, sack=sack)


def filled(peer, octets=2_000_000, ms=600):
    """A connection whose application does not cease to write, and its path after a while."""
    conn = opened(peer)
    path = Path(peer, conn)
    path.write(octets)
    path.run(ms)
    return conn, path


def test_the_stacks_control_is_bbr(peer):
    conn = opened(peer)
    assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION) == b"bbr"
    assert conn.info()["bbr_phase"] == "startup"


@pytest.mark.wire(congestion="cubic")
def test_a_connection_changes_to_it_and_back(peer):
    conn = opened(peer)
    assert "bbr_phase" not in conn.info()
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "bbr")
    assert conn.info()["bbr_phase"] == "startup"
    assert conn.info()["pacing_rate_bps"] > 0
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    assert "bbr_phase" not in conn.info()
    assert conn.info()["pacing_rate_bps"] == 0


@pytest.mark.wire(congestion="cubic")
def test_a_change_with_data_in_flight_samples_it(peer):
    """4.1.2.2: what is outstanding counts as sent at the change"""
    conn = opened(peer)
    conn.send(bytes(10 * MSS))
    peer.wire.settle()
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "bbr")
    peer.wire.run(ms=RTT_MS)
    peer.send(ACK, ack=1 + 10 * MSS)
    assert conn.info()["delivery_rate_bps"] == pytest.approx(10 * MSS * 8 / RTT_MS * 1000, rel=0.05)


@pytest.mark.parametrize("marked", [False, True], ids=["lost", "marked and lost"])
def test_a_change_in_the_middle_of_recovery(wire, peer, marked):
    """5.6.4.4: BBR has set no ssthresh, and the window of the other control is no larger for it"""
    peer.send(SYN | Flags.ECE | Flags.CWR, mss=MSS, sack_permitted=True)
    peer.expect(SYN | ACK | Flags.ECE)
    peer.wire.run(ms=RTT_MS)
    peer.send(ACK)
    (conn,) = wire.accepted()
    conn.send(bytes(20 * MSS))
    wire.run(ms=3 * RTT_MS)
    sent = peer.rcv_nxt
    if marked:
        peer.send(ACK | Flags.ECE, ack=1 + MSS)
    else:
        peer.send(ACK, ack=1 + MSS, sack=((1 + 2 * MSS, 1 + 6 * MSS),))
        assert wire.count("fast_retransmits") == 1
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, "reno")
    if marked:
        peer.send(ACK, ack=1 + MSS, sack=((1 + 2 * MSS, 1 + 6 * MSS),))
        assert wire.count("fast_retransmits") == 1
    wire.run(ms=RTT_MS)
    peer.send(ACK, ack=peer.rcv_nxt)
    assert conn.info()["cwnd_bytes"] <= 40 * MSS
    assert sent > 1


def test_the_first_flight_is_paced(peer):
    """5.6.2: the initial window takes a round trip's part of 1 / 2.77"""
    conn = opened(peer)
    conn.send(bytes(10 * MSS))
    came = Path(peer, conn).run(RTT_MS - 5)
    assert len(came) == 10
    assert came[-1][0] - came[0][0] == pytest.approx(RTT_MS / 2.77, abs=4)  # less three ticks' credit


def test_startup_doubles_the_rate_each_round_trip(peer):
    """5.3.1.1"""
    conn = opened(peer)
    path = Path(peer, conn)
    path.write(500_000)
    counts = [len(path.run(RTT_MS + 1)) for _ in range(4)]
    assert all(1.5 <= late / early <= 2.6 for early, late in itertools.pairwise(counts[1:]))


def test_a_sample_is_the_rate_of_the_path(peer):
    """4.1: a window of 60 kB each 40 ms is all that the peer allows"""
    conn, _ = filled(peer)
    info = conn.info()
    assert info["bbr_max_bw_bps"] == pytest.approx(60_000 * 16 * 8 / RTT_MS * 1000, rel=0.5)
    assert info["bbr_min_rtt_us"] == pytest.approx(RTT_MS * 1000, rel=0.1)


def test_recovery_leaves_the_window_to_the_model(wire, peer):
    """5.6.4.4: no reduction in proportion to what is delivered (RFC 6937), no ssthresh"""
    conn, path = filled(peer, octets=4_000_000, ms=350)
    before = conn.info()
    path.lose = {peer.rcv_nxt + 5 * MSS}
    path.run(RTT_MS * 3)
    after = conn.info()
    assert wire.count("fast_retransmits") >= 1
    assert after["cwnd_bytes"] >= 0.9 * before["cwnd_bytes"]
    assert after["ssthresh_bytes"] == 2**32 - 1


def test_a_timeout_begins_with_a_segment_and_the_window_returns(wire, peer):
    """5.6.4.4"""
    conn = opened(peer)
    path = Path(peer, conn)
    conn.send(bytes(60 * MSS))
    path.run(RTT_MS * 3)
    before = conn.info()["cwnd_bytes"]
    conn.send(bytes(20 * MSS))
    wire.run(ms=2000)
    assert wire.count("timeouts") >= 1
    assert conn.info()["cwnd_bytes"] <= 4 * MSS
    peer.drain()
    path.got |= set(range(1, peer.rcv_nxt, MSS))
    peer.send(ACK, ack=peer.rcv_nxt)
    path.run(RTT_MS * 20)
    assert conn.info()["cwnd_bytes"] >= before


def test_after_idleness_the_window_is_what_it_was(wire, peer):
    """5.4.1: neither RFC 5681 4.1 nor RFC 7661 4.4.3 apply"""
    conn = opened(peer)
    path = Path(peer, conn)
    path.write(300 * MSS)
    path.run(RTT_MS * 12)
    assert conn.info()["flight_bytes"] == 0
    before = conn.info()["cwnd_bytes"]
    wire.run(ms=400_000)
    conn.send(bytes(MSS))
    path.run(RTT_MS * 2)
    assert conn.info()["cwnd_bytes"] >= before
    assert wire.count("idle_restarts") == wire.count("window_validations") == 0


def test_the_applications_limit_bounds_its_rate(wire, peer):
    """SO_MAX_PACING_RATE"""
    conn = opened(peer)
    conn.setsockopt(socket.SOL_SOCKET, 47, 100_000)
    path = Path(peer, conn)
    path.write(300 * MSS)
    path.run(500)
    came = path.run(1000)
    assert len(came) == pytest.approx(100, abs=8)
    assert conn.info()["pacing_rate_bps"] <= 800_000


def test_a_sender_that_writes_little_measures_no_less_bandwidth(peer):
    """5.5.4: samples of the application's own rate do not count"""
    conn, path = filled(peer, octets=600_000)
    while path.left or conn.info()["flight_bytes"]:
        path.run(RTT_MS)
    before = conn.info()["bbr_max_bw_bps"]
    for _ in range(30):
        conn.send(bytes(MSS))
        path.run(RTT_MS * 2)
    assert conn.info()["bbr_max_bw_bps"] == before
    assert conn.info()["bbr_phase"] in ("startup", "cruise", "down", "drain")


def test_an_ack_of_part_of_a_segment_counts_what_it_covers(wire, peer):
    """4.1.2.3: each octet is delivered once"""
    conn = opened(peer)
    conn.send(bytes(2 * MSS))
    wire.run(ms=RTT_MS)
    peer.drain()
    peer.send(ACK, ack=1 + 300)
    wire.run(ms=RTT_MS)
    peer.send(ACK, ack=1 + 2 * MSS)
    assert conn.info()["delivery_rate_bps"] <= 2 * MSS * 8 / RTT_MS * 1000


@pytest.mark.wire(congestion="bbr", ecn=2)
def test_congestion_marks_are_answered(wire, peer):
    """RFC 3168 6.1.2: with CWR, and as a loss is"""
    peer.window = 60_000
    peer.send(SYN | Flags.ECE | Flags.CWR, mss=MSS, sack_permitted=True, window_scale=4)
    peer.expect(SYN | ACK | Flags.ECE)
    wire.run(ms=RTT_MS)
    peer.send(ACK)
    (conn,) = wire.accepted()
    conn.send(bytes(10 * MSS))
    wire.run(ms=RTT_MS)
    peer.drain()
    peer.send(ACK | Flags.ECE, ack=1 + 4 * MSS)
    assert wire.count("ecn_reductions") == 1
    conn.send(bytes(10 * MSS))
    wire.run(ms=RTT_MS)
    assert any(seg.flags & Flags.CWR for seg in peer.drain())


def test_a_reset_in_the_middle_leaves_nothing(wire, peer):
    conn, _ = filled(peer)
    peer.send(Flags.RST, seq=peer.snd_nxt)
    assert conn.state == "CLOSED"
    wire.run(ms=1000)
    assert wire.host.is_idle()
