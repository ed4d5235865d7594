"""The Toeplitz hash against the values of Microsoft's "Verifying the RSS hash calculation", and against a
plain reading of its definition.
"""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_wire import toeplitz

KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")

End = tuple[IPv4Address | IPv6Address, int]

# Destination and source as the table has them, and the hash "with TCP".
VERIFIED = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x51CCC178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xC626B0EA),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0x5C2B394A),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0xAFC7327F),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x10E828A2),
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x02D1FEEF),
]


@pytest.mark.parametrize(("dst", "dst_port", "src", "src_port", "hash_with_tcp"), VERIFIED)
def test_the_verification_suite(dst: str, dst_port: int, src: str, src_port: int, hash_with_tcp: int) -> None:
    assert toeplitz(KEY, src, src_port, dst, dst_port) == hash_with_tcp


def plain(key: bytes, octets: bytes) -> int:
    """For each bit of the input that is set, the 32 bits of the key that begin there."""
    bits = int.from_bytes(key, "big") << 8 * 40 - 8 * len(key)
    found = 0
    for at in range(8 * len(octets)):
        if octets[at // 8] >> 7 - at % 8 & 1:
            found ^= bits >> 320 - 32 - at & 0xFFFFFFFF
    return found


PORTS = st.integers(0, 65535)
V4 = st.tuples(st.ip_addresses(v=4), PORTS)
V6 = st.tuples(st.ip_addresses(v=6).filter(lambda it: it.ipv4_mapped is None), PORTS)


def same(key: bytes, src: End, dst: End) -> bool:
    """Whether both agree on the hash of a segment."""
    octets = src[0].packed + dst[0].packed + src[1].to_bytes(2, "big") + dst[1].to_bytes(2, "big")
    return toeplitz(key, str(src[0]), src[1], str(dst[0]), dst[1]) == plain(key, octets)


@given(key=st.binary(min_size=16, max_size=40), src=V4, dst=V4)
def test_ipv4(key: bytes, src: End, dst: End) -> None:
    assert same(key, src, dst)


@given(key=st.binary(min_size=40, max_size=40), src=V6, dst=V6)
def test_ipv6(key: bytes, src: End, dst: End) -> None:
    assert same(key, src, dst)
