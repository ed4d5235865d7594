"""ICMP errors about connections (RFC 9293 3.9.2.2, RFC 1122 4.2.3.9), and those who forge them (RFC 5927)."""

import dataclasses
import errno

import pytest

from underpass.testing.peer import ACK, PSH, SYN

UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM = 3, 11, 12
NET, HOST, PROTOCOL, PORT, ADMIN = 0, 1, 2, 3, 13
V6_UNREACHABLE, V6_TIME_EXCEEDED, V6_PARAMETER_PROBLEM = 1, 3, 4


def connect(wire, *, v6=False):
    """The stack's SYN to port 81 of the remote end."""
    peer = wire.peer(port=81, to_port=40001, v6=v6)
    conn = wire.stack.connect((peer.base.src, 81), source=(peer.base.dst, 40001))
    return peer, conn, peer.expect(SYN)


def error_of(conn):
    with pytest.raises(OSError) as raised:
        conn.recv()
    return raised.value.errno


@pytest.mark.parametrize(
    ("code", "error"),
    [(NET, errno.ENETUNREACH), (HOST, errno.EHOSTUNREACH), (PROTOCOL, errno.ENOPROTOOPT),
     (PORT, errno.ECONNREFUSED), (ADMIN, errno.EHOSTUNREACH)],
)  # fmt: skip
def test_an_unreachable_peer_ends_syn_sent(wire, code, error):
    """RFC 1122 4.2.3.9; for codes 0 and 1 as Linux does, RFC 5461 3: nobody waits two minutes for it"""
    peer, conn, syn = connect(wire)
    peer.icmp(syn, UNREACHABLE, code)
    assert wire.host.was_closed(conn)
    assert error_of(conn) == error
    assert wire.count("icmp_hard") == wire.count("connect_failures") == 1
    peer.expect_nothing(for_ms=10_000)


@pytest.mark.parametrize(
    ("code", "error"),
    [(0, errno.ENETUNREACH), (1, errno.EACCES), (3, errno.EHOSTUNREACH), (4, errno.ECONNREFUSED)],
)
def test_an_unreachable_ipv6_peer_ends_syn_sent(wire, code, error):
    """RFC 4443 3.1"""
    peer, conn, syn = connect(wire, v6=True)
    peer.icmp(syn, V6_UNREACHABLE, code)
    assert error_of(conn) == error


@pytest.mark.parametrize("kind", [TIME_EXCEEDED, PARAMETER_PROBLEM])
def test_trouble_on_the_way_does_not_end_syn_sent(wire, kind):
    """RFC 9293 3.9.2.2, MUST-56: soft errors do not abort; the handshake may still succeed"""
    peer, conn, syn = connect(wire)
    peer.icmp(syn, kind)
    assert conn.state == "SYN-SENT"
    peer.send(SYN | ACK, mss=1460)
    peer.expect(ACK, ack=1)
    assert conn.state == "ESTABLISHED"


@pytest.mark.wire(syn_retries=1)
def test_what_icmp_said_is_the_reason_when_nobody_answers(wire):
    """RFC 9293 3.9.2.2, SHLD-25: make the information available to the application"""
    peer, conn, syn = connect(wire)
    peer.icmp(syn, TIME_EXCEEDED)
    wire.run(ms=10_000)
    assert error_of(conn) == errno.EHOSTUNREACH


@pytest.mark.parametrize("code", [NET, HOST, PROTOCOL, PORT, ADMIN])
def test_no_error_ends_a_connection_that_is_open(wire, peer, code):
    """RFC 5927 5.2: hard errors are soft for connections that are synchronized"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    seg = peer.expect(ACK)
    peer.icmp(seg, UNREACHABLE, code)
    assert conn.state == "ESTABLISHED"
    assert wire.count("icmp_soft") == 1
    peer.send(ACK)
    assert conn.send(b"more") == 4


@pytest.mark.wire(retries=2)
def test_an_open_connection_that_dies_says_what_icmp_said(wire, peer):
    """RFC 1122 4.2.3.9"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    peer.icmp(peer.expect(ACK), UNREACHABLE, HOST)
    wire.run(ms=600_000)
    assert error_of(conn) == errno.EHOSTUNREACH


@pytest.mark.wire(retries=2)
def test_an_error_from_before_the_silence_is_no_reason(wire, peer):
    """RFC 9293 3.9.2.2: what was heard since shows that it was a passing trouble"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    peer.icmp(peer.expect(ACK), UNREACHABLE, HOST)
    wire.run(ms=1)
    peer.send(ACK)
    wire.run(ms=60_000)
    conn.send(b"more")
    wire.run(ms=600_000)
    assert error_of(conn) == errno.ETIMEDOUT


@pytest.mark.parametrize("beside", [-1, 4, 2**31])
def test_an_error_about_nothing_in_flight_is_ignored(wire, peer, beside):
    """RFC 5927 4.1: SND.UNA =< SEG.SEQ < SND.NXT"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    seg = peer.expect(ACK)
    peer.icmp(dataclasses.replace(seg, seq=seg.seq + beside), UNREACHABLE, HOST)
    assert wire.count("icmp_out_of_window") == 1
    assert wire.count("icmp_soft") == 0


def test_a_blind_guess_does_not_end_a_handshake(wire):
    """RFC 5927 5.1"""
    peer, conn, syn = connect(wire)
    peer.icmp(dataclasses.replace(syn, seq=12345), UNREACHABLE, PORT)
    assert conn.state == "SYN-SENT"
    assert wire.count("icmp_out_of_window") == 1


def test_an_error_about_no_connection_is_counted(wire, peer):
    """RFC 5927 4.1"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    seg = peer.expect(ACK)
    peer.icmp(dataclasses.replace(seg, dst_port=9), UNREACHABLE, HOST)
    peer.icmp(dataclasses.replace(seg, src_port=9), UNREACHABLE, HOST)
    assert wire.count("icmp_no_connection") == wire.count("icmp_in") == 2


def test_a_half_open_connection_that_is_refused_goes_silently(wire, peer):
    """RFC 1122 4.2.3.9; nobody was told of it yet"""
    peer.send(SYN, mss=1460)
    peer.icmp(peer.expect(SYN | ACK), UNREACHABLE, PORT)
    peer.expect_nothing(for_ms=10_000)
    assert wire.accepted() == []
    assert wire.host.is_idle()


def test_a_half_open_connection_outlives_an_unreachable_host(wire, peer):
    """RFC 9293 3.9.2.2, MUST-56"""
    peer.send(SYN, mss=1460)
    peer.icmp(peer.expect(SYN | ACK), UNREACHABLE, HOST)
    peer.send(ACK | PSH, b"still here")
    (conn,) = wire.accepted()
    assert conn.recv() == b"still here"


@pytest.mark.parametrize("truncate", [0, 4, 7, 8, 27, 28, 35])
def test_an_error_cut_short_is_refused(wire, peer, truncate):
    """RFC 792: 8 octets of the segment are quoted, no fewer"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    peer.icmp(peer.expect(ACK), UNREACHABLE, HOST, truncate=truncate)
    assert wire.count("icmp_short", "refused") == 1
    assert wire.count("icmp_in") == 0


def test_an_error_with_a_wrong_checksum_is_refused(wire, peer):
    """RFC 792, RFC 1122 3.2.2"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    peer.icmp(peer.expect(ACK), UNREACHABLE, HOST, icmp_checksum=0x1234)
    assert wire.count("icmp_checksum", "refused") == 1


@pytest.mark.parametrize("kind", [0, 4, 5, 8])
def test_what_is_no_error_is_refused(wire, peer, kind):
    """Echo, redirect; source quench is to be discarded silently (RFC 9293 3.9.2.2, MUST-55)"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    peer.icmp(peer.expect(ACK), kind)
    assert wire.count("icmp_type", "refused") == 1


def test_a_flood_of_errors_changes_nothing(wire, peer):
    """RFC 5927: whatever it says, the connection goes on, and nothing is sent for it"""
    conn = peer.open()
    conn.send(b"data")
    wire.settle()
    seg = peer.expect(ACK)
    for code in range(16):
        peer.icmp(seg, UNREACHABLE, code)
        peer.icmp(seg, TIME_EXCEEDED, code)
    peer.expect_nothing()
    peer.send(ACK)
    assert conn.state == "ESTABLISHED"
    assert wire.count("icmp_in") == 32
