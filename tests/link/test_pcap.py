"""The capture file: complete, readable by tcpdump, and no danger to traffic."""

import os
import resource
import shutil
import signal
import struct
import subprocess

import pytest

from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.link.pcap import PcapLink
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_link import LinkProbe


def captured(path, **options):
    a, b = memory_pair(Frames(1024, reserve=0), Frames(1024, reserve=0), mtu=9000)
    return LinkProbe(PcapLink(a, path, **options)), LinkProbe(b)


def blocks(path):
    """Every block of a pcapng file: type and body."""
    with open(path, "rb") as file:
        octets = file.read()
    found = []
    while octets:
        kind, length = struct.unpack_from("<II", octets)
        assert length % 4 == 0 and length <= len(octets)
        assert struct.unpack_from("<I", octets, length - 4) == (length,)
        found.append((kind, octets[8 : length - 4]))
        octets = octets[length:]
    return found


def packets_of(path):
    """(nanoseconds, direction flags, octets) of each Enhanced Packet Block."""
    found = []
    for kind, body in blocks(path)[2:]:
        assert kind == 6
        _, high, low, octets, original = struct.unpack_from("<IIIII", body)
        assert octets == original
        option = 20 + (octets + 3) // 4 * 4
        code, size, flags = struct.unpack_from("<HHI", body, option)
        assert (code, size) == (2, 4)
        found.append((high << 32 | low, flags, body[20 : 20 + octets]))
    return found


def test_packets_of_both_ways_stand_in_the_file_with_time_and_direction(tmp_path):
    a, b = captured(tmp_path / "x.pcapng", epoch_ns=10**18)
    long = bytes(range(250)) * 20
    a.transmit([b"out" * 30, long], now_ns=5)
    b.transmit([b"in" * 31], now_ns=6)
    a.receive(now_ns=7)
    b.receive(now_ns=8)
    a.link.close()
    a.link.close()
    assert [kind for kind, _ in blocks(tmp_path / "x.pcapng")[:2]] == [0x0A0D0D0A, 1]
    assert packets_of(tmp_path / "x.pcapng") == [
        (10**18 + 5, 2, b"out" * 30),
        (10**18 + 5, 2, long),
        (10**18 + 7, 1, b"in" * 31),
    ]
    assert a.link.frames.free == b.link.frames.free == 1024
    assert a.link.lost == 0


def test_packets_that_the_inner_link_refuses_are_not_recorded(tmp_path):
    a, _ = memory_pair(Frames(64, reserve=0), Frames(64, reserve=0), depth=4)
    probe = LinkProbe(PcapLink(a, tmp_path / "x.pcapng"))
    assert probe.transmit([b"x" * 60] * 9) == 4
    probe.link.flush()
    assert len(packets_of(tmp_path / "x.pcapng")) == 4
    assert probe.link.stats()["tx_refused"] == 5
    assert a.frames.free == 64


def test_the_checksum_that_a_device_would_fill_in_is_filled_in(tmp_path):
    a, _ = captured(tmp_path / "x.pcapng")
    a.transmit([TcpSegment(payload=b"odd" * 3).build(partial_checksum=True)], checksum=(34, 16))
    a.link.flush()
    ((_, _, octets),) = packets_of(tmp_path / "x.pcapng")
    assert TcpSegment.parse(octets).payload == b"odd" * 3


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_tcpdump_reads_it(tmp_path):
    a, b = captured(tmp_path / "x.pcapng", epoch_ns=1_700_000_000 * 10**9)
    for i in range(1000):  # more than the buffer holds
        a.transmit([TcpSegment(seq=i, payload=b"x" * 900).build()], now_ns=i)
        b.receive()
    a.link.close()
    command = ["tcpdump", "-r", tmp_path / "x.pcapng", "-nn", "-tt", "-v", "--nano"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.count("10.0.0.1.40000 > 10.0.0.2.80") == 1000
    assert run.stdout.count("(correct)") == 1000
    assert run.stdout.startswith("1700000000.000000000 IP")


def test_a_full_disk_costs_the_capture_and_not_the_traffic(tmp_path):
    a, b = captured("/dev/full")
    for _ in range(1000):
        assert a.transmit([b"x" * 900]) == 1
        assert b.receive() == [b"x" * 900]
    a.link.close()
    assert a.link.lost == 1000


def test_a_disk_that_fills_up_leaves_whole_blocks(tmp_path):
    path = tmp_path / "x.pcapng"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    a, b = captured(path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
        for _ in range(1000):
            assert a.transmit([b"x" * 900]) == 1
            assert b.receive() == [b"x" * 900]
        a.link.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    written = len(packets_of(path))
    assert 0 < written < 1000
    assert a.link.lost == 1000 - written
    a.transmit([b"later" * 20])
    a.link.close()
    assert packets_of(path)[-1][2] == b"later" * 20


def test_a_reader_that_went_away_is_counted(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    a, b = captured(fifo)
    os.close(reader)
    for _ in range(1000):
        a.transmit([b"x" * 900])
        b.receive()
    a.link.close()
    assert a.link.lost == 1000


def test_a_path_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        captured(tmp_path / "nowhere" / "x.pcapng")
