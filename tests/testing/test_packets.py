"""The reference builder and parser agree with each other, and with the example of RFC 1071."""

import pytest

from underpass.testing.packets import Flags, TcpSegment, checksum, extension_header

RFC1071_EXAMPLE = bytes.fromhex("0001f203f4f5f6f7")

SEGMENTS = [
    TcpSegment(flags=Flags.SYN, mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 2)),
    TcpSegment(src="fe80::1", dst="fe80::2", vlan=(5,), sack=((1, 2), (3, 4)), payload=b"odd", hop_limit=3),
    TcpSegment(flags=Flags.FIN | Flags.ACK, seq=2**32 - 1, ack=2**31, traffic_class=0xB8, urgent=9),
]


def test_checksum_of_the_example_in_rfc_1071_3() -> None:
    assert checksum(RFC1071_EXAMPLE) == ~0xDDF2 & 0xFFFF


@pytest.mark.parametrize("seg", SEGMENTS)
def test_parse_gives_back_what_was_built(seg: TcpSegment) -> None:
    assert TcpSegment.parse(seg.build()) == seg
    assert TcpSegment.parse(seg.build(padding=bytes(7))) == seg


@pytest.mark.parametrize(
    "field", ["tcp_checksum", "ip_checksum", "data_offset", "ip_total_length"]
)
def test_any_field_can_be_made_wrong(field: str) -> None:
    with pytest.raises(ValueError):
        TcpSegment.parse(TcpSegment(payload=b"x").build(**{field: 1}))


def test_a_field_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError, match="no field colour"):
        TcpSegment().build(colour=1)


def test_extension_headers_are_padded_to_eight_octets() -> None:
    seg = TcpSegment(src="2001:db8::1", dst="2001:db8::2", payload=b"x")
    frame = seg.build(extensions=[(0, extension_header(60)), (60, extension_header(6, b"\x1e\x03abc"))])
    assert len(frame) == 14 + 40 + 8 + 8 + 20 + 1
    assert TcpSegment.parse(frame) == seg


def test_length_counts_syn_and_fin() -> None:
    """RFC 9293 3.4."""
    seg = TcpSegment(flags=Flags.SYN | Flags.FIN, payload=b"abc", seq=2**32 - 1)
    assert (seg.length, seg.end) == (5, 4)
