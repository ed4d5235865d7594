"""Handshakes by SYN cookies (RFC 4987 3.6), and what their timestamps carry."""

import pytest

from underpass.testing.clock import SECOND
from underpass.testing.packets import Flags
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN

pytestmark = pytest.mark.wire(half_open=0)

ECE, CWR = Flags.ECE, Flags.CWR
FULL = {"mss": 1460, "window_scale": 7, "sack_permitted": True}


def begin(peer, **options):
    """A SYN, and the cookie that answers it."""
    peer.send(SYN, **options)
    return peer.expect(SYN | ACK, ack=1)


def finish(wire, peer, **fields):
    peer.send(ACK, **fields)
    (conn,) = wire.accepted()
    return conn


def test_window_scale_and_sack_come_back_with_the_timestamp(wire, peer):
    """RFC 7323 2.2, RFC 2018 2: offered by the peer, agreed to, and kept by nobody until the ACK."""
    peer.timestamp = 1000
    answer = begin(peer, **FULL)
    assert answer.window_scale is not None
    assert answer.sack_permitted
    assert answer.timestamps[1] == 1000
    info = finish(wire, peer, window=100).info()
    assert (info["sack"], info["timestamps"], info["window_scaling"]) == (1, 1, 1)
    assert (info["snd_scale"], info["rcv_scale"]) == (7, answer.window_scale)
    assert info["snd_wnd_bytes"] == 100 << 7
    assert wire.count("cookies_stamped") == wire.count("cookies_accepted") == 1


def test_only_what_was_offered_is_agreed_to(wire, peer):
    """RFC 7323 1.3"""
    peer.timestamp = 1000
    answer = begin(peer, mss=1460)
    assert answer.window_scale is None
    assert not answer.sack_permitted
    info = finish(wire, peer).info()
    assert (info["sack"], info["timestamps"], info["window_scaling"]) == (0, 1, 0)


def test_without_timestamps_a_cookie_has_room_for_the_mss_alone(wire, peer):
    """RFC 4987 3.6"""
    answer = begin(peer, **FULL)
    assert (answer.window_scale, answer.timestamps, answer.sack_permitted) == (None, None, False)
    info = finish(wire, peer).info()
    assert (info["sack"], info["timestamps"], info["window_scaling"]) == (0, 0, 0)
    assert wire.count("cookies_stamped") == 0


def test_timestamps_rise_from_the_cookie_on(wire, peer):
    """RFC 7323 5.2: the bits that the SYN-ACK's TSval gave up must not make later ones look old."""
    peer.timestamp = 1000
    for wait_ms in (0, 1, 3, 62, 64, 99):
        wire.run(ms=wait_ms)
        other = wire.peer(port=40100 + wait_ms)
        other.timestamp = 1000
        first = begin(other, **FULL).timestamps[0]
        other.send(ACK)
        conn = wire.accepted()[-1]
        conn.send(b"x")
        wire.settle()
        assert 0 <= (other.expect(ACK).timestamps[0] - first) % 2**32 < 2**31


def test_a_segment_of_that_size_leaves_room_for_timestamps(wire, peer):
    """RFC 6691: the MSS that the cookie carries counts no options."""
    peer.timestamp = 1000
    begin(peer, **FULL)
    conn = finish(wire, peer)
    conn.send(bytes(5000))
    wire.settle()
    assert len(peer.expect(ACK).payload) == 1448


def test_a_changed_timestamp_is_no_cookie(wire, peer):
    """RFC 4987 3.6: the peer cannot turn its offer into another one"""
    peer.timestamp = 1000
    answer = begin(peer, **FULL)
    peer.send(ACK, timestamps=(1001, answer.timestamps[0] ^ 0x10))
    peer.expect(RST)
    assert wire.accepted() == []
    assert wire.count("cookies_refused") == 1


def test_timestamps_that_vanish_after_the_syn_make_no_cookie(wire, peer):
    """RFC 7323 3.2: once agreed on, they must come with every segment."""
    peer.timestamp = 1000
    begin(peer, **FULL)
    peer.timestamp = None
    peer.send(ACK)
    peer.expect(RST)
    assert wire.accepted() == []


def test_a_cookie_dies_after_two_counts(wire, peer):
    """RFC 4987 3.6"""
    peer.timestamp = 1000
    begin(peer, **FULL)
    wire.run(ms=2 * 64 * SECOND / 1e6)
    peer.send(ACK)
    peer.expect(RST)
    assert wire.accepted() == []


def test_data_with_the_ack_is_delivered(wire, peer):
    """RFC 9293 3.10.7.4, seventh"""
    peer.timestamp = 1000
    begin(peer, **FULL)
    peer.send(ACK | PSH, b"at once")
    (conn,) = wire.accepted()
    assert conn.recv() == b"at once"
    peer.expect(ACK, ack=8)


def test_paws_holds_for_what_a_cookie_opened(wire, peer):
    """RFC 7323 5.3: the ACK's TSval is the first TS.Recent."""
    peer.timestamp = 5000
    begin(peer, **FULL)
    conn = finish(wire, peer)
    peer.send(ACK | PSH, b"old", timestamps=(4000, peer.ts_recent))
    peer.expect(ACK, ack=1)
    with pytest.raises(BlockingIOError):
        conn.recv()


def test_sack_is_used_where_a_cookie_agreed_to_it(wire, peer):
    """RFC 2018 4: blocks report what came out of order."""
    peer.timestamp = 1000
    begin(peer, **FULL)
    finish(wire, peer)
    peer.send(ACK, b"later", seq=101)
    peer.expect(ACK, ack=1, sack=((101, 106),))


def test_the_window_scale_of_a_cookie_lets_a_large_window_open(wire, peer):
    """RFC 7323 2.2: what we advertise once the handshake is over is scaled."""
    peer.timestamp = 1000
    answer = begin(peer, **FULL)
    finish(wire, peer)
    peer.send(ACK | PSH, bytes(1000))
    assert peer.expect(ACK, ack=1001).window << answer.window_scale > 65535


def states(wire, port=None):
    wire.settle()
    rows = [row for row in wire.stack.connections() if row["state"] != "LISTEN"]
    return [row["state"] for row in rows if port in (None, row["remote_port"])]


def close(peer, conn):
    """From our end, to TIME-WAIT."""
    conn.close()
    peer.expect(FIN | ACK)
    peer.send(ACK)
    peer.send(FIN | ACK)
    peer.expect(ACK, ack=2)


def end(wire, peer, **options):
    """A connection that a cookie opened, as far as TIME-WAIT."""
    begin(peer, **options)
    peer.send(ACK)
    close(peer, wire.accepted()[-1])


@pytest.mark.parametrize("v6", [False, True])
def test_ecn_is_agreed_to_and_comes_back(wire, v6):
    """RFC 3168 6.1.1: the SYN-ACK says ECE, and what the timestamp brings back makes data ECN-capable"""
    peer = wire.peer(v6=v6)
    peer.timestamp = 1000
    peer.send(SYN | ECE | CWR, **FULL)
    peer.expect(SYN | ACK | ECE)
    conn = finish(wire, peer)
    assert conn.info()["ecn"] == 1
    conn.send(b"data")
    assert peer.expect(ACK).traffic_class & 3 == 2
    assert wire.count("ecn_negotiated") == 1


@pytest.mark.parametrize("flags", [Flags.NONE, ECE, CWR])
def test_a_syn_that_is_not_ecn_setup_gets_a_cookie_without(wire, peer, flags):
    """RFC 3168 6.1.1"""
    peer.timestamp = 1000
    peer.send(SYN | flags, **FULL)
    peer.expect(SYN | ACK)
    assert finish(wire, peer).info()["ecn"] == 0


def test_without_timestamps_a_cookie_cannot_agree_to_ecn(wire, peer):
    """RFC 4987 3.6, RFC 3168 6.1.1"""
    peer.send(SYN | ECE | CWR, **FULL)
    peer.expect(SYN | ACK)
    assert finish(wire, peer).info()["ecn"] == 0


@pytest.mark.wire(half_open=0, ecn=0)
def test_ecn_switched_off_holds_for_cookies(wire, peer):
    """RFC 3168 6.1.1"""
    peer.timestamp = 1000
    peer.send(SYN | ECE | CWR, **FULL)
    peer.expect(SYN | ACK)
    conn = finish(wire, peer)
    assert conn.info()["ecn"] == 0


@pytest.mark.wire(half_open=0, ecn=0, congestion="dctcp")
def test_a_control_that_needs_ecn_has_it_over_cookies_too(wire, peer):
    """RFC 8257 3.1"""
    peer.timestamp = 1000
    peer.send(SYN | ECE | CWR, **FULL)
    peer.expect(SYN | ACK | ECE)
    assert finish(wire, peer).info()["ecn"] == 1


def test_the_fallback_of_a_lost_syn_is_followed(wire, peer):
    """RFC 3168 6.1.1.1: the second SYN has a cookie of its own, and the ACK says which one it answers"""
    peer.timestamp = 1000
    peer.send(SYN | ECE | CWR, **FULL)
    peer.expect(SYN | ACK | ECE)
    wire.run(ms=1000)
    peer.timestamp = 2000
    peer.send(SYN, seq=0, **FULL)
    peer.expect(SYN | ACK)
    assert finish(wire, peer, ack=1).info()["ecn"] == 0


class TestTimeWait:
    """A client that uses its address and port again where SYNs are answered by cookies."""

    def test_a_newer_timestamp_opens_it_anew(self, wire, peer):
        """RFC 6191 2: whatever the sequence numbers"""
        peer.timestamp = 1000
        end(wire, peer, **FULL)
        again = wire.peer(iss=0xFFFF0000)
        again.timestamp = 1001
        begin(again, **FULL)
        assert states(wire) == ["TIME-WAIT"]            # which stays until the cookie is back
        again.send(ACK | PSH, b"at once")
        (_, conn) = wire.accepted()
        assert conn.recv() == b"at once"
        assert conn.info()["sack"] == 1
        assert wire.count("time_wait_reused") == 1
        assert states(wire) == ["ESTABLISHED"]

    def test_without_timestamps_both_numbers_lie_beyond_the_old_ones(self, wire):
        """RFC 9293 3.10.7.4, RFC 1122 4.2.2.13: about half of the cookies do not"""
        answered = 0
        for port in range(40000, 40016):
            peer, again = wire.peer(port=port), wire.peer(port=port, iss=5000)
            wire.flows[peer.base.src, port, 80] = peer
            end(wire, peer, mss=1460)
            wire.flows[peer.base.src, port, 80] = again
            again.send(SYN, mss=1460)
            if not again.drain():
                assert states(wire, port) == ["TIME-WAIT"]
                continue
            answered += 1
            assert 2 < (again.irs - peer.irs) % 2**32 < 2**31
            again.send(ACK)
            assert states(wire, port) == ["ESTABLISHED"]
        assert 0 < answered < 16
        assert wire.count("time_wait_reused") == answered

    @pytest.mark.parametrize("timestamp", [1000, None])
    def test_an_old_ack_of_the_handshake_opens_nothing(self, wire, peer, timestamp):
        """RFC 9293 3.5: its cookie is good still, its numbers are the old connection's"""
        peer.timestamp = timestamp
        begin(peer, mss=1460)
        old = peer.send(ACK)
        close(peer, wire.accepted()[0])
        wire.send_frame(old.build())
        assert states(wire) == ["TIME-WAIT"]
        assert wire.count("time_wait_reused") == 0

    def test_an_older_timestamp_gets_no_cookie(self, wire, peer):
        """RFC 6191 2"""
        peer.timestamp = 1000
        end(wire, peer, **FULL)
        again = wire.peer(iss=0xFFFF0000)
        again.timestamp = 999
        again.send(SYN, mss=1460)
        assert all(SYN not in seg.flags for seg in again.drain())

    @pytest.mark.wire(half_open=1)
    def test_it_opens_though_there_is_room_again(self, wire, peer):
        """RFC 4987 3.6: what answered the SYN does not matter, the XDP program may have"""
        peer.timestamp = 1000
        conn = peer.open()
        close(peer, conn)
        other = wire.peer(port=100)
        other.send(SYN, mss=1460)                       # takes the only place
        again = wire.peer(iss=7000)
        again.timestamp = 2000
        begin(again, mss=1460)
        other.expect(SYN | ACK)
        other.send(ACK)
        again.send(ACK)
        assert states(wire, 40000) == ["ESTABLISHED"]
        assert wire.count("time_wait_reused") == wire.count("cookies_accepted") == 1
