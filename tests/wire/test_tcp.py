"""TCP headers and options: what is written is read back, and what is malformed is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.packets import Flags, TcpSegment, encode_options
from underpass.testing.probe_wire import parse_tcp, write_header, write_options
from underpass.wire.reason import reason_names

U32 = st.integers(0, 2**32 - 1)
U16 = st.integers(0, 2**16 - 1)
OPTIONS = {
    "mss": st.none() | U16,
    "window_scale": st.none() | st.integers(0, 14),
    "sack_permitted": st.booleans(),
    "timestamps": st.none() | st.tuples(U32, U32),
}


def tcp_of(seg: TcpSegment, **wrong: Any) -> bytes:
    """The octets from the TCP header on."""
    return seg.build(**wrong)[34:]


def parsed(octets: bytes) -> dict[str, Any]:
    found = parse_tcp(octets)
    assert isinstance(found, dict), found
    return found


@given(
    src_port=st.integers(1, 65535),
    dst_port=st.integers(1, 65535),
    seq=U32,
    ack=U32,
    window=U16,
    payload=st.binary(max_size=40),
    sack=st.lists(st.tuples(U32, U32), max_size=1).map(tuple),
    flags=st.sampled_from([Flags.SYN, Flags.ACK, Flags.RST, Flags.FIN | Flags.ACK | Flags.PSH]),
    **OPTIONS,
)
def test_what_is_built_is_parsed(**fields: Any) -> None:
    seg = TcpSegment(**fields)
    found = parsed(tcp_of(seg))
    for name in ("src_port", "dst_port", "seq", "ack", "window", "flags", "sack_permitted", "sack", "length"):
        assert found[name] == getattr(seg, name), name
    for name in ("mss", "window_scale", "timestamps"):
        assert found.get(name) == getattr(seg, name), name
    assert found["payload_bytes"] == len(seg.payload)


@given(sack=st.lists(st.tuples(U32, U32), max_size=4).map(tuple), **OPTIONS)
def test_option_writers_write_what_the_reference_writes(**fields: Any) -> None:
    reference = TcpSegment(**{**fields, "window_scale": None, "timestamps": None, "sack": ()})
    expected = encode_options(TcpSegment(window_scale=fields["window_scale"]))
    expected = encode_options(TcpSegment(mss=reference.mss)) + expected
    expected += encode_options(TcpSegment(sack_permitted=reference.sack_permitted))
    expected += encode_options(TcpSegment(timestamps=fields["timestamps"], sack=fields["sack"]))
    assert write_options(**fields) == expected
    assert len(expected) % 4 == 0


def test_header_writer_writes_what_the_reference_writes() -> None:
    seg = TcpSegment(seq=2**32 - 2, ack=5, flags=Flags.ACK | Flags.PSH, window=1000, timestamps=(1, 2))
    written = write_header(40000, 80, 2**32 - 2, 5, int(seg.flags), 1000, 32)
    assert written == tcp_of(seg, tcp_checksum=0)[:20]


@given(st.binary(max_size=80))
def test_any_octets_give_a_segment_or_a_reason(octets: bytes) -> None:
    found = parse_tcp(octets)
    assert isinstance(found, dict) or found in reason_names()


@given(st.binary(max_size=40).map(lambda options: options + bytes(-len(options) % 4)))
def test_any_options_give_a_segment_or_a_reason(options: bytes) -> None:
    found = parse_tcp(tcp_of(TcpSegment(payload=b"x"), options=options))
    assert found["length"] == 1 if isinstance(found, dict) else found == "tcp_option_length"


def test_the_usual_layout_and_any_other_are_read_alike() -> None:
    """RFC 7323 appendix A recommends NOP NOP in front; nobody may rely on it."""
    stamp = bytes([8, 10]) + bytes(range(8))
    fast = parsed(tcp_of(TcpSegment(), options=b"\1\1" + stamp))
    slow = parsed(tcp_of(TcpSegment(), options=stamp + b"\1\0"))
    assert fast == slow
    assert fast["timestamps"] == (0x00010203, 0x04050607)


def test_four_sack_blocks() -> None:
    """RFC 2018 3: at most four fit."""
    blocks = ((1, 2), (3, 4), (5, 6), (2**32 - 1, 0))
    assert parsed(tcp_of(TcpSegment(sack=blocks)))["sack"] == blocks


def test_window_scale_is_capped() -> None:
    """RFC 7323 2.3: a shift over 14 is used as 14."""
    assert parsed(tcp_of(TcpSegment(flags=Flags.SYN), options=b"\3\3\xff\0"))["window_scale"] == 14


@pytest.mark.parametrize("options", [b"\xfe\4ab" + b"\2\4\5\xb4", b"\x1c\2\1\1" + b"\2\4\5\xb4"])
def test_unknown_options_are_stepped_over(options: bytes) -> None:
    """RFC 9293 3.2, MUST-6."""
    assert parsed(tcp_of(TcpSegment(flags=Flags.SYN), options=options))["mss"] == 1460


def test_nothing_after_end_of_options_counts() -> None:
    """RFC 9293 3.2: what follows kind 0 is padding."""
    assert "mss" not in parsed(tcp_of(TcpSegment(flags=Flags.SYN), options=b"\0\1\1\1\2\4\5\xb4"))


@pytest.mark.parametrize(
    "options",
    [
        b"\2\0\5\xb4",  # length 0 (RFC 9293 3.1, MUST-7)
        b"\2\1\5\xb4",
        b"\1\1\1\2",  # no length left
        b"\2\5\5\xb4",  # runs over the end
        b"\2\3\5\0",  # wrong for each kind in use
        b"\3\2\0\0",
        b"\3\4\1\0",
        b"\4\3\0\0",
        b"\x08\x08abcdef",
        b"\x08\x0cabcdefghij",
        b"\5\2\0\0",
        b"\5\6abcd\0\0",
        b"\5\x0cabcdefghij",
        b"\xfe\0\0\0",
    ],
)
def test_malformed_options(options: bytes) -> None:
    assert parse_tcp(tcp_of(TcpSegment(), options=options)) == "tcp_option_length"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "tcp_short"),
        (tcp_of(TcpSegment())[:19], "tcp_short"),
        (tcp_of(TcpSegment(), data_offset=4), "tcp_data_offset"),
        (tcp_of(TcpSegment(), data_offset=6), "tcp_data_offset"),
        (tcp_of(TcpSegment(src_port=0)), "tcp_port_zero"),
        (tcp_of(TcpSegment(dst_port=0)), "tcp_port_zero"),
    ],
)
def test_malformed_headers(octets: bytes, reason: str) -> None:
    """RFC 9293 3.1."""
    assert parse_tcp(octets) == reason


def test_a_header_that_goes_on_in_the_next_chunk() -> None:
    octets = tcp_of(TcpSegment(timestamps=(1, 2), payload=b"abc"))
    assert parse_tcp(octets, 31) == "tcp_short"
    assert parse_tcp(octets, 19) == "tcp_short"
    whole = parse_tcp(octets)
    assert parse_tcp(octets, 32) == whole


def test_flags() -> None:
    """SYN with FIN or RST belongs to no state; a segment needs one of SYN, FIN, RST and ACK."""
    for bits in range(256):
        flags = Flags(bits)
        found = parse_tcp(tcp_of(TcpSegment(flags=flags)))
        bad_syn = Flags.SYN in flags and bool(flags & (Flags.FIN | Flags.RST))
        bare = not flags & (Flags.SYN | Flags.FIN | Flags.RST | Flags.ACK)
        assert (found == "tcp_flags") == (bad_syn or bare), flags
