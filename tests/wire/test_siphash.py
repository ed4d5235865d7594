"""SipHash against its authors' vectors, and SipHash-1-3 against a plain reading of the paper."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from underpass.testing import probe_wire

KEY = bytes(range(16))
MASK = 2**64 - 1
# The first and the last of the reference implementation's 64 vectors, and the one in the paper's appendix A.
VECTORS = {0: 0x726FDB47DD0E0E31, 1: 0x74F839C593DC67FD, 15: 0xA129CA6149BE45E5, 63: 0x958A324CEB064572}


def rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & MASK


def rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0], v[2] = (v[0] + v[1]) & MASK, (v[2] + v[3]) & MASK
        v[1], v[3] = rotated(v[1], 13) ^ v[0], rotated(v[3], 16) ^ v[2]
        v[0] = rotated(v[0], 32)
        v[2], v[0] = (v[2] + v[1]) & MASK, (v[0] + v[3]) & MASK
        v[1], v[3] = rotated(v[1], 17) ^ v[2], rotated(v[3], 21) ^ v[0]
        v[2] = rotated(v[2], 32)


def siphash(c: int, d: int, key: bytes, octets: bytes) -> int:
    """SipHash-c-d as sections 2.1 to 2.3 of the paper say it."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = octets + bytes(-(len(octets) + 1) % 8) + bytes([len(octets) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(v, c)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(v, d)
    return int(v[0] ^ v[1] ^ v[2] ^ v[3])


def test_published_vectors() -> None:
    for length, value in VECTORS.items():
        octets = bytes(range(length))
        assert probe_wire.sip24(KEY, octets) == value == siphash(2, 4, KEY, octets)


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=300))
def test_2_4_of_any_octets(key: bytes, octets: bytes) -> None:
    assert probe_wire.sip24(key, octets) == siphash(2, 4, key, octets)


@given(st.binary(min_size=16, max_size=16), st.lists(st.integers(0, MASK), max_size=16))
def test_1_3_of_any_words(key: bytes, words: list[int]) -> None:
    octets = struct.pack(f"<{len(words)}Q", *words)
    assert probe_wire.sip13(key, octets) == siphash(1, 3, key, octets)


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=128))
def test_1_3_of_words_and_a_rest(key: bytes, octets: bytes) -> None:
    assert probe_wire.sip13(key, octets) == siphash(1, 3, key, octets)
