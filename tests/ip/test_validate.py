"""Frames to segments: every reason has a packet made for it, and any octets give a segment or a reason."""

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.packets import Flags, TcpSegment, extension_header
from underpass.testing.probe_network import ProbeNetwork
from underpass.wire.reason import reason_names

V4 = TcpSegment(payload=b"GET / HTTP/1.1\r\n\r\n", timestamps=(1, 2))
V6 = dataclasses.replace(V4, src="2001:db8::1", dst="2001:db8::2")
TAGGED = dataclasses.replace(V6, vlan=(5 | 3 << 13,), src="fe80::1", dst="fe80::2")
NET = ProbeNetwork()

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, TCP, NONE = 0, 43, 44, 60, 6, 59


def accepted(frame: bytes, **how: Any) -> dict[str, Any]:
    found = NET.receive(frame, **how)
    assert isinstance(found, dict), found
    return found


@pytest.mark.parametrize("seg", [V4, V6, TAGGED])
def test_a_good_segment(seg: TcpSegment) -> None:
    found = accepted(seg.build())
    for name in ("src", "dst", "src_port", "dst_port", "seq", "ack", "flags", "timestamps", "length"):
        assert found[name] == getattr(seg, name), name
    assert found["vlan"] == (seg.vlan[0] if seg.vlan else None)
    assert found["hop_limit"] == 64
    assert found["payload_offset"] + found["payload_bytes"] == found["total_bytes"] == len(seg.build())


def test_traffic_class_and_hop_limit() -> None:
    for seg in (V4, V6):
        found = accepted(seg.build(traffic_class=0xB9, hop_limit=7))
        assert (found["traffic_class"], found["hop_limit"]) == (0xB9, 7)


@pytest.mark.parametrize("seg", [V4, V6, TAGGED])
def test_ethernet_padding_is_cut_off(seg: TcpSegment) -> None:
    """RFC 894: padding is not part of the IP packet."""
    assert accepted(seg.build(padding=b"\xaa" * 9)) == accepted(seg.build())


REFUSED: list[tuple[str, TcpSegment, dict[str, Any]]] = [
    ("ethernet_short", V4, {"truncate": 13}),
    ("ethernet_short", TAGGED, {"truncate": 17}),
    ("ethernet_type", V4, {"ethertype": 0x0806}),
    ("ethernet_type", TAGGED, {"ethertype": 0x0806}),
    ("ethernet_vlan_depth", V4, {"vlan": (1, 2)}),
    ("ethernet_vlan_depth", V4, {"vlan": (1,), "tag_type": 0x88A8}),
    ("ethernet_not_ours", V4, {"dst_mac": "02:00:00:00:00:03"}),
    ("ethernet_not_ours", V4, {"dst_mac": "ff:ff:ff:ff:ff:ff"}),
    ("ethernet_not_ours", V6, {"dst_mac": "33:33:00:00:00:01"}),
    ("ipv4_short", V4, {"truncate": 14 + 19}),
    ("ipv4_version", V4, {"ip_version": 6}),
    ("ipv4_header_length", V4, {"ip_header_words": 4}),
    ("ipv4_header_length", V4, {"ip_header_words": 15, "truncate": 14 + 59}),
    ("ipv4_total_length", V4, {"ip_total_length": 19}),
    ("ipv4_total_length", V4, {"ip_total_length": 1000}),
    ("ipv4_checksum", V4, {"ip_checksum": 0x1234}),
    ("ipv4_checksum", V4, {"ip_checksum": 0x1234, "ip_options": b"\1\1\1\0"}),
    ("ipv4_fragment", V4, {"ip_fragment": 0x2000}),
    ("ipv4_fragment", V4, {"ip_fragment": 0x0001}),
    ("ipv4_option", V4, {"ip_options": b"\x07\x00\x00\x00"}),
    ("ipv4_option", V4, {"ip_options": b"\x07\x01\x00\x00"}),
    ("ipv4_option", V4, {"ip_options": b"\x07\x05\x00\x00"}),
    ("ipv4_option", V4, {"ip_options": b"\x01\x01\x01\x07"}),
    ("ipv4_option", V4, {"ip_options": b"\x83\x07\x04\x0a\x00\x00\x02\x00"}),
    ("ipv4_option", V4, {"ip_options": b"\x89\x07\x04\x0a\x00\x00\x02\x00"}),
    ("ip_protocol", V4, {"protocol": 17}),
    ("ipv6_short", V6, {"truncate": 14 + 39}),
    ("ipv6_version", V6, {"ip_version": 4}),
    ("ipv6_payload_length", V6, {"ip_total_length": 1000}),
    ("ip_protocol", V6, {"protocol": 17}),
    ("ip_protocol", V6, {"protocol": NONE}),
    ("tcp_short", V4, {"ip_total_length": 39}),
    ("tcp_short", V6, {"ip_total_length": 19}),
    ("tcp_short", V6, {"ip_total_length": 0}),
    ("tcp_checksum", V4, {"tcp_checksum": 0x1234}),
    ("tcp_checksum", V6, {"tcp_checksum": 0x1234}),
    ("tcp_data_offset", V4, {"data_offset": 4}),
    ("tcp_data_offset", V4, {"data_offset": 15}),
    ("tcp_option_length", V4, {"options": b"\2\0\0\0"}),
    ("tcp_port_zero", V4, {"src_port": 0}),
    ("tcp_flags", V4, {"flags": Flags.SYN | Flags.FIN}),
    *(("ip_source", V4, {"src": src}) for src in ("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5")),
    *(("ip_source", V4, {"src": src}) for src in ("255.255.255.255", "10.0.0.255", "10.0.0.2")),
    *(("ip_source", V6, {"src": src}) for src in ("::", "::1", "ff02::1", "2001:db8::2", "::ffff:10.0.0.1")),
    *(("ip_destination", V4, {"dst": dst}) for dst in ("0.0.0.0", "127.0.0.1", "239.0.0.5")),
    ("ip_destination", V4, {"dst": "255.255.255.255"}),
    *(("ip_destination", V6, {"dst": dst}) for dst in ("::", "::1", "ff02::1", "::ffff:10.0.0.2")),
]


@pytest.mark.parametrize(("reason", "seg", "wrong"), REFUSED)
def test_refused(reason: str, seg: TcpSegment, wrong: dict[str, Any]) -> None:
    assert NET.receive(seg.build(**wrong)) == reason


def chain(*headers: tuple[int, bytes]) -> list[tuple[int, bytes]]:
    """Extension headers of the given types with their contents, each naming the next; TCP follows."""
    following = [kind for kind, _ in headers[1:]] + [TCP]
    return [
        (kind, extension_header(after, content))
        for (kind, content), after in zip(headers, following, strict=True)
    ]


ROUTER_ALERT = b"\x05\x02\x00\x00"
PADDING = b"\x01\x04\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "headers",
    [
        chain((HOP_BY_HOP, PADDING)),
        chain((HOP_BY_HOP, ROUTER_ALERT)),
        chain((DESTINATION, b"\0" * 6)),
        chain((ROUTING, b"\0\0" + b"\0" * 4)),
        chain((HOP_BY_HOP, PADDING), (DESTINATION, PADDING), (ROUTING, b"\4" + bytes(5)), (DESTINATION, b"")),
    ],
)
def test_extension_headers_are_stepped_over(headers: list[tuple[int, bytes]]) -> None:
    """RFC 8200 4."""
    found = accepted(V6.build(extensions=headers))
    plain = accepted(V6.build())
    grown = sum(len(octets) for _, octets in headers)
    assert found["tcp_offset"] == plain["tcp_offset"] + grown
    assert found["timestamps"] == plain["timestamps"] and found["length"] == plain["length"]


@pytest.mark.parametrize(
    ("reason", "headers"),
    [
        ("ipv6_fragment", chain((FRAGMENT, b"\0\0\0\0\0\0"))),
        ("ipv6_fragment", chain((HOP_BY_HOP, PADDING), (FRAGMENT, b"\0\1\0\0\0\1"))),
        ("ipv6_extension", chain((ROUTING, b"\0\1\0\0\0\0"))),  # segments left
        ("ipv6_extension", chain((DESTINATION, PADDING), (HOP_BY_HOP, PADDING))),  # only the first may be
        ("ipv6_extension", chain((HOP_BY_HOP, b"\xc2\x04\x00\x01\x00\x00"))),  # jumbo payload: not known here
        ("ipv6_extension", chain((DESTINATION, b"\x40\x00"))),  # unknown: discard the packet
        ("ipv6_extension", chain((DESTINATION, b"\x1e\x05\0\0\0\0"))),  # option over the header's end
        ("ipv6_extension", chain((DESTINATION, b"\0\0\0\0\0\x1e"))),  # option without a length
        ("ipv6_extension", chain(*[(DESTINATION, PADDING)] * 7)),  # too many
        ("ipv6_extension", chain((DESTINATION, b"\1\xf8" + b"\0" * 0xF8 + PADDING))),  # too long
        ("ipv6_extension", [(DESTINATION, b"\x06\xff" + b"\0" * 6)]),  # runs over the packet's end
        ("ip_protocol", [(DESTINATION, extension_header(NONE))]),
        ("ip_protocol", [(DESTINATION, extension_header(51))]),
    ],
)
def test_extension_headers_are_refused(reason: str, headers: list[tuple[int, bytes]]) -> None:
    """RFC 8200 4.2, 4.4, 4.5, and RFC 8504 5.3 for the bounds."""
    assert NET.receive(V6.build(extensions=headers)) == reason


def test_an_extension_header_cut_short() -> None:
    frame = V6.build(extensions=chain((DESTINATION, PADDING)), ip_total_length=7)
    assert NET.receive(frame) == "ipv6_extension"


def test_every_reason_has_a_packet() -> None:
    tried = {reason for reason, _, _ in REFUSED} | {"accepted", "ipv6_fragment", "ipv6_extension"}
    assert tried == {name for name in reason_names() if not name.startswith("icmp_")}


@pytest.mark.parametrize("options", [b"\1\1\1\0", b"\x07\x07\x04\x00\x00\x00\x00\x00", b"\x94\x04\x00\x00"])
def test_ipv4_options_are_stepped_over(options: bytes) -> None:
    """RFC 1122 3.2.1.8: record route and router alert do not matter here."""
    found = accepted(V4.build(ip_options=options))
    assert found["tcp_offset"] == 34 + len(options)
    assert found["timestamps"] == (1, 2)


def test_dont_fragment_and_the_reserved_bit_do_not_matter() -> None:
    for bits in (0x0000, 0x4000, 0x8000, 0xC000):
        accepted(V4.build(ip_fragment=bits))


def test_a_source_that_only_resembles_ours_is_accepted() -> None:
    """The quick look at the last octet must not decide."""
    for src in ("10.0.1.2", "10.0.1.255", "10.0.0.66", "192.168.0.2"):
        accepted(V4.build(src=src))
    accepted(V6.build(src="2001:db8:1::2"))


def test_a_partial_checksum_is_accepted_only_where_the_link_gives_such() -> None:
    """Linux leaves the pseudo-header sum in the field (CHECKSUM_PARTIAL) for a device to go on from."""
    for seg in (V4, V6, TAGGED):
        frame = seg.build(partial_checksum=True)
        assert NET.receive(frame) == "tcp_checksum"
        assert accepted(frame, partial_ok=True)["checksum_partial"]
        assert NET.receive(frame, partial_ok=True, strict=True) == "tcp_checksum"
        assert not accepted(seg.build(), partial_ok=True)["checksum_partial"]


@pytest.mark.parametrize("seg", [V4, V6])
def test_chunks_cut_anywhere_behind_the_headers(seg: TcpSegment) -> None:
    """A jumbo frame comes in several chunks; a cut at an odd octet swaps the sum (RFC 1071 2 (B))."""
    seg = dataclasses.replace(seg, payload=random.Random(1).randbytes(301))
    frame = seg.build()
    whole = accepted(frame)
    behind = whole["payload_offset"]
    for cut in range(behind, len(frame) + 1):
        for other in (cut, (cut + len(frame)) // 2, len(frame)):
            assert accepted(frame + b"\xff\xff\xff", splits=(cut, other)) == {**whole, "head_bytes": cut}
    broken = frame[:-1] + bytes([frame[-1] ^ 1])
    assert NET.receive(broken, splits=(behind + 7, behind + 100)) == "tcp_checksum"


def test_headers_must_lie_in_the_first_chunk() -> None:
    frame = V4.build()
    assert NET.receive(frame, splits=(14 + 20 + 31,)) == "tcp_short"
    assert NET.receive(frame, splits=(14 + 20 + 19,)) == "tcp_short"
    assert NET.receive(frame, splits=(14 + 19,)) == "ipv4_short"


def test_any_single_bit_error_in_the_packet_is_noticed() -> None:
    """A flipped bit is refused, or lies in a field that no checksum covers."""
    covered_by_none = {"traffic_class", "hop_limit", "vlan"}
    for seg in (V4, V6):
        frame = seg.build()
        whole = accepted(frame)
        for bit in range(14 * 8, len(frame) * 8):
            flipped = bytearray(frame)
            flipped[bit // 8] ^= 1 << bit % 8
            found = NET.receive(bytes(flipped))
            if isinstance(found, dict):
                changed = {name for name in found if found[name] != whole.get(name)}
                assert changed <= covered_by_none, (bit, changed)


@given(st.binary(max_size=200))
def test_any_octets_give_a_segment_or_a_reason(octets: bytes) -> None:
    assert NET.receive(octets) in reason_names()


@given(st.sampled_from([V4, V6, TAGGED]), st.data())
def test_any_damage_gives_a_segment_or_a_reason(seg: TcpSegment, data: st.DataObject) -> None:
    frame = bytearray(seg.build())
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    del frame[data.draw(st.integers(0, len(frame))) :]
    splits = sorted(data.draw(st.lists(st.integers(0, len(frame)), max_size=3)))
    found = NET.receive(bytes(frame), splits=splits, partial_ok=data.draw(st.booleans()))
    assert isinstance(found, dict) or found in reason_names()
