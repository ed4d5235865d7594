"""The notation of net.ipv4.ip_local_reserved_ports (Documentation/networking/ip-sysctl.rst)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.linux.ports import format_ports, parse_ports


@pytest.mark.parametrize(("text", "ports"), [
    ("\n", set()),
    ("8080\n", {8080}),
    ("8080,9148\n", {8080, 9148}),
    ("1,2-4,10-10\n", {1, 2, 3, 4, 10}),
])
def test_the_kernel_s_notation_is_read(text: str, ports: set[int]) -> None:
    assert parse_ports(text) == ports


def test_neighbours_are_joined_as_the_kernel_joins_them() -> None:
    assert format_ports({1, 2, 3, 5, 7, 8}) == "1-3,5,7-8"


@given(st.sets(st.integers(1, 65535), max_size=200))
def test_what_is_written_is_read_again(ports: set[int]) -> None:
    assert parse_ports(format_ports(ports)) == ports
