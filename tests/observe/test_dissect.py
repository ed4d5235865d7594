"""Packets in words, whatever their octets."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from underpass.observe.dissect import line, row
from underpass.observe.pcapng_blocks import Packet, packets
from underpass.testing.icmp import icmp_error
from underpass.testing.packets import Flags, TcpSegment, extension_header

SEGMENT = TcpSegment(seq=7, ack=9, flags=Flags.ACK | Flags.PSH, window=500, payload=b"hello",
                     timestamps=(1, 2))
ENDS = "10.0.0.1.40000 > 10.0.0.2.80"
V6 = TcpSegment(src="fd00::1", dst="fd00::2", flags=Flags.SYN, seq=2**32 - 1, mss=1440)


def said(frame: bytes, original: int | None = None) -> str:
    return line(row(Packet(0, 0, False, len(frame) if original is None else original, frame, "")))


@pytest.mark.parametrize(("frame", "text"), [
    (SEGMENT.build(), f"IP {ENDS}: Flags [P.], seq 7:12, ack 9, win 500, length 5"),
    (SEGMENT.build(payload=b""), f"IP {ENDS}: Flags [P.], ack 9, win 500, length 0"),
    (SEGMENT.build(vlan=(7,)), f"vlan 7, IP {ENDS}: Flags [P.], seq 7:12, ack 9, win 500, length 5"),
    (SEGMENT.build(padding=b"\0" * 9), f"IP {ENDS}: Flags [P.], seq 7:12, ack 9, win 500, length 5"),
    (V6.build(), "IP6 fd00::1.40000 > fd00::2.80: Flags [S], seq 4294967295, win 65535, length 0"),
    (V6.build(payload=b"ab", flags=Flags.FIN | Flags.ACK),
     "IP6 fd00::1.40000 > fd00::2.80: Flags [F.], seq 4294967295:1, ack 0, win 65535, length 2"),
    (V6.build(extensions=[(60, extension_header(6, b"\x1e\x04test"))]),
     "IP6 fd00::1.40000 > fd00::2.80: Flags [S], seq 4294967295, win 65535, length 0"),
    (SEGMENT.build(flags=Flags.RST), f"IP {ENDS}: Flags [R], seq 7:12, win 500, length 5"),
    (SEGMENT.build(flags=Flags(0)), f"IP {ENDS}: Flags [none], seq 7:12, win 500, length 5"),
    (SEGMENT.build(protocol=132), "IP 10.0.0.1 > 10.0.0.2: protocol 132, length 71"),
    (SEGMENT.build(protocol=17, seq=13 << 16), f"IP {ENDS}: UDP, length 5"),
    (SEGMENT.build(protocol=17, seq=0), f"IP {ENDS}: UDP, length 0"),
    (SEGMENT.build(protocol=17)[:39], "IP 10.0.0.1 > 10.0.0.2: protocol 17, length 39 [cut]"),
    (V6.build(protocol=17, seq=9 << 16), "IP6 fd00::1.40000 > fd00::2.80: UDP, length 1"),
    (SEGMENT.build(ip_fragment=3), "IP 10.0.0.1 > 10.0.0.2: fragment at 24, length 71"),
    (icmp_error(SEGMENT, 3, 4), "IP 10.0.0.2 > 10.0.0.1: ICMP type 3, code 4, length 70"),
    (SEGMENT.build(ethertype=0x88CC), "ethertype 0x88cc, length 71"),
    (SEGMENT.build()[:40], "IP 10.0.0.1 > 10.0.0.2: protocol 6, length 40 [cut]"),
    (SEGMENT.build()[:13], "length 13 [cut]"),
    (b"", "length 0 [cut]"),
])  # fmt: skip
def test_a_packet_in_words(frame: bytes, text: str) -> None:
    assert said(frame) == text


@given(octets=some.binary(max_size=120), start=some.integers(0, 60), frame=some.sampled_from([SEGMENT, V6]))
def test_any_octets_give_one_line(octets: bytes, start: int, frame: TcpSegment) -> None:
    for it in (octets, frame.build()[:start] + octets):
        assert "\n" not in said(it)


@given(octets=some.binary(max_size=200))
def test_any_blocks_give_packets_or_an_error(octets: bytes) -> None:
    body = octets[: len(octets) // 4 * 4]
    for damaged in (octets, struct.pack("=II", 6, len(body) + 12) + body + b"....",
                    random.Random(len(octets)).randbytes(8) + octets):
        try:
            assert all(isinstance(it, Packet) for it in packets(damaged))
        except ValueError as error:
            assert "block" in str(error) or "packet" in str(error)
