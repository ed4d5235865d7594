"""Larger segments by probes, once large ones have vanished (RFC 4821 7, RFC 8899)."""

import contextlib
import itertools

import pytest

from underpass.testing.peer import ACK, RST

LARGEST = 1460
OVER_IP = 40
UNREACHABLE, FRAGMENTATION_NEEDED = 3, 4


class BlackHole:
    """The peer behind a path that swallows what has more than `most` octets of payload, and says nothing."""

    def __init__(self, wire, most, **options):
        options = {"sack_permitted": True, "window": 60_000, "window_scale": 2} | options
        self.wire, self.most = wire, most
        self.peer = wire.peer()
        self.conn = self.peer.open(**options)
        self.sack = options["sack_permitted"]
        self.got = {}
        self.edge = 1
        self.largest = 0
        self.unlucky = set()
        self.probes = []

    def write(self, octets):
        sent = 0
        while sent < octets:
            try:
                sent += self.conn.send(bytes(octets - sent))
            except BlockingIOError:
                self.run(20)

    def stream(self, ms):
        """The application writes all the time."""
        for _ in range(ms // 100):
            with contextlib.suppress(BlockingIOError):
                self.conn.send(bytes(30_000))
            self.run(100)

    def run(self, ms):
        for _ in range(ms // 10):
            self.wire.run(ms=10)
            for seg in self.peer.drain():
                if len(seg.payload) > self.conn.info()["mss"]:
                    self.probes.append(len(seg.payload))
                self.largest = max(self.largest, len(seg.payload))
                if len(seg.payload) in self.unlucky:
                    self.unlucky.remove(len(seg.payload))
                elif seg.payload and len(seg.payload) <= self.most:
                    self.receive(seg)

    def receive(self, seg):
        if seg.end > self.edge:
            self.got[seg.seq] = max(seg.end, self.got.get(seg.seq, 0))
        while behind := [end for start, end in self.got.items() if start <= self.edge < end]:
            self.edge = max(behind)
        self.got = {start: end for start, end in self.got.items() if end > self.edge}
        sack = ((seg.seq, seg.end),) if self.sack and seg.seq > self.edge else ()
        self.peer.send(ACK, ack=self.edge, sack=sack)


def fallen(wire, most, **options):
    """A connection that has found the black hole."""
    path = BlackHole(wire, most, **options)
    path.write(20_000)
    path.run(60_000)
    assert path.edge == 20_001
    assert wire.count("path_black_holes") >= 1
    path.largest = 0
    path.probes.clear()
    return path


@pytest.fixture
def path(wire):
    return fallen(wire, 1300)


def test_probes_find_what_the_path_takes(wire, path):
    """RFC 4821 7.3: to within eight octets"""
    path.stream(10_000)
    assert 1300 - 8 <= path.conn.info()["mss"] <= 1300
    assert wire.count("path_probes") > wire.count("path_probes_lost") > 0
    assert wire.count("path_mtu_raised") >= 1


def test_a_lost_probe_alone_is_no_congestion(wire, path):
    """RFC 4821 7.4: no recovery, no timeout, no smaller window"""
    timeouts, recoveries = wire.count("timeouts"), wire.count("fast_retransmits")
    path.write(100_000)
    smallest = path.conn.info()["cwnd_bytes"]
    for _ in range(20):
        path.write(30_000)
        assert path.conn.info()["cwnd_bytes"] >= smallest
        smallest = path.conn.info()["cwnd_bytes"]
    path.run(500)
    assert wire.count("path_probes_lost") >= 1
    assert wire.count("timeouts") == timeouts
    assert wire.count("fast_retransmits") == recoveries
    assert path.edge == 720_001


def test_a_size_is_given_up_after_three_losses(path):
    """RFC 8899 5.1.2, MAX_PROBES"""
    path.stream(10_000)
    tries = {size: len(list(group)) for size, group in itertools.groupby(path.probes)}
    assert all(count == (1 if size <= 1300 else 3) for size, count in tries.items())


def test_a_probe_lost_by_chance_is_sent_again(wire):
    """RFC 8899 5.1.2"""
    path = fallen(wire, 1300)
    path.most = LARGEST
    first = (1024 + LARGEST) // 2
    path.unlucky = {first}
    path.stream(10_000)
    assert path.probes[:2] == [first, first]
    assert path.conn.info()["mss"] > LARGEST - 9


def test_probes_are_apart(wire, path):
    """RFC 4821 7.5: one at a time, a retransmission timeout after one that was lost"""
    path.write(40_000)
    assert wire.count("path_probes") <= 1


def test_little_data_is_no_probe(wire, path):
    """RFC 4821 7.4: without enough behind it its loss would be seen late"""
    for _ in range(50):
        path.write(1200)
        path.run(500)
    assert wire.count("path_probes") == 0


def test_a_small_window_is_no_probe(wire):
    """RFC 4821 7.4: it would take too large a part"""
    path = fallen(wire, 1300, window=8_000, window_scale=0)
    path.write(50_000)
    path.run(2000)
    assert wire.count("path_probes") == 0


@pytest.mark.wire(path_mtu_ms=600_000)
def test_after_ten_minutes_the_search_begins_again_with_the_largest(wire, path):
    """RFC 4821 7.7, RFC 8899 5.1.1: PMTU_RAISE_TIMER; the path has changed"""
    path.stream(10_000)
    before = wire.count("path_probes")
    path.stream(5000)
    assert wire.count("path_probes") == before
    path.most = 1500
    wire.run(ms=600_000)
    path.probes.clear()
    path.stream(1000)
    assert path.probes == [LARGEST]
    assert path.conn.info()["mss"] == LARGEST
    path.stream(1000)
    assert path.probes == [LARGEST]


@pytest.mark.wire(path_mtu_ms=600_000)
def test_without_sack_the_size_is_tried_without_probes(wire):
    """A lost probe would stop such a stream until its timeout; RFC 1191 6.3 goes on to hold"""
    path = fallen(wire, 1300, sack_permitted=False)
    path.write(100_000)
    path.run(1000)
    assert wire.count("path_probes") == 0
    assert path.conn.info()["mss"] == 1024
    path.most = 1500
    wire.run(ms=601_000)
    path.write(20_000)
    path.run(1000)
    assert path.conn.info()["mss"] == LARGEST


def test_a_router_that_speaks_after_all_ends_the_guessing(wire):
    """RFC 4821 7.4: its MTU bounds the search, and the refused probe is the last of its size"""
    path = fallen(wire, 1200)
    path.write(20_000)
    path.wire.run(ms=1)
    for _ in range(200):
        wire.run(ms=1)
        for seg in path.peer.drain():
            if len(seg.payload) > 1200:
                path.peer.icmp(seg, UNREACHABLE, FRAGMENTATION_NEEDED, mtu=1200 + OVER_IP)
            else:
                path.receive(seg)
        if not path.conn.info()["flight_bytes"]:
            path.write(20_000)
    path.stream(10_000)
    assert wire.count("path_probes_lost") <= 8
    assert 1200 - 8 <= path.conn.info()["mss"] <= 1200


def test_the_stream_is_whole(wire):
    """RFC 4821 7.4: what a probe takes from the frames behind it is neither lost nor sent twice"""
    path = BlackHole(wire, 1300)
    data = bytes(itertools.islice(itertools.cycle(range(251)), 1_000_000))
    received = bytearray(len(data))
    left = data
    for _ in range(20_000):
        with contextlib.suppress(BlockingIOError):
            left = left[path.conn.send(left) :] if left else left
        wire.run(ms=10)
        for seg in path.peer.drain():
            if 0 < len(seg.payload) <= 1300:
                received[seg.seq - 1 : seg.end - 1] = seg.payload
                path.receive(seg)
        if path.edge == len(data) + 1:
            break
    assert bytes(received) == data
    assert wire.count("path_probes") > 0


def test_a_reset_with_a_probe_on_its_way_leaves_nothing(wire, path):
    """RFC 9293 3.10.7.4, second"""
    path.most = 0
    path.conn.send(bytes(40_000))
    wire.run(ms=1)
    path.peer.send(RST, seq=path.peer.snd_nxt)
    wire.run(ms=1000)
    assert path.conn.state == "CLOSED"
    assert wire.host.is_idle()
