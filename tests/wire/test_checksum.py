"""The Internet checksum against the plain word-by-word sum of RFC 1071."""

import random

from hypothesis import given
from hypothesis import strategies as st

from underpass.testing import packets, probe_wire

WORD = st.integers(0, 0xFFFF)


def test_the_example_of_rfc_1071_section_3() -> None:
    assert probe_wire.checksum([bytes.fromhex("0001f203f4f5f6f7")]) == ~0xDDF2 & 0xFFFF


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    assert probe_wire.checksum([octets]) == packets.checksum(octets)


def test_every_length_with_all_bits_set() -> None:
    """Carries out of every word, at every length of the tail."""
    for length in range(200):
        octets = b"\xff" * length
        assert probe_wire.checksum([octets]) == packets.checksum(octets)


@given(st.lists(st.binary(max_size=70), max_size=8))
def test_parts_that_begin_at_odd_octets(parts: list[bytes]) -> None:
    """RFC 1071 2 (B)."""
    assert probe_wire.checksum(parts) == packets.checksum(b"".join(parts))


def test_the_largest_packets() -> None:
    for octets in (b"\xff" * 65_535, random.Random(1).randbytes(65_535)):
        assert probe_wire.checksum([octets]) == packets.checksum(octets)


@given(st.lists(WORD, min_size=2, max_size=20), WORD)
def test_update_gives_what_a_new_sum_gives(words: list[int], new: int) -> None:
    """RFC 1624 3, equation 3. Sums over nothing but zeros are outside it: no header is all zeros."""
    words[0] |= 0x4000
    before = packets.checksum(b"".join(word.to_bytes(2, "big") for word in words))
    after = packets.checksum(b"".join(word.to_bytes(2, "big") for word in [*words[:-1], new]))
    assert probe_wire.update(before, words[-1], new) == after


def test_update_example_of_rfc_1624_section_4() -> None:
    assert probe_wire.update(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(20, 65_515))
def test_pseudo_header_v4(src: object, dst: object, tcp_bytes: int) -> None:
    """RFC 9293 3.1."""
    right = ~packets.checksum(packets.pseudo_header(str(src), str(dst), tcp_bytes)) & 0xFFFF
    assert probe_wire.pseudo(str(src), str(dst), tcp_bytes) == right


@given(st.binary(min_size=16, max_size=16), st.integers(20, 100_000))
def test_pseudo_header_v6(octets: bytes, tcp_bytes: int) -> None:
    """RFC 8200 8.1: the length has 32 bits."""
    src, dst = "2001:db8::1", ":".join((b"\x20" + octets[1:])[at : at + 2].hex() for at in range(0, 16, 2))
    right = ~packets.checksum(packets.pseudo_header(src, dst, tcp_bytes)) & 0xFFFF
    assert probe_wire.pseudo(src, dst, tcp_bytes) == right
