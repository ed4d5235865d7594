"""Addresses to and from text, and what kinds there are."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing import probe_wire
from underpass.wire import address


@given(st.ip_addresses())
def test_text_comes_back(one: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = one.ipv4_mapped if isinstance(one, ipaddress.IPv6Address) else None
    assert address.text_from_octets(address.octets_from_text(str(one))) == str(mapped or one)


def test_ipv4_is_held_as_an_ipv4_mapped_address() -> None:
    """RFC 4291 2.5.5.2."""
    assert address.octets_from_text("10.1.2.3") == bytes.fromhex("00000000000000000000ffff0a010203")


def test_the_scope_is_kept_beside_the_address() -> None:
    """RFC 4007 11."""
    assert address.split_scope("fe80::1%eth0") == ("fe80::1", "eth0")
    octets = address.octets_from_text("fe80::1%eth0")
    assert address.text_from_octets(octets, "eth0") == "fe80::1%eth0"
    assert address.text_from_octets(address.octets_from_text("10.0.0.1"), "eth0") == "10.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "fe80:::1", "localhost"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"address.* give one like 10\.0\.0\.1"):
        address.octets_from_text(text)


def test_octets_of_another_length() -> None:
    with pytest.raises(ValueError, match="16 octets, not 4"):
        address.text_from_octets(b"1234")


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("0.0.0.0", {"v4", "any"}),
        ("::", {"any"}),
        ("127.8.9.1", {"v4", "loopback"}),
        ("::1", {"loopback"}),
        ("224.0.0.1", {"v4", "group"}),
        ("239.255.255.255", {"v4", "group"}),
        ("255.255.255.255", {"v4", "group"}),
        ("240.0.0.1", {"v4"}),
        ("ff02::1", {"group"}),
        ("169.254.3.4", {"v4", "link_local"}),
        ("fe80::1", {"link_local"}),
        ("febf:ffff::1", {"link_local"}),
        ("fec0::1", set()),
        ("2001:db8::1", set()),
        ("192.0.2.1", {"v4"}),
    ],
)
def test_kinds_of_address(text: str, kinds: set[str]) -> None:
    """RFC 1122 3.2.1.3, RFC 3927 2.1, RFC 4291 2.4."""
    assert probe_wire.address(text) == (text, kinds)
