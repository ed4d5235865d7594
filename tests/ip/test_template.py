"""Headers written from templates are those that the reference writes."""

import dataclasses
from collections.abc import Callable

import pytest

from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_network import ProbeNetwork

NET = ProbeNetwork()
PEER = b"\2\0\0\0\0\1"
OURS = TcpSegment(
    src="10.0.0.2", dst="10.0.0.1", src_mac="02:00:00:00:00:02", dst_mac="02:00:00:00:00:01", payload=b"xyz"
)
FLOWS = [
    OURS,
    dataclasses.replace(OURS, vlan=(7 | 5 << 13,)),
    dataclasses.replace(OURS, src="2001:db8::2", dst="2001:db8:1::9"),
    dataclasses.replace(OURS, src="fe80::2", dst="fe80::1", vlan=(4095,)),
]


def tcp_of(seg: TcpSegment) -> bytes:
    return seg.build()[14 + 4 * len(seg.vlan) + (20 if seg.is_v4 else 40) :]


@pytest.mark.parametrize("flow", FLOWS)
def test_every_length_gives_a_frame_with_right_lengths_and_checksums(flow: TcpSegment) -> None:
    """IPv4: the checksum made by adding the length to the precomputed sum is the full one (RFC 1071)."""
    for payload in [b"", b"x", b"y" * 1447, b"z" * 1448, b"j" * 8948, b"\xff" * 65_000]:
        seg = dataclasses.replace(flow, payload=payload)
        written = NET.write(seg.src, seg.dst, PEER, tcp_of(seg), seg.vlan[0] if seg.vlan else None)
        assert written == seg.build()


def test_ipv4_checksums_at_every_length() -> None:
    for tcp_bytes in range(20, 2100):
        seg = dataclasses.replace(OURS, payload=b"p" * (tcp_bytes - 20))
        assert NET.write(seg.src, seg.dst, PEER, tcp_of(seg))[:34] == seg.build()[:34]


@pytest.mark.parametrize("flow", FLOWS)
def test_an_answer_goes_back_the_way_the_segment_came(flow: TcpSegment) -> None:
    swapped: Callable[..., TcpSegment] = dataclasses.replace
    came = swapped(flow, src=flow.dst, dst=flow.src, src_mac=flow.dst_mac, dst_mac=flow.src_mac, payload=b"")
    reply = swapped(flow, flags=Flags.RST | Flags.ACK, payload=b"")
    assert NET.answer(came.build(), tcp_of(reply)) == reply.build()
