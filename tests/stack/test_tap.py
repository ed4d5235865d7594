"""The tap: every packet both ways, and why one was refused; bounded, and safe from its reader."""

import errno
import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from underpass.observe.filter_expression import compile_filter
from underpass.observe.pcapng_blocks import Packet, packets
from underpass.observe.spool_reader import SpoolReader
from underpass.testing import Transfer
from underpass.testing.clock import MS, SECOND
from underpass.testing.host import Host
from underpass.testing.network import Network
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.peer import Wire

ACK, FIN, PSH, RST, SYN = Flags.ACK, Flags.FIN, Flags.PSH, Flags.RST, Flags.SYN
RING = 1 << 20
PRODUCED_AT, PASSED_AT, CONSUMED_AT = 64, 72, 128          # of SpoolShared
EPOCH_NS = 10**18


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as it:
        it.stack.listen(("0.0.0.0", 80))
        yield it


def read(reader: SpoolReader, **most: int) -> list[Packet]:
    octets, count = reader.read(**most)
    found = list(packets(octets))
    assert len(found) == count
    return found


def transfer(network: Network, client: Host, server: Host, octets: bytes) -> None:
    """A connection on which the client sends, closed by both."""
    sender, receiver = Transfer(octets, b""), Transfer(b"", octets)
    client.application, server.application = sender.on_ready, receiver.on_ready
    server.stack.listen(("0.0.0.0", 80))
    sender.conn = client.stack.connect((server.station.v4, 80))
    assert network.run(until=lambda: sender.done and receiver.done, for_ns=60 * SECOND)


# ---- what is seen

def test_a_connection_is_seen_whole_in_both_directions(wire: Wire) -> None:
    reader = SpoolReader(wire.stack.capture_start(epoch_ns=EPOCH_NS, interface=3))
    peer = wire.peer()
    conn = peer.open()
    peer.send(ACK | PSH, b"question")
    assert conn.recv() == b"question"
    conn.send(b"answer" * 100)
    conn.close()
    wire.settle()
    peer.send(FIN | ACK)
    found = read(reader)
    segments = [TcpSegment.parse(packet.frame) for packet in found]     # which verifies the checksums
    assert [segment.flags for segment in segments[:3]] == [SYN, SYN | ACK, ACK]
    assert [packet.is_sent for packet in found[:3]] == [False, True, False]
    ends = {packet.is_sent for packet, it in zip(found, segments, strict=True) if it.flags & FIN}
    assert ends == {True, False}
    assert [packet.frame for packet in found if packet.is_sent] == list(wire.frames)
    assert b"".join(it.payload for it in segments) == b"question" + b"answer" * 100
    assert all(packet.interface == 3 and not packet.comment and packet.original == len(packet.frame)
               for packet in found)
    assert all(EPOCH_NS < packet.at_ns <= EPOCH_NS + wire.now_ns for packet in found)
    assert reader.counts() == {"passed": len(found), "matched": len(found), "dropped": 0}


@pytest.mark.parametrize("wrong", [
    {"tcp_checksum": 1}, {"ip_checksum": 1}, {"truncate": 20}, {"dst_mac": "02:00:00:00:00:77"},
    {"ethertype": 0x88CC}, {"data_offset": 4}, {"src": "127.0.0.1"}, {"src_port": 0}, {"protocol": 17},
], ids=str)  # fmt: skip
def test_a_refused_packet_is_seen_with_the_reason_that_is_counted(wire: Wire, wrong: dict[str, Any]) -> None:
    reader = SpoolReader(wire.stack.capture_start())
    good = wire.peer().make(SYN)
    wire.send_frame(good.build(), good.build(**wrong))
    (first, refused, *sent) = read(reader)
    (reason,) = [name for name, count in wire.stack.stats()["refused"].items() if count]
    assert (first.comment, refused.comment) == ("", f"refused: {reason}")
    assert refused.frame == good.build(**wrong)
    assert all(packet.is_sent for packet in sent)


def test_a_segment_that_its_connection_refuses_is_seen_with_the_counter_s_name(wire: Wire) -> None:
    reader = SpoolReader(wire.stack.capture_start(refused_only=True))
    peer = wire.peer()
    peer.open()
    peer.send(ACK, b"x", seq=10_000_000)
    peer.send(SYN, seq=1)
    wire.send_frame(wire.peer(port=41000, to_port=81).make(SYN).build())
    peer.icmp(TcpSegment(src=peer.base.dst, dst="10.0.0.9", src_mac=peer.base.dst_mac,
                         dst_mac=peer.base.src_mac), 3, 1)
    found = read(reader)
    assert [packet.comment for packet in found] == [
        "refused: out_of_window", "refused: in_window_syn", "refused: no_listener",
        "refused: icmp_no_connection"]
    assert not any(packet.is_sent for packet in found)


def test_every_counter_that_a_refusal_has_is_known_to_the_tap() -> None:
    """Each name is a counter; each reason fits into a comment. A tap that lacks one cannot be made."""
    with Wire() as wire:
        wire.stack.capture_start()
        wire.stack.capture_stop()


def test_looking_changes_nothing_for_the_peers() -> None:
    seen = []
    for watched in (False, True):
        with Network(seed=5) as network:
            client, server = network.pair(latency_ns=MS, drop=0.02)
            network.run(for_ns=MS)
            own = SpoolReader(client.stack.capture_start())
            if watched:
                server.stack.capture_start()
            transfer(network, client, server, b"y" * 100_000)
            seen.append(read(own))
    assert len(seen[0]) > 80
    assert seen[0] == seen[1]


def test_a_packet_of_several_frames_is_put_together_and_filtered_as_a_whole() -> None:
    octets = b"x" * 3900 + b"y" * 300 + b"x" * 3000
    with Wire(mtu=9000) as wire:
        wire.stack.listen(("0.0.0.0", 80))
        reader = SpoolReader(wire.stack.capture_start(compile_filter("tcp[4000] = 0x79")))
        peer = wire.peer()
        peer.open(mss=8960)
        peer.send(ACK, octets)
        peer.send(ACK, octets[:3900])
        assert wire.count("payload_in") == len(octets) + 3900
        (found,) = read(reader)
    assert TcpSegment.parse(found.frame).payload == octets


def test_a_packet_that_the_device_will_cut_up_is_seen_whole() -> None:
    octets = random.Random(1).randbytes(300_000)
    with Network(seed=1, segmentation=True) as network:
        client, server = network.pair()
        network.run(for_ns=MS)
        reader = SpoolReader(client.stack.capture_start(compile_filter("src host 10.0.0.1")))
        transfer(network, client, server, octets)
        segments = [TcpSegment.parse(packet.frame) for packet in read(reader)]      # checksums are right
        assert client.stack.stats()["link"]["tx_segmented"] > 0
    assert b"".join(segment.payload for segment in segments) == octets
    assert max(len(segment.payload) for segment in segments) > 10_000


def test_only_what_the_filter_matches_is_seen(wire: Wire) -> None:
    program = compile_filter("tcp src port 80 and tcp[tcpflags] & tcp-syn != 0")
    reader = SpoolReader(wire.stack.capture_start(program))
    wire.peer(port=40000).open()
    wire.peer(port=40001).open()
    found = read(reader)
    assert [packet.is_sent for packet in found] == [True, True]
    assert [TcpSegment.parse(packet.frame).flags for packet in found] == [SYN | ACK] * 2
    assert reader.counts() == {"passed": 6, "matched": 2, "dropped": 0}


def test_the_snapshot_is_as_short_as_asked_for(wire: Wire) -> None:
    reader = SpoolReader(wire.stack.capture_start(snaplen=61))
    conn = wire.peer().open()
    conn.send(b"x" * 500)
    wire.settle()
    last = read(reader)[-1]
    assert (last.frame, last.original) == (wire.frames[-1][:61], len(wire.frames[-1]))


def test_packets_that_the_link_does_not_take_are_seen_once_when_it_does() -> None:
    with Network(seed=1) as network:
        client, server = network.pair(depth=8)
        network.run(for_ns=MS)
        reader = SpoolReader(client.stack.capture_start())
        transfer(network, client, server, bytes(range(250)) * 400)
        sent = [TcpSegment.parse(packet.frame) for packet in read(reader) if packet.is_sent]
        stats = client.stack.stats()
        assert stats["link"]["tx_refused"] > 0
        assert len(sent) == stats["tcp"]["segments_out"]


def test_one_capture_at_a_time_and_none_after_it_stopped(wire: Wire) -> None:
    reader = SpoolReader(wire.stack.capture_start())
    with pytest.raises(OSError, match="captured already") as caught:
        wire.stack.capture_start()
    assert caught.value.errno == errno.EBUSY
    wire.peer(port=40000).open()
    wire.stack.capture_stop()
    wire.stack.capture_stop()
    wire.peer(port=40001).open()
    assert len(read(reader)) == 3               # which are there after the end as well
    assert SpoolReader(wire.stack.capture_start()).counts()["passed"] == 0


@pytest.mark.parametrize(("arguments", "message"), [
    ({"ring_bytes": 3 << 20}, "power of two"), ({"ring_bytes": 4096}, "power of two"),
    ({"snaplen": 0}, "1 to 262144"), ({"program": b"12345678"}, "no classic BPF"),
    ({"program": b"\x06\0\0\0\0\0\0"}, "no classic BPF"),
    ({"program": struct.pack("HBBI", 6, 0, 0, 1) * 4097}, "no classic BPF"),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(wire: Wire, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wire.stack.capture_start(**arguments)
    wire.stack.capture_start()


# ---- the ring

def test_a_full_ring_drops_the_newest_and_counts_them(wire: Wire) -> None:
    reader = SpoolReader(wire.stack.capture_start(ring_bytes=RING))
    frame = wire.peer().make(SYN).build(truncate=20).ljust(1514, b"z")
    for _ in range(1000):
        wire.send_frame(frame)
    counts = reader.counts()
    found: list[Packet] = []
    while more := read(reader):
        found += more
    assert counts["passed"] == counts["matched"] == 1000
    assert 600 < len(found) == 1000 - counts["dropped"] < 700
    wire.send_frame(frame)                      # now there is room again
    assert [packet.frame for packet in read(reader)] == [frame]
    assert reader.counts()["dropped"] == counts["dropped"]


def test_blocks_stay_whole_where_the_ring_wraps(wire: Wire) -> None:
    """Five times around, in blocks that do not divide it."""
    reader = SpoolReader(wire.stack.capture_start(ring_bytes=RING))
    frames = [bytes([n % 251]) * (14 + n % 1401) for n in range(7500)]
    for at in range(0, len(frames), 50):
        wire.send_frame(*frames[at : at + 50])
        assert [packet.frame for packet in read(reader)] == frames[at : at + 50]
    assert reader.counts()["dropped"] == 0


def test_a_reader_takes_as_many_as_it_asks_for(wire: Wire) -> None:
    reader = SpoolReader(wire.stack.capture_start())
    for n in range(10):
        wire.send_frame(bytes([n]) * 60)
    assert [packet.frame[0] for packet in read(reader, most_blocks=3)] == [0, 1, 2]
    assert [packet.frame[0] for packet in read(reader, most_bytes=300)] == [3, 4]
    assert read(reader, most_blocks=0) == []
    assert [packet.frame[0] for packet in read(reader)] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("claim", [1, 3, 5, 2**20 + 1, 2**32, 2**63, 2**64 - 1, 2**64 - 2**20])
def test_whatever_the_reader_writes_the_worker_stays_inside_and_goes_on(wire: Wire, claim: int) -> None:
    """The reader's count is all that the worker reads there; everything else is overwritten as well."""
    memfd = wire.stack.capture_start(ring_bytes=RING)
    with mmap.mmap(memfd, 0) as shared:
        for number in range(1, 1501):
            wire.send_frame(b"x" * 1400)
            assert struct.unpack_from("=Q", shared, PASSED_AT) == (number,)
            struct.pack_into("=Q", shared, CONSUMED_AT, claim * number % 2**64)
            shared[:CONSUMED_AT] = os.urandom(CONSUMED_AT)
            struct.pack_into("=Q", shared, 4096 + number * 4096 % RING, 2**64 - 1)
    wire.stack.capture_stop()
    wire.peer().open()                          # the worker is well
    assert wire.count("passive_opens") == 1


SCRIBBLER = """
import mmap, sys
with mmap.mmap(int(sys.argv[1]), 0) as shared:
    noise = b"\\xff" * len(shared)
    print("ready", flush=True)
    while True:
        shared[:] = noise
"""


def test_a_reader_that_overwrites_everything_all_the_time_does_no_harm(wire: Wire) -> None:
    """Between any two steps of the worker: what it wrote it must not read back."""
    memfd = wire.stack.capture_start(ring_bytes=RING)
    with subprocess.Popen([sys.executable, "-c", SCRIBBLER, str(memfd)], pass_fds=[memfd],
                          stdout=subprocess.PIPE, text=True) as scribbler:
        try:
            assert scribbler.stdout is not None and scribbler.stdout.readline() == "ready\n"
            for port in range(40000, 40300):
                peer = wire.peer(port)
                conn = peer.open()
                conn.send(b"x" * 20_000)
                wire.send_frame(b"short", peer.make(ACK, b"y").build(tcp_checksum=1))
                conn.abort()
                wire.settle()
        finally:
            scribbler.kill()
    assert wire.count("passive_opens") == 300


def test_the_memory_cannot_be_shrunk_beneath_the_worker(wire: Wire) -> None:
    memfd = wire.stack.capture_start()
    for octets in (0, 4096, 1 << 30):
        with pytest.raises(PermissionError):
            os.ftruncate(memfd, octets)


# ---- the reader's own safety

def memfd_of(content: bytes, seal: bool = True) -> int:
    descriptor = os.memfd_create("no-tap", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    if seal:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return descriptor


@pytest.mark.parametrize(("content", "seal"), [
    (b"", True), (bytes(4096), True), (bytes(5000), True), (bytes(4096 + RING), True),
    (bytes(4096 + RING), False),
])
def test_what_is_no_tap_is_refused(content: bytes, seal: bool) -> None:
    descriptor = memfd_of(content, seal)
    with pytest.raises(ValueError, match="capture"):
        SpoolReader(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(("produced", "block"), [
    (RING + 4, b""), (2**64 - 4, b""), (64, struct.pack("=II", 6, 0)), (64, struct.pack("=II", 6, 33)),
    (64, struct.pack("=II", 6, 2**32 - 4)), (64, struct.pack("=II", 6, 68)), (16, struct.pack("=II", 6, 16)),
])
def test_a_damaged_ring_is_an_error_and_nothing_worse(wire: Wire, produced: int, block: bytes) -> None:
    memfd = wire.stack.capture_start(ring_bytes=RING)
    reader = SpoolReader(memfd)
    with mmap.mmap(memfd, 0) as shared:
        shared[4096 : 4096 + len(block)] = block
        struct.pack_into("=Q", shared, PRODUCED_AT, produced)
    with pytest.raises(ValueError, match="damaged"):
        reader.read()
