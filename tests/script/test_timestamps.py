"""Timestamps beyond the handshake (RFC 7323 3, 4, 5): those that vanish, and those that prove nothing."""

from underpass.testing.peer import ACK, FIN, RST

DAY_MS = 24 * 3600 * 1000


def stamped(peer, at=1000):
    peer.timestamp = at
    return peer.open()


def test_data_without_them_are_taken_all_the_same(wire, peer):
    """RFC 7323 3.2 would have them dropped; behind boxes that strip options the stream would stand still"""
    conn = stamped(peer)
    peer.send(ACK, b"bare", timestamps=None)
    assert conn.recv() == b"bare"
    peer.expect(ACK, ack=5, timestamps=lambda stamps: stamps is not None and stamps[1] == 1000)
    assert wire.count("timestamps_missing") == 1


def test_a_stream_that_goes_on_without_them_ends_well(wire, peer):
    """RFC 7323 3.2: each segment is acknowledged, and so is the end"""
    conn = stamped(peer)
    for _ in range(20):
        peer.send(ACK, bytes(1000), timestamps=None)
    peer.send(ACK | FIN, timestamps=None)
    assert len(conn.recv()) == 20_000
    assert conn.recv() == b""
    assert wire.count("timestamps_missing") == 21


def test_our_data_are_acknowledged_without_them(wire, peer):
    """RFC 6298 3: the round trip is then measured by what was sent once"""
    conn = stamped(peer)
    conn.send(b"data")
    wire.run(ms=40)
    peer.drain()
    peer.send(ACK, ack=5, timestamps=None)
    info = conn.info()
    assert info["flight_bytes"] == 0
    assert info["rtt_us"] > 0


def test_a_reset_without_them_is_one(wire, peer):
    """RFC 7323 3.2: a reset carries them or not"""
    conn = stamped(peer)
    peer.send(RST, timestamps=None)
    assert wire.host.was_closed(conn)
    assert wire.count("timestamps_missing") == 0


def test_they_come_back_and_count_again(wire, peer):
    """RFC 7323 5.3 R1: what they say is still compared"""
    conn = stamped(peer)
    peer.send(ACK, b"bare", timestamps=None)
    peer.timestamp = 900
    peer.send(ACK, b"old", seq=5)
    assert conn.recv() == b"bare"
    assert wire.count("paws_refused") == 1


def test_after_24_days_of_silence_an_old_one_proves_nothing(wire, peer):
    """RFC 7323 5.5: by then the peer's clock may have wrapped"""
    conn = stamped(peer)
    wire.run(ms=25 * DAY_MS)
    peer.timestamp = 900
    peer.send(ACK, b"data")
    assert conn.recv() == b"data"
    assert wire.count("paws_refused") == 0


def test_after_fewer_days_it_does(wire, peer):
    """RFC 7323 5.5"""
    stamped(peer)
    wire.run(ms=23 * DAY_MS)
    peer.timestamp = 900
    peer.send(ACK, b"data")
    assert wire.count("paws_refused") == 1
