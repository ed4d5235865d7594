"""TCP Fast Open on both sides (RFC 7413)."""

import errno
import socket

import pytest

from underpass.testing.invariants import what_is_broken
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN

TCP, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 30
DAY_MS = 86_400_000
REQUEST = b"get /"


@pytest.fixture(autouse=True)
def sound(wire):
    """Whatever happened, the stack is in order, its counts of pending connections among the rest."""
    yield
    wire.settle()
    assert what_is_broken(wire.stack) is None


# ---- the server

@pytest.fixture
def listener(wire):
    """Port 90, where eight connections may be served before their handshakes end."""
    it = wire.stack.listen(("0.0.0.0", 90))
    wire.stack.listen(("::", 90)).setsockopt(TCP, TCP_FASTOPEN, 8)
    it.setsockopt(TCP, TCP_FASTOPEN, 8)
    return it


def cookie_for(wire, *, v6=False, port=50):
    """What the server gives a client that asks (RFC 7413 4.1.2)."""
    peer = wire.peer(port=port, to_port=90, v6=v6)
    peer.send(SYN, mss=1460, fast_open=b"")
    cookie = peer.expect(SYN | ACK, ack=1).fast_open
    peer.send(RST)
    return cookie


def begin(wire, cookie, data=REQUEST, port=1000, **options):
    """A SYN with data; the peer and the connections accepted by it."""
    peer = wire.peer(port=port, to_port=90)
    before = len(wire.accepted())
    options.setdefault("mss", 1460)
    peer.send(SYN, data, fast_open=cookie, **options)
    return peer, wire.accepted()[before:]


@pytest.mark.parametrize("v6", [False, True])
def test_who_asks_gets_a_cookie(wire, listener, v6):
    """RFC 7413 4.1.1, 4.1.2: 4 to 16 octets, the same for the same client"""
    first = cookie_for(wire, v6=v6)
    assert len(first) == 8
    assert cookie_for(wire, v6=v6, port=51) == first
    assert wire.count("fast_open_requests") == 2


def test_another_client_gets_another_cookie(wire, listener):
    """RFC 7413 4.1.2: it is bound to the source address"""
    seg = TcpSegment(
        src="10.0.0.9", dst="10.0.0.1", dst_port=90, flags=SYN, mss=1460, fast_open=b"",
        src_mac="02:00:00:00:00:02", dst_mac="02:00:00:00:00:01",
    )  # fmt: skip
    wire.send_frame(seg.build())
    (answer,) = wire.strays
    assert answer.fast_open not in (None, cookie_for(wire))


def test_data_of_a_syn_with_a_cookie_are_delivered_at_once(wire, listener):
    """RFC 7413 4.2.2: before the handshake ends; the SYN-ACK acknowledges them"""
    peer, (conn,) = begin(wire, cookie_for(wire))
    assert conn.state == "SYN-RECEIVED"
    assert conn.recv() == REQUEST
    peer.expect(SYN | ACK, ack=1 + len(REQUEST), fast_open=None)
    peer.send(ACK)
    assert conn.state == "ESTABLISHED"
    peer.send(ACK | PSH, b"more")
    assert conn.recv() == b"more"
    assert len(wire.accepted()) == 1
    assert wire.count("fast_open_accepted") == 1


def test_the_answer_may_leave_before_the_handshake_ends(wire, listener):
    """RFC 7413 4.2.2: up to the initial window"""
    peer, (conn,) = begin(wire, cookie_for(wire))
    conn.send(b"answer")
    peer.expect(SYN | ACK)
    peer.expect(ACK, seq=1, payload=b"answer")
    peer.send(ACK, ack=7)
    assert conn.state == "ESTABLISHED"
    assert conn.info()["flight_bytes"] == 0
    conn.send(b"and more")
    peer.expect(ACK, seq=7, payload=b"and more")


def test_no_more_than_the_initial_window_leaves(wire, listener):
    """RFC 7413 4.2.2, RFC 6928 2"""
    peer, (conn,) = begin(wire, cookie_for(wire), mss=1000)
    conn.send(bytes(40_000))
    wire.settle()
    peer.expect(SYN | ACK)
    assert sum(len(seg.payload) for seg in peer.drain()) == 10_000
    peer.send(ACK, ack=1)
    peer.send(ACK, ack=10_001)
    wire.settle()
    assert sum(len(seg.payload) for seg in peer.drain()) > 10_000


def test_the_window_of_the_syn_is_kept(wire, listener):
    """RFC 7323 2.2: it is not scaled, that of the ACK is"""
    peer, (conn,) = begin(wire, cookie_for(wire), window=2000, window_scale=2, mss=1000)
    conn.send(bytes(6000))
    wire.settle()
    peer.expect(SYN | ACK)
    assert sum(len(seg.payload) for seg in peer.drain()) == 2000
    peer.send(ACK, ack=2001, window=1000)
    wire.settle()
    assert sum(len(seg.payload) for seg in peer.drain()) == 4000


def test_an_answer_that_is_lost_is_sent_again_after_the_handshake(wire, listener):
    """RFC 6298 5.1"""
    peer, (conn,) = begin(wire, cookie_for(wire))
    conn.send(b"answer")
    wire.settle()
    peer.drain()
    wire.run(ms=5)
    peer.send(ACK, ack=1)
    peer.expect(ACK, payload=b"answer", within_ms=3000)
    peer.send(ACK)
    assert conn.info()["flight_bytes"] == 0


@pytest.mark.parametrize("data", [b"", REQUEST])
def test_a_close_before_the_handshake_ends(wire, listener, data):
    """RFC 9293 3.10.4: the FIN waits until it has ended"""
    peer, (conn,) = begin(wire, cookie_for(wire), data)
    if data:
        conn.recv()
    conn.send(b"bye")
    conn.close()
    peer.expect(SYN | ACK)
    peer.expect(ACK, payload=b"bye")
    peer.send(ACK, ack=4)
    peer.expect(FIN | ACK, seq=4)
    peer.send(FIN | ACK, ack=5)
    peer.expect(ACK)
    wire.run(ms=300_000)
    assert wire.host.is_idle()


def test_an_empty_syn_with_a_cookie_lets_the_server_speak_first(wire, listener):
    """RFC 7413 4.2.2"""
    peer, (conn,) = begin(wire, cookie_for(wire), b"")
    conn.send(b"220 ready")
    peer.expect(SYN | ACK, ack=1)
    peer.expect(ACK, payload=b"220 ready")


@pytest.mark.parametrize("wrong", [bytes(8), b"\1" * 4, b"\2" * 14])
def test_a_wrong_cookie_is_an_ordinary_handshake_and_gets_a_right_one(wire, listener, wrong):
    """RFC 7413 4.1.2, 4.2.2: data are not acknowledged"""
    right = cookie_for(wire)
    peer, accepted = begin(wire, wrong)
    assert accepted == []
    peer.expect(SYN | ACK, ack=1, fast_open=right)
    peer.send(ACK | PSH, REQUEST, seq=1)
    (conn,) = wire.accepted()
    assert conn.recv() == REQUEST
    assert wire.count("fast_open_refused") == 1


def test_data_without_a_cookie_are_not_acknowledged(wire, listener):
    """RFC 7413 4.2.2, RFC 9293 3.10.7.2"""
    peer, accepted = begin(wire, None)
    assert accepted == []
    peer.expect(SYN | ACK, ack=1, fast_open=None)


def test_a_listener_does_without_by_default(wire):
    """RFC 7413 4.2: an application must ask for it, for its data may come twice (2.1)"""
    peer = wire.peer(to_port=80)
    peer.send(SYN, REQUEST, mss=1460, fast_open=b"")
    peer.expect(SYN | ACK, ack=1, fast_open=None)
    assert wire.accepted() == []


def test_a_cookie_lives_through_the_next_day_and_is_renewed(wire, listener):
    """RFC 7413 4.1.2: keys change, and the last one is good for a while"""
    old = cookie_for(wire)
    wire.run(ms=DAY_MS - wire.now_ns % (DAY_MS * 1_000_000) // 1_000_000 + 1000)
    peer, (conn,) = begin(wire, old)
    new = peer.expect(SYN | ACK, ack=1 + len(REQUEST)).fast_open
    assert new not in (None, old)
    conn.abort()
    wire.run(ms=DAY_MS)
    peer, accepted = begin(wire, old, port=1001)
    assert accepted == []
    peer, accepted = begin(wire, new, port=1002)
    assert len(accepted) == 1


def test_a_repeated_syn_gets_the_same_answer_and_its_data_once(wire, listener):
    """RFC 7413 4.2.2, RFC 9293 3.10.7.4"""
    cookie = cookie_for(wire)
    peer, (conn,) = begin(wire, cookie)
    peer.expect(SYN | ACK)
    wire.run(ms=900)
    peer.send(SYN, REQUEST, seq=0, mss=1460, fast_open=cookie)
    peer.expect(SYN | ACK, ack=1 + len(REQUEST))
    wire.run(ms=700)
    peer.send(SYN, seq=0, mss=1460)
    peer.drain()
    peer.send(ACK)
    assert conn.recv() == REQUEST
    with pytest.raises(BlockingIOError):
        conn.recv()


def test_pending_connections_are_limited(wire, listener):
    """RFC 7413 5.1: beyond it an ordinary handshake, and room again as soon as one has ended"""
    cookie = cookie_for(wire)
    peers = [begin(wire, cookie, port=port) for port in range(1000, 1010)]
    assert [len(accepted) for _, accepted in peers] == [1] * 8 + [0] * 2
    assert wire.count("fast_open_limit") == 2
    peers[9][0].expect(SYN | ACK, ack=1)
    peers[0][0].send(ACK)
    assert len(begin(wire, cookie, port=1020)[1]) == 1


def test_what_was_reset_counts_for_a_while(wire, listener):
    """RFC 7413 5.1: an attacker's victims answer with resets, which must not make room for him"""
    cookie = cookie_for(wire)
    for port in range(1000, 1008):
        peer, (conn,) = begin(wire, cookie, port=port)
        peer.send(RST)
        assert wire.host.was_closed(conn)
    assert begin(wire, cookie, port=1010)[1] == []
    wire.run(ms=125_000)
    assert len(begin(wire, cookie, port=1011)[1]) == 1


def test_a_reset_before_the_end_is_told(wire, listener):
    """RFC 9293 3.10.7.4, second: what the application has is not taken back, but it hears of the end"""
    peer, (conn,) = begin(wire, cookie_for(wire))
    peer.send(RST)
    assert conn.recv() == REQUEST
    with pytest.raises(ConnectionResetError):
        conn.recv()


@pytest.mark.parametrize("ack", [-5, 0, 100])
def test_an_ack_out_of_range_is_reset(wire, listener, ack):
    """RFC 9293 3.10.7.4, fifth"""
    peer, (conn,) = begin(wire, cookie_for(wire))
    peer.expect(SYN | ACK)
    peer.send(ACK, ack=ack)
    assert RST in peer.expect().flags
    assert conn.state == "SYN-RECEIVED"


def test_a_client_that_never_ends_the_handshake(wire, listener):
    """RFC 9293 3.8.3: the SYN-ACK is sent again, then the application hears of the end and nothing is left"""
    peer, (conn,) = begin(wire, cookie_for(wire))
    conn.send(b"answer")
    wire.run(ms=300_000)
    assert sum(SYN in seg.flags for seg in peer.drain()) == 6
    assert conn.recv() == REQUEST
    with pytest.raises(TimeoutError):
        conn.recv()
    conn.close()
    wire.settle()
    assert wire.host.is_idle()


def test_data_that_find_no_frame_are_not_acknowledged(wire, listener):
    """RFC 7413 4.2.2: memory for them is not more sacred than for others"""
    cookie = cookie_for(wire)
    hoard = []
    port = 2000
    while wire.host.link.frames.free > wire.host.link.frames.count // 64 and port < 2040:
        peer = wire.peer(port=port, to_port=80)
        peer.open()
        for at in range(60):
            peer.send(ACK, bytes(1400), seq=1 + 1400 * at)
        hoard.append(peer)
        port += 1
    peer, accepted = begin(wire, cookie)
    answer = peer.expect(SYN | ACK)
    assert answer.ack in (1, 1 + len(REQUEST))
    assert len(accepted) == 1


@pytest.mark.wire(half_open=0)
def test_under_a_flood_there_are_cookies_of_the_other_kind(wire, listener):
    """RFC 7413 5.1, RFC 4987 3.6: nothing is kept, so nothing is served"""
    peer, accepted = begin(wire, b"\0" * 8)
    assert accepted == []
    peer.expect(SYN | ACK, ack=1, fast_open=None)


def test_ecn_is_agreed_to_with_fast_open(wire, listener):
    """RFC 3168 6.1.1"""
    cookie = cookie_for(wire)
    peer = wire.peer(port=1000, to_port=90)
    peer.send(SYN | Flags.ECE | Flags.CWR, REQUEST, mss=1460, fast_open=cookie)
    peer.expect(SYN | ACK | Flags.ECE, ack=1 + len(REQUEST))
    assert wire.accepted()[0].info()["ecn"] == 1


def test_timestamps_and_sack_go_with_it(wire, listener):
    """RFC 7413 4.1.1: all options of a SYN together"""
    peer = wire.peer(port=1000, to_port=90)
    peer.timestamp = 77
    peer.send(SYN, mss=1460, fast_open=b"", window_scale=7, sack_permitted=True)
    answer = peer.expect(SYN | ACK)
    assert len(answer.fast_open) == 8
    assert answer.timestamps[1] == 77
    assert answer.sack_permitted
    assert answer.window_scale is not None


# ---- the client

def connect(wire, port=91, **arguments):
    """An active open that wants Fast Open, and the peer that it goes to."""
    peer = wire.peer(port=port, to_port=port + 40000)
    wire.settle()                           # so that the stack knows what time it is
    arguments["options"] = [(TCP, TCP_FASTOPEN_CONNECT, 1)]
    conn = wire.stack.connect((peer.base.src, port), (peer.base.dst, port + 40000), **arguments)
    return peer, conn


def learn(wire, cookie=b"01234567", port=91, mss=1460):
    """The first connection, in which the server gives a cookie."""
    peer, conn = connect(wire, port)
    peer.expect(SYN, fast_open=b"", payload=b"")
    peer.send(SYN | ACK, mss=mss, fast_open=cookie)
    peer.expect(ACK)
    conn.abort()
    wire.settle()


def test_the_first_syn_asks_for_a_cookie(wire):
    """RFC 7413 4.1.3: and carries no data"""
    peer, conn = connect(wire)
    with pytest.raises(BlockingIOError):
        conn.send(REQUEST)
    peer.expect(SYN, fast_open=b"", payload=b"")
    peer.send(SYN | ACK, mss=1460, fast_open=b"01234567")
    peer.expect(ACK)
    conn.send(REQUEST)
    peer.expect(ACK, payload=REQUEST)


def test_an_ordinary_open_has_no_such_option(wire):
    """RFC 7413 4.2: off by default"""
    learn(wire)
    peer = wire.peer(port=92, to_port=50000)
    wire.stack.connect((peer.base.src, 92), (peer.base.dst, 50000))
    peer.expect(SYN, fast_open=None)


def test_the_next_one_carries_cookie_and_data(wire):
    """RFC 7413 4.2.1"""
    learn(wire)
    peer, conn = connect(wire, 92)
    peer.expect_nothing(for_ms=1000)
    assert conn.send(REQUEST) == len(REQUEST)
    peer.expect(SYN, fast_open=b"01234567", payload=REQUEST, seq=0)
    peer.send(SYN | ACK, ack=1 + len(REQUEST), mss=1460)
    peer.expect(ACK, seq=1 + len(REQUEST), payload=b"")
    assert conn.state == "ESTABLISHED"
    assert conn.info()["flight_bytes"] == 0
    conn.send(b"more")
    peer.expect(ACK, seq=1 + len(REQUEST), payload=b"more")
    assert wire.count("fast_open_sent") == wire.count("fast_open_acked") == 1


def test_small_writes_share_the_syn(wire):
    """RFC 7413 4.2.1: all that there is when the SYN leaves"""
    learn(wire)
    peer, conn = connect(wire, 92)
    for part in (b"get ", b"/", b"\r\n"):
        conn.send(part)
    peer.expect(SYN, payload=b"get /\r\n")


def test_more_than_a_segment_follows_the_handshake(wire):
    """RFC 7413 4.2.1: what fits the SYN beside its options, by the MSS that came with the cookie"""
    learn(wire, mss=1000)
    peer, conn = connect(wire, 92)
    stream = bytes(i % 251 for i in range(5000))
    conn.send(stream)
    syn = peer.expect(SYN)
    assert 900 <= len(syn.payload) <= 1000 - 36
    peer.send(SYN | ACK, ack=1 + len(syn.payload), mss=1000)
    peer.send(ACK)
    got = syn.payload + b"".join(seg.payload for seg in peer.drain())
    assert got == stream


@pytest.mark.parametrize("taken", [0, 2, 5])
def test_what_the_syn_ack_does_not_acknowledge_is_sent_at_once(wire, taken):
    """RFC 7413 4.2.1: all, part or nothing of it"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN, payload=REQUEST)
    peer.send(SYN | ACK, ack=1 + taken, mss=1460, fast_open=b"76543210")
    if taken < len(REQUEST):
        peer.expect(ACK, seq=1 + taken, payload=REQUEST[taken:])
    else:
        peer.expect(ACK, payload=b"")
    peer.send(ACK, ack=1 + len(REQUEST))
    assert conn.info()["flight_bytes"] == 0


@pytest.mark.parametrize("ack", [0, 7, 2**31])
def test_a_syn_ack_of_what_was_not_sent_is_reset(wire, ack):
    """RFC 9293 3.10.7.3, first"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN)
    peer.send(SYN | ACK, seq=0, ack=ack, mss=1460)
    peer.expect(RST)
    assert conn.state == "SYN-SENT"


def test_data_with_the_syn_ack_are_delivered(wire):
    """RFC 7413 4.2.1"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN)
    peer.send(SYN | ACK, b"answer", ack=1 + len(REQUEST), mss=1460)
    peer.expect(ACK, ack=7)
    assert conn.recv() == b"answer"


def test_without_an_answer_the_next_syn_is_an_ordinary_one(wire):
    """RFC 7413 4.1.3.1: without data and option, and the path is left alone for a while, then longer"""
    learn(wire)
    for port, minutes in ((92, 1), (93, 2), (94, 4)):
        peer, conn = connect(wire, port)
        conn.send(REQUEST)
        peer.expect(SYN, fast_open=b"01234567", payload=REQUEST)
        peer.expect(SYN, fast_open=None, payload=b"", within_ms=2000)
        peer.send(SYN | ACK, ack=1, mss=1460)
        peer.expect(ACK, payload=REQUEST)
        conn.abort()
        wire.run(ms=minutes * 60_000 - 3000)
        other, late = connect(wire, port + 100)
        other.expect(SYN, fast_open=None)
        late.abort()
        wire.run(ms=5000)
    assert wire.count("fast_open_fallbacks") == 3


def test_an_answer_that_comes_late_still_counts(wire):
    """RFC 7413 4.1.3.1: the SYN with data was only slow; it is no black hole"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN, payload=REQUEST)
    peer.expect(SYN, payload=b"", within_ms=2000)
    peer.send(SYN | ACK, ack=1 + len(REQUEST), mss=1460)
    peer.expect(ACK, seq=1 + len(REQUEST), payload=b"")
    again, other = connect(wire, 93)
    other.send(REQUEST)
    again.expect(SYN, payload=REQUEST)


def test_a_new_cookie_replaces_the_old(wire):
    """RFC 7413 4.1.3"""
    learn(wire, b"01234567")
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN)
    peer.send(SYN | ACK, ack=1, mss=1460, fast_open=b"abcd")
    peer.drain()
    again, other = connect(wire, 93)
    other.send(REQUEST)
    again.expect(SYN, fast_open=b"abcd")


def test_a_server_that_has_given_it_up_is_asked_again(wire):
    """RFC 7413 4.1.3.1: it acknowledged no data and gave no cookie"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN)
    peer.send(SYN | ACK, ack=1, mss=1460)
    peer.drain()
    again, _ = connect(wire, 93)
    again.expect(SYN, fast_open=b"", payload=b"")


@pytest.mark.parametrize("cookie", [b"", b"12", b"12345", b"x" * 16])
def test_a_cookie_of_a_wrong_size_is_none(wire, cookie):
    """RFC 7413 4.1.1: 4 to 16 octets, even; 16 find no room beside our other options"""
    learn(wire, cookie)
    peer, _ = connect(wire, 92)
    peer.expect(SYN, fast_open=b"")


@pytest.mark.parametrize("length", [4, 8, 14])
def test_cookies_of_each_size_come_back(wire, length):
    """RFC 7413 4.1.1"""
    cookie = bytes(range(1, 1 + length))
    learn(wire, cookie)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    syn = peer.expect(SYN, fast_open=cookie)
    assert syn.timestamps is not None
    assert syn.sack_permitted


def test_the_table_of_cookies_is_bounded(wire):
    """RFC 7413 4.1.3: what no longer fits is forgotten, not everything"""
    wire.stack.set_routes([("0.0.0.0", 0, "10.0.0.2", None, 0, 0)])
    for number in range(600):
        address = f"192.0.{2 + number // 250}.{1 + number % 250}"
        conn = wire.stack.connect((address, 80), options=[(TCP, TCP_FASTOPEN_CONNECT, 1)])
        wire.settle()
        syn = wire.strays.pop()
        assert syn.fast_open == b""
        wire.send_frame(
            TcpSegment(
                src=address, dst=syn.src, src_port=80, dst_port=syn.src_port, ack=(syn.seq + 1) % 2**32,
                flags=SYN | ACK, mss=1460, fast_open=b"cookie", src_mac=syn.dst_mac, dst_mac=syn.src_mac,
            ).build()
        )  # fmt: skip
        conn.abort()
        wire.settle()
    wire.strays.clear()
    conn = wire.stack.connect((address, 81), options=[(TCP, TCP_FASTOPEN_CONNECT, 1)])
    conn.send(REQUEST)
    wire.settle()
    assert wire.strays[-1].fast_open == b"cookie"


def test_closing_before_any_data_sends_nothing(wire):
    """RFC 9293 3.10.4: in SYN-SENT the block is deleted; RFC 7413 4.2.1: there was no SYN yet"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.close()
    peer.expect_nothing(for_ms=5000)
    assert wire.host.is_idle()


def test_a_refusal_is_told(wire):
    """RFC 9293 3.10.7.3, second: a reset that acknowledges SYN and data"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN)
    peer.send(RST | ACK, seq=0, ack=1 + len(REQUEST))
    assert wire.host.was_closed(conn)
    with pytest.raises(ConnectionRefusedError):
        conn.recv()
    wire.settle()


def test_both_sides_at_once(wire):
    """RFC 9293 3.5, figure 7: data of a SYN that met another come with the handshake's end"""
    learn(wire)
    peer, conn = connect(wire, 92)
    conn.send(REQUEST)
    peer.expect(SYN, payload=REQUEST)
    peer.send(SYN, mss=1460)
    peer.expect(SYN | ACK, seq=0, ack=1)
    peer.send(ACK, ack=1)
    assert conn.state == "ESTABLISHED"
    assert b"".join(seg.payload for seg in peer.drain()) == REQUEST


def test_the_options_of_sockets(wire, listener):
    """As on Linux: how many on a listener, and only there; on a client before it is opened"""
    assert listener.getsockopt(TCP, TCP_FASTOPEN) == 8
    conn = wire.peer(to_port=80).open()
    for option, value in ((TCP_FASTOPEN, 1), (TCP_FASTOPEN_CONNECT, 1)):
        with pytest.raises(OSError, match="Invalid") as raised:
            conn.setsockopt(TCP, option, value)
        assert raised.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="Invalid"):
        listener.setsockopt(TCP, TCP_FASTOPEN, -1)
