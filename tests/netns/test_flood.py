"""Floods to measure under: every packet is a right one, from another source; what drops them drops all."""

import os
import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from underpass.apps.bench.floods import ACK, KINDS, NFTABLES, POLICIES, SYN, frame
from underpass.apps.flood.flood import Flood
from underpass.apps.flood.process import FIRST, SOURCES
from underpass.linux.namespaces import Pair, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")
PACKETS = ("udp", "syn", "ack")
SEE = """
import socket, sys
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0008)
seen.bind((sys.argv[1], 0x0800))
print("ready", flush=True)
while True:
    packet, where = seen.recvfrom(2048)
    if where[2] != socket.PACKET_OUTGOING and packet[26] >> 4 == 2:
        print(packet.hex(), flush=True)
"""


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as made:
        for side in (made.client, made.server):
            side.offload(gro=True)              # a veth takes frames of XDP only with NAPI
        yield made


def folded(octets: bytes) -> int:
    """The checksum's sum: 0xffff where the octets hold a right checksum."""
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("kind", PACKETS)
def test_every_packet_is_right_and_from_another_source(kind: str, pair: Pair, tmp_path) -> None:
    log, made = tmp_path / "seen", frame(kind, pair.server)
    with log.open("w") as output:
        pair.server.start(sys.executable, "-c", SEE, pair.server.interface, output=output)
    assert until(lambda: "ready" in log.read_text(), 10)
    flood = pair.client.start(sys.executable, "-m", "underpass.apps.flood.process", "send",
                              pair.client.interface, made.hex(), "1000")
    assert until(lambda: log.read_text().count("\n") > 100, 20)
    assert pair.client.stop(flood) == 0
    packets = [bytes.fromhex(line) for line in log.read_text().splitlines()[1:101]]
    assert len({packet[26:36] for packet in packets}) == 100
    first = struct.unpack("!I", socket.inet_aton(FIRST))[0]
    for packet in packets:
        source = struct.unpack("!I", packet[26:30])[0]
        assert first <= source < first + SOURCES
        assert len(packet) == len(made)
        assert folded(packet[14:34]) == 0xFFFF
        assert packet[:14] + packet[30:34] + packet[36:38] == made[:14] + made[30:34] + made[36:38]
        if kind != "udp":
            pseudo = packet[26:34] + struct.pack("!HH", socket.IPPROTO_TCP, len(packet) - 34)
            assert folded(pseudo + packet[34:]) == 0xFFFF
            assert packet[47] == {"syn": SYN, "ack": ACK}[kind]


def test_what_drops_a_flood_drops_all_of_it(pair: Pair, tmp_path) -> None:
    log = tmp_path / "log"
    with log.open("w") as output:
        drop = pair.server.start(sys.executable, "-m", "underpass.apps.flood.process", "drop",
                                 pair.server.interface, output=output)
    assert until(lambda: "ready" in log.read_text(), 10)
    ping = ("ping", "-c", "1", "-W", "1", pair.server.address)
    assert pair.client.run(*ping, check=False).returncode == 1
    assert pair.server.stop(drop) == 0
    assert pair.client.run(*ping, check=False).returncode == 0


@pytest.mark.parametrize(("made", "sources", "rate", "said"), [
    (b"x" * 60, 1, 0, "IPv4 without options, TCP or UDP"), (b"", 1, 0, "at least 54 octets"),
    (None, 3, 0, "a power of two, not 3"), (None, 1, 1e12, "32 to 1e9 packets/s"),
])
def test_what_makes_no_flood_is_refused(made: bytes | None, sources: int, rate: float, said: str) -> None:
    pair = Pair()
    whole = frame("udp", pair.server)
    with pytest.raises(ValueError, match=said):
        Flood(whole if made is None else made, 1, FIRST, sources, rate)


def test_each_kind_of_flood_has_its_packet_and_its_answers() -> None:
    assert set(POLICIES) == set(NFTABLES) == set(KINDS)
