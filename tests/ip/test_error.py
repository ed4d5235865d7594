"""Which ICMP errors are believed to be about a segment of ours, and what they say (RFC 792, RFC 4443)."""

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.icmp import icmp_error, quote
from underpass.testing.packets import TcpSegment, extension_header
from underpass.testing.probe_network import ProbeNetwork
from underpass.wire.reason import reason_names

NET = ProbeNetwork()
MACS = {"src_mac": "02:00:00:00:00:02", "dst_mac": "02:00:00:00:00:01"}
V4 = TcpSegment("10.0.0.2", "10.0.0.1", 80, 40000, seq=7, payload=bytes(1460), **MACS)
V6 = TcpSegment("2001:db8::2", "2001:db8::1", 80, 40000, seq=7, payload=bytes(9), **MACS)
TOO_BIG, PASSING, UNREACHABLE, REFUSED = range(4)


def said(**of: Any) -> dict[str, Any]:
    return {"local": "10.0.0.2", "remote": "10.0.0.1", "local_port": 80, "remote_port": 40000, "seq": 7,
            "quoted_bytes": 1500, "mtu": 0, **of}  # fmt: skip


def test_fragmentation_needed() -> None:
    """RFC 1191 4"""
    frame = icmp_error(V4, 3, 4, mtu=0xABCD0000 + 1400)
    assert NET.receive_error(frame) == said(mtu=1400, error=errno.EMSGSIZE, kind=TOO_BIG)


def test_packet_too_big() -> None:
    """RFC 4443 3.2"""
    frame = icmp_error(V6, 2, 0, mtu=70000)
    addresses = {"local": "2001:db8::2", "remote": "2001:db8::1"}
    assert NET.receive_error(frame) == said(
        mtu=70000, error=errno.EMSGSIZE, kind=TOO_BIG, quoted_bytes=69, **addresses
    )


@pytest.mark.parametrize(
    ("kind", "code", "number", "means"),
    [
        (3, 0, errno.ENETUNREACH, UNREACHABLE),
        (3, 1, errno.EHOSTUNREACH, UNREACHABLE),
        (3, 2, errno.ENOPROTOOPT, REFUSED),
        (3, 3, errno.ECONNREFUSED, REFUSED),
        (3, 5, errno.EOPNOTSUPP, UNREACHABLE),
        (3, 13, errno.EHOSTUNREACH, REFUSED),
        (11, 0, errno.EHOSTUNREACH, PASSING),
        (12, 0, errno.EPROTO, PASSING),
    ],
)
def test_codes(kind: int, code: int, number: int, means: int) -> None:
    """RFC 1122 4.2.3.9: codes 0, 1 and 5 are soft, 2 and 3 hard, time exceeded and parameter problem soft"""
    assert NET.receive_error(icmp_error(V4, kind, code)) == said(error=number, kind=means)


@pytest.mark.parametrize(
    ("kind", "code", "number", "means"),
    [
        (1, 0, errno.ENETUNREACH, UNREACHABLE),
        (1, 1, errno.EACCES, REFUSED),
        (1, 3, errno.EHOSTUNREACH, UNREACHABLE),
        (1, 4, errno.ECONNREFUSED, REFUSED),
        (3, 0, errno.EHOSTUNREACH, PASSING),
        (4, 1, errno.EPROTO, PASSING),
    ],
)
def test_codes_of_ipv6(kind: int, code: int, number: int, means: int) -> None:
    """RFC 4443 3"""
    got = NET.receive_error(icmp_error(V6, kind, code))
    assert isinstance(got, dict)
    assert (got["error"], got["kind"]) == (number, means)


FOREIGN = TcpSegment(src="10.0.0.9", dst="10.0.0.1", **MACS)
REFUSALS = [
    ("icmp_short", icmp_error(V4, 3, 1, truncate=7)),
    ("icmp_short", icmp_error(V4, 3, 1, truncate=8 + 27)),
    ("icmp_short", icmp_error(V6, 1, 0, truncate=8 + 47)),
    ("icmp_checksum", icmp_error(V4, 3, 1, icmp_checksum=1)),
    ("icmp_checksum", icmp_error(V6, 1, 0, icmp_checksum=1)),
    ("icmp_type", icmp_error(V4, 3, 16)),
    ("icmp_type", icmp_error(V4, 4)),
    ("icmp_type", icmp_error(V4, 8)),
    ("icmp_type", icmp_error(V6, 1, 7)),
    ("icmp_type", icmp_error(V6, 135)),
    ("icmp_quote", icmp_error(quote(V4)[:9] + b"\x11" + quote(V4)[10:], 3, 1, segment=V4)),
    ("icmp_quote", icmp_error(b"\x65" + quote(V4)[1:], 3, 1, segment=V4)),
    ("icmp_quote", icmp_error(b"\x44" + quote(V4)[1:], 3, 1, segment=V4)),
    ("icmp_quote", icmp_error(quote(V4)[:6] + b"\0\1" + quote(V4)[8:], 3, 1, segment=V4)),
    ("icmp_quote", icmp_error(quote(V6)[:6] + b"\x11" + quote(V6)[7:], 1, 0, segment=V6)),
    ("icmp_quote", icmp_error(b"\x45" + quote(V6)[1:], 1, 0, segment=V6)),
    ("icmp_quote", icmp_error(FOREIGN, 3, 1, dst="10.0.0.2")),
    ("ip_protocol", icmp_error(V4, 3, 1, protocol=17)),
    ("ip_destination", icmp_error(V4, 3, 1, dst="10.0.0.77")),
    ("ip_source", icmp_error(V4, 3, 1, src="10.0.0.2")),
    ("ipv4_fragment", icmp_error(V4, 3, 1, ip_fragment=0x2000)),
    ("ethernet_short", b"short"),
    ("ethernet_not_ours", b"\2\0\0\0\0\x09" + icmp_error(V4, 3, 1)[6:]),
]


@pytest.mark.parametrize(("reason", "frame"), REFUSALS)
def test_is_refused(reason: str, frame: bytes) -> None:
    assert NET.receive_error(frame) == reason


def test_every_reason_of_its_own_has_a_packet() -> None:
    own = {name for name in reason_names() if name.startswith("icmp_")}
    assert own <= {reason for reason, _ in REFUSALS}


def test_options_of_the_quoted_header_are_stepped_over() -> None:
    """RFC 792: the internet header is quoted whole"""
    packet = V4.build(ip_options=bytes(8))[14:]
    assert NET.receive_error(icmp_error(packet[: 28 + 8], 3, 1, segment=V4)) == said(
        error=errno.EHOSTUNREACH, kind=UNREACHABLE, quoted_bytes=1508
    )


def test_extension_headers_before_the_error_are_stepped_over() -> None:
    """RFC 8200 4"""
    frame = icmp_error(V6, 1, 0)
    chain = extension_header(58)
    length = (len(frame) - 54 + len(chain)).to_bytes(2, "big")
    frame = frame[:18] + length + b"\x3c" + frame[21:54] + chain + frame[54:]
    assert isinstance(NET.receive_error(frame), dict)


def test_a_tag_is_stepped_over() -> None:
    assert NET.receive_error(icmp_error(V4, 3, 1, vlan=(5,))) == NET.receive_error(icmp_error(V4, 3, 1))


@given(st.binary(max_size=128), st.sampled_from([V4, V6]), st.integers(0, 127))
def test_any_octets_get_a_verdict(octets: bytes, about: TcpSegment, at: int) -> None:
    frame = icmp_error(about, 3 if about.is_v4 else 1, 1)
    NET.receive_error(octets)
    NET.receive_error(frame[:at] + octets + frame[at + len(octets) :])
