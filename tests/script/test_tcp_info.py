"""TCP_INFO: struct tcp_info as Linux lays it out, and the same by name from info()."""

import socket
import struct

import pytest

from underpass.testing.peer import ACK, SYN

TCP = socket.IPPROTO_TCP
MSS = 1000
NAMES = [
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "scales", "bits", "rto", "ato",
    "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent",
    "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar",
    "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space", "total_retrans",
    "pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received", "segs_out", "segs_in",
    "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out", "delivery_rate", "busy_time",
    "rwnd_limited", "sndbuf_limited", "delivered", "delivered_ce", "bytes_sent", "bytes_retrans",
    "dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash",
]
LAYOUT = "=8B24I4Q6IQ3Q2I2Q6I"
OPEN, DISORDER, RECOVERY, LOSS = 0, 1, 3, 4


def tcp_info(conn):
    """The fields of the structure by name, as include/uapi/linux/tcp.h has them."""
    octets = conn.getsockopt(TCP, socket.TCP_INFO, 256)
    return dict(zip(NAMES, struct.unpack_from(LAYOUT, octets), strict=True))


def opened(peer, **options):
    return peer.open(rtt_ms=30, mss=MSS, window=20_000, **options)


def test_a_new_connection(wire, peer):
    info = tcp_info(opened(peer))
    assert info["state"] == 1
    assert info["ca_state"] == OPEN
    assert info["options"] == info["scales"] == 0
    assert info["snd_mss"] == MSS and info["advmss"] == 1460 and info["pmtu"] == MSS + 40
    assert info["rtt"] == pytest.approx(30_000, rel=0.1) == info["min_rtt"]
    assert info["rto"] >= 200_000 and info["ato"] == 40_000
    assert info["snd_cwnd"] == 10 and info["snd_ssthresh"] == 0x7FFFFFFF
    assert info["snd_wnd"] == 20_000
    assert info["pacing_rate"] == info["max_pacing_rate"] == 2**64 - 1
    assert info["reordering"] == 3
    assert (info["segs_in"], info["segs_out"], info["data_segs_in"], info["data_segs_out"]) == (1, 1, 0, 0)


def test_what_the_handshake_agreed_on(wire, peer):
    peer.timestamp = 1
    info = tcp_info(opened(peer, window_scale=3, sack_permitted=True, timestamps=(1, 0)))
    assert info["options"] == 1 | 2 | 4
    assert info["scales"] & 15 == 3 and info["scales"] >> 4 == 7
    assert info["snd_mss"] == MSS - 12 and info["advmss"] == 1460 - 12


def test_what_is_in_flight_and_what_is_not_sent(wire, peer):
    conn = opened(peer)
    conn.send(bytes(15 * MSS))
    wire.settle()
    info = tcp_info(conn)
    assert info["unacked"] == info["data_segs_out"] == 10
    assert info["notsent_bytes"] == 5 * MSS
    assert info["bytes_sent"] == 10 * MSS and info["bytes_acked"] == info["bytes_retrans"] == 0


def test_times(wire, peer):
    """Milliseconds, in ticks of the wheel"""
    conn = opened(peer)
    conn.send(b"x")
    wire.run(ms=50)
    peer.send(ACK, ack=2)
    wire.run(ms=100)
    wire.stack.step(wire.now_ns)        # its time is that of its latest turn
    info = tcp_info(conn)
    assert info["last_data_sent"] == pytest.approx(150, abs=3)
    assert info["last_ack_recv"] == pytest.approx(100, abs=3)


def test_receiving(wire, peer):
    conn = opened(peer)
    for _ in range(3):
        peer.send(ACK, bytes(100))
    peer.send(ACK)
    info = tcp_info(conn)
    assert info["bytes_received"] == 300
    assert (info["data_segs_in"], info["segs_in"]) == (3, 5)
    assert info["rcv_space"] == info["rcv_ssthresh"] == 131072
    assert info["rcv_wnd"] <= 65535


def test_recovery(wire, peer):
    """ca_state as Linux numbers it: TCP_CA_Disorder, TCP_CA_Recovery, and back"""
    conn = opened(peer, sack_permitted=True)
    conn.send(bytes(10 * MSS))
    wire.run(ms=30)
    peer.send(ACK, ack=1, sack=[(1 + MSS, 1 + 2 * MSS)])
    info = tcp_info(conn)
    assert (info["ca_state"], info["sacked"]) == (DISORDER, 1)
    assert conn.info()["recovery"] == "disorder"
    for end in (3, 4):
        peer.send(ACK, ack=1, sack=[(1 + MSS, 1 + end * MSS)])
    info = tcp_info(conn)
    assert (info["ca_state"], info["lost"], info["retrans"], info["total_retrans"]) == (RECOVERY, 1, 1, 1)
    assert info["bytes_retrans"] == MSS
    assert info["snd_ssthresh"] == 7
    peer.send(ACK, ack=1 + 10 * MSS)
    info = tcp_info(conn)
    assert (info["ca_state"], info["unacked"], info["delivered"]) == (OPEN, 0, 10)


def test_a_timeout(wire, peer):
    conn = opened(peer)
    conn.send(b"x")
    wire.run(ms=1000)
    info = tcp_info(conn)
    assert info["ca_state"] == LOSS
    assert info["retransmits"] == info["backoff"] == conn.info()["backoff"] > 0
    assert info["rto"] == conn.info()["rto_us"] << info["backoff"]


def test_probes_of_a_closed_window(wire, peer):
    """They are no retransmissions"""
    conn = opened(peer)
    peer.send(ACK, window=0)
    conn.send(b"x")
    wire.run(ms=1000)
    info = tcp_info(conn)
    assert info["retransmits"] == 0 and info["probes"] == conn.info()["probes"] > 0
    assert info["snd_wnd"] == 0


def test_a_rate_that_the_application_set(wire, peer):
    conn = opened(peer)
    conn.setsockopt(socket.SOL_SOCKET, 47, 123_456)
    assert tcp_info(conn)["pacing_rate"] == tcp_info(conn)["max_pacing_rate"] == 123_456


def test_a_handshake_under_way(wire):
    """In SYN-SENT and SYN-RECEIVED nothing is measured"""
    peer = wire.peer(port=7, to_port=5000)
    conn = wire.stack.connect((peer.base.src, 7), (peer.base.dst, 5000))
    peer.expect(SYN)
    info = tcp_info(conn)
    assert info["state"] == 2
    assert info["rtt"] == 0 and info["min_rtt"] == 2**32 - 1


def test_a_listener(wire):
    """`unacked` and `sacked` are what waits and the backlog, as on Linux"""
    it = wire.stack.listen(("0.0.0.0", 81), 77)
    wire.peer(to_port=81).send(SYN, mss=MSS)
    info = tcp_info(it)
    assert (info["state"], info["unacked"], info["sacked"]) == (10, 1, 77)


def test_less_room_gives_less(peer):
    """getsockopt(2): silently truncated"""
    conn = opened(peer)
    whole = conn.getsockopt(TCP, socket.TCP_INFO)
    assert len(whole) == 248
    assert conn.getsockopt(TCP, socket.TCP_INFO, 104) == whole[:104]
