"""Closing connections (RFC 9293 3.6, 3.10.4, 3.10.7.4 eighth) and TIME-WAIT (RFC 6191, RFC 1337)."""

import errno

import pytest

from underpass.stack.stack import ACCEPTED, READABLE, WRITABLE
from underpass.testing.peer import ACK, FIN, PSH, RST, SYN


def states(wire):
    wire.settle()
    return [row["state"] for row in wire.stack.connections() if row["state"] != "LISTEN"]


def close_actively(peer, conn):
    """Through FIN-WAIT-1 and FIN-WAIT-2 to TIME-WAIT."""
    conn.close()
    peer.expect(FIN | ACK)
    peer.send(ACK)
    peer.send(FIN | ACK)
    peer.expect(ACK, ack=peer.snd_nxt)


def test_an_active_close(wire, peer):
    """RFC 9293 3.6, figure 12"""
    conn = peer.open()
    conn.shutdown()
    assert conn.state == "FIN-WAIT-1"
    peer.expect(FIN | ACK, seq=1, ack=1)
    peer.send(ACK)
    assert conn.state == "FIN-WAIT-2"
    peer.send(FIN | ACK)
    peer.expect(ACK, seq=2, ack=2)
    assert conn.recv() == b""
    conn.close()
    assert states(wire) == ["TIME-WAIT"]


def test_a_passive_close(wire, peer):
    """RFC 9293 3.6, figure 12, the other side: CLOSE-WAIT, LAST-ACK"""
    conn = peer.open()
    peer.send(FIN | ACK)
    peer.expect(ACK, ack=2)
    assert conn.state == "CLOSE-WAIT"
    assert conn.recv() == b""
    conn.close()
    peer.expect(FIN | ACK, seq=1, ack=2)
    assert states(wire) == ["LAST-ACK"]
    peer.send(ACK)
    assert states(wire) == []
    assert wire.host.is_idle()


def test_the_peer_closes_and_we_go_on_sending(wire, peer):
    """RFC 9293 3.6, case 2: half-close, CLOSE-WAIT"""
    conn = peer.open()
    peer.send(FIN | ACK | PSH, b"request")
    assert conn.recv() == b"request"
    assert conn.recv() == b""
    conn.send(b"answer")
    wire.settle()
    assert [seg.payload for seg in peer.drain() if seg.payload] == [b"answer"]
    peer.send(ACK)
    conn.close()
    peer.expect(FIN | ACK)
    peer.send(ACK)
    assert wire.host.is_idle()


def test_we_close_and_the_peer_goes_on_sending(wire, peer):
    """RFC 9293 3.6, case 1: half-close, FIN-WAIT-2"""
    conn = peer.open()
    conn.send(b"request")
    conn.shutdown()
    peer.expect(FIN | ACK, payload=b"request")
    peer.send(ACK)
    with pytest.raises(OSError) as raised:
        conn.send(b"more")
    assert raised.value.errno == errno.EPIPE
    wire.run(ms=600_000)
    peer.send(ACK | PSH, b"answer")
    assert conn.recv() == b"answer"
    peer.send(FIN | ACK)
    assert conn.recv() == b""
    conn.close()
    assert states(wire) == ["TIME-WAIT"]


@pytest.mark.parametrize("together", [False, True])
def test_a_simultaneous_close(wire, peer, together):
    """RFC 9293 3.6, figure 13: FIN-WAIT-1, CLOSING, TIME-WAIT"""
    conn = peer.open()
    conn.shutdown()
    peer.expect(FIN | ACK, seq=1)
    peer.send(FIN | ACK, ack=2 if together else 1)
    peer.expect(ACK, seq=2, ack=2)
    if not together:
        assert conn.state == "CLOSING"
        peer.send(ACK, ack=2)
    conn.close()
    assert states(wire) == ["TIME-WAIT"]


def test_a_fin_and_the_ack_of_ours_in_one_batch(wire, peer):
    """RFC 9293 3.10.7.4, fifth: CLOSING is over within one step, and the FIN is acknowledged all the same"""
    conn = peer.open()
    conn.shutdown()
    peer.expect(FIN | ACK, seq=1)
    wire.send_frame(peer.make(FIN | ACK, seq=1, ack=1).build(), peer.make(ACK, seq=2, ack=2).build())
    peer.expect(ACK, seq=2, ack=2, within_ms=0)
    conn.close()
    assert states(wire) == ["TIME-WAIT"]


def test_fin_waits_for_the_data_before_it(wire, peer):
    """RFC 9293 3.10.4: the FIN follows what is queued"""
    conn = peer.open(window=1460)
    conn.send(bytes(4000))
    conn.close()
    got = 0
    while True:
        seg = peer.expect()
        got += len(seg.payload)
        peer.send(ACK, window=1460)
        if FIN in seg.flags:
            break
    assert got == 4000


def test_a_fin_out_of_order_is_taken_when_the_data_is_there(wire, peer):
    """RFC 9293 3.10.7.4, eighth: RCV.NXT goes over it when all before it is there"""
    conn = peer.open()
    peer.send(FIN | ACK, b"end", seq=6)
    assert conn.state == "ESTABLISHED"
    peer.send(ACK, b"hello", seq=1)
    wire.settle()
    assert peer.drain()[-1].ack == 10
    assert conn.recv() == b"helloend"
    assert conn.recv() == b""


def test_a_fin_is_sent_again_until_acknowledged(wire, peer):
    """RFC 9293 3.4, RFC 6298 5.4: it has a number, and so a timer"""
    conn = peer.open()
    conn.close()
    peer.expect(FIN | ACK, seq=1)
    for _ in range(4):
        peer.expect(FIN | ACK, seq=1, within_ms=20_000)
    peer.send(ACK, ack=2)
    peer.expect_nothing(for_ms=1000)
    assert states(wire) == ["FIN-WAIT-2"]


def test_a_closed_connection_does_not_wait_for_ever_for_the_peers_fin(wire, peer):
    """RFC 9293 3.6 sets FIN-WAIT-2 no end; Linux does: tcp_fin_timeout"""
    conn = peer.open()
    conn.close()
    peer.expect(FIN | ACK)
    peer.send(ACK)
    wire.run(ms=300_000)
    assert wire.host.is_idle()
    assert states(wire) == []


def test_data_that_was_received_before_a_reset_is_lost_and_the_error_is_told(wire, peer):
    """RFC 9293 3.10.7.4, second: all segment queues are flushed"""
    conn = peer.open()
    peer.send(RST)
    with pytest.raises(ConnectionResetError):
        conn.recv()


def test_time_wait_acknowledges_the_fin_again_and_ends(wire, peer):
    """RFC 9293 3.10.7.4, eighth and first"""
    close_actively(peer, peer.open())
    assert states(wire) == ["TIME-WAIT"]
    peer.send(FIN | ACK, seq=1)
    peer.expect(ACK, ack=2)
    peer.send(RST, seq=2)  # RFC 1337: a reset does not end it
    assert states(wire) == ["TIME-WAIT"]
    wire.run(ms=300_000)
    assert states(wire) == []
    assert wire.host.link.frames.free == wire.host.link.frames.count


def test_a_higher_syn_reopens_a_connection_in_time_wait(wire, peer):
    """RFC 9293 3.10.7.4, RFC 6191 2: without timestamps, by the sequence number"""
    close_actively(peer, peer.open())
    old_irs = peer.irs
    again = wire.peer(iss=1000)
    again.open()
    assert wire.count("time_wait_reused") == 1
    assert 0 < (again.irs - old_irs) % 2**32 < 2**31


def test_a_lower_syn_with_a_newer_timestamp_reopens_as_well(wire, peer):
    """RFC 6191 2"""
    peer.timestamp = 1000
    close_actively(peer, peer.open())
    again = wire.peer(iss=0xFFFF0000)
    again.timestamp = 1001
    again.open()
    assert wire.count("time_wait_reused") == 1


@pytest.mark.parametrize("timestamp", [None, 1000, 999])
def test_a_lower_syn_without_a_newer_timestamp_does_not(wire, peer, timestamp):
    """RFC 6191 2"""
    peer.timestamp = None if timestamp is None else 1000
    close_actively(peer, peer.open())
    again = wire.peer(iss=0xFFFF0000)
    again.timestamp = timestamp
    again.send(SYN, mss=1460)
    assert all(SYN not in seg.flags for seg in again.drain())
    assert states(wire) == ["TIME-WAIT"]


@pytest.mark.wire(time_waits=4)
def test_time_wait_entries_are_limited(wire):
    """RFC 9293 3.6; memory is bounded: the one nearest its end makes room"""
    for port in range(1000, 1010):
        peer = wire.peer(port=port)
        close_actively(peer, peer.open())
    assert len(states(wire)) <= 4
    assert wire.count("time_wait_limit") == 6


@pytest.mark.wire(connections=2)
def test_what_became_of_a_connection_is_not_told_of_the_next_one_in_its_place(wire, peer):
    """RFC 9293 3.10.1: each OPEN makes a connection record of its own"""
    conn = peer.open()
    wire.peer(port=40002).open()                # the other place is taken
    wire.host.serve = lambda: 0                 # the application is busy meanwhile
    place = conn.index_or_none()
    peer.send(RST)
    conn.close()
    wire.run(ms=1)
    next_one = wire.peer(port=40001)
    next_one.send(SYN)
    next_one.expect(SYN | ACK)
    next_one.send(ACK)
    ((accepted, events),) = wire.stack.events()
    assert accepted.index_or_none() == place
    assert events & ~WRITABLE == ACCEPTED
    next_one.send(ACK | PSH, b"data")
    assert wire.stack.events() == [(accepted, READABLE)]
    assert accepted.recv() == b"data"
