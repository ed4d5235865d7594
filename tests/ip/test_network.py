"""Addresses, routes and neighbours as the packet path sees them."""

import pytest

from underpass.testing.probe_network import ProbeNetwork

SECOND = 1_000_000_000
MAC = b"\2\0\0\0\0\x11"
OTHER_MAC = b"\2\0\0\0\0\x22"
MAX_ADDRESSES, MAX_ROUTES, MAX_NEIGHBOURS, MAX_WANTED = 64, 256, 4096, 256


@pytest.fixture
def net() -> ProbeNetwork:
    """10.0.0.2/24 behind the gateway 10.0.0.1, 2001:db8::2/64 behind fe80::1."""
    net = ProbeNetwork()
    net.add_route("10.0.0.0", 24)
    net.add_route("0.0.0.0", 0, via="10.0.0.1")
    net.add_route("2001:db8::", 64)
    net.add_route("::", 0, via="fe80::1")
    return net


def test_local_addresses(net: ProbeNetwork) -> None:
    assert all(net.is_local(own) for own in ("10.0.0.2", "2001:db8::2", "fe80::2"))
    assert not any(net.is_local(other) for other in ("10.0.0.3", "10.0.0.66", "::ffff:0:2", "2001:db8::3"))
    net.set_addresses([("10.0.0.66", 24, 0)])
    assert net.is_local("10.0.0.66") and not net.is_local("10.0.0.2")


def test_directed_broadcasts(net: ProbeNetwork) -> None:
    """RFC 919; RFC 3021: a /31 has none."""
    assert net.is_broadcast("10.0.0.255") and not net.is_broadcast("10.0.0.254")
    net.set_addresses([("10.0.0.2", 31, 0), ("10.1.0.1", 32, 0), ("172.16.5.4", 20, 0)])
    assert net.is_broadcast("172.16.15.255")
    assert not any(net.is_broadcast(text) for text in ("10.0.0.3", "10.1.0.1", "172.16.5.255"))


def test_addresses_beyond_the_limit_are_left_out() -> None:
    net = ProbeNetwork()
    rows = [(f"10.0.{i}.1", 24, 0) for i in range(MAX_ADDRESSES + 1)]
    assert net.set_addresses(rows) == MAX_ADDRESSES
    assert net.is_local("10.0.63.1") and not net.is_local("10.0.64.1")


def test_the_longest_prefix_wins_then_the_lowest_metric() -> None:
    """RFC 1812 5.2.4.3."""
    net = ProbeNetwork()
    net.add_route("10.0.0.0", 8, via="10.0.0.8", metric=0)
    net.add_route("10.1.0.0", 16, via="10.0.0.17", metric=200)
    net.add_route("10.1.0.0", 16, via="10.0.0.16", metric=100)
    net.add_route("0.0.0.0", 0, via="10.0.0.1")
    net.add_route("10.1.2.3", 32, via="10.0.0.32", mtu=1400)
    assert net.route("10.1.2.3") == ("10.1.2.3", "10.0.0.32", 0, 1400)
    assert net.route("10.1.2.4") == ("10.1.0.0", "10.0.0.16", 100, 0)
    assert net.route("10.2.0.1") == ("10.0.0.0", "10.0.0.8", 0, 0)
    assert net.route("192.0.2.1") == ("0.0.0.0", "10.0.0.1", 0, 0)
    assert net.route("2001:db8::1") is None
    net.clear_routes()
    assert net.route("10.1.2.3") is None


def test_prefixes_that_end_within_an_octet() -> None:
    net = ProbeNetwork()
    net.add_route("10.0.0.128", 25)
    net.add_route("2001:db8:0:8::", 61)
    assert net.route("10.0.0.127") is None and net.route("10.0.0.128") is not None
    assert net.route("2001:db8:0:f::1") is not None and net.route("2001:db8:0:10::1") is None


def test_a_default_route_is_of_one_family(net: ProbeNetwork) -> None:
    only_v6 = ProbeNetwork()
    only_v6.add_route("::", 0, via="fe80::1")
    assert only_v6.route("192.0.2.1") is None
    assert net.route("2001:db8:9::1") == ("::", "fe80::1", 0, 0)


def test_a_full_route_table_refuses() -> None:
    net = ProbeNetwork()
    assert all(net.add_route(f"10.0.{i}.0", 24) for i in range(MAX_ROUTES))
    assert not net.add_route("10.9.0.0", 24)


def test_on_link_the_destination_is_the_neighbour_else_the_gateway(net: ProbeNetwork) -> None:
    for dst, hop in [
        ("10.0.0.9", "10.0.0.9"),
        ("192.0.2.1", "10.0.0.1"),
        ("2001:db8::9", "2001:db8::9"),
        ("2001:db8:9::9", "fe80::1"),
    ]:
        assert net.next_hop(dst) is not None
        assert net.neighbour(hop) == (bytes(6), "incomplete", 1), dst


def test_ipv6_link_local_needs_no_route() -> None:
    """RFC 4861 5.1: the link-local prefix is on-link."""
    net = ProbeNetwork()
    assert net.next_hop("fe80::9") is not None
    assert net.next_hop("2001:db8:9::9") is None
    assert net.next_hop("10.0.0.9") is None


def test_no_way_leads_to_our_own_address(net: ProbeNetwork) -> None:
    assert net.next_hop("10.0.0.2") is None


def test_an_unknown_neighbour_is_asked_for_once_a_second(net: ProbeNetwork) -> None:
    now = 0
    net.next_hop("10.0.0.9", now)
    net.next_hop("10.0.0.9", now + SECOND - 1)
    assert net.wanted() == [("10.0.0.9", "resolve")]
    net.next_hop("10.0.0.9", now + SECOND)
    assert net.wanted() == [("10.0.0.9", "resolve")]


def test_a_known_neighbour_is_not_asked_for_but_may_be_probed(net: ProbeNetwork) -> None:
    net.set_neighbour("10.0.0.9", MAC)
    neighbour = net.next_hop("10.0.0.9")
    assert neighbour is not None and net.wanted() == []
    for at in (0, 1, SECOND, SECOND + 1):
        net.want_probe(neighbour, at)
    assert net.wanted() == [("10.0.0.9", "probe")] * 2


def test_requests_are_bounded_and_not_lost(net: ProbeNetwork) -> None:
    for i in range(MAX_WANTED + 1):
        net.next_hop(f"2001:db8::{i + 256:x}")
    assert len(net.wanted()) == MAX_WANTED
    net.next_hop(f"2001:db8::{MAX_WANTED + 256:x}", 1)
    assert net.wanted() == [(f"2001:db8::{MAX_WANTED + 256:x}", "resolve")]


def test_a_changed_mac_takes_effect_at_once(net: ProbeNetwork) -> None:
    neighbour = net.next_hop("10.0.0.9")
    assert net.set_neighbour("10.0.0.9", MAC) == neighbour
    assert net.neighbour("10.0.0.9") == (MAC, "valid", 1)
    assert net.set_neighbour("10.0.0.9", OTHER_MAC) == neighbour
    assert net.neighbour("10.0.0.9") == (OTHER_MAC, "valid", 1)
    net.set_neighbour("10.0.0.9", None, "failed")
    assert net.neighbour("10.0.0.9") == (OTHER_MAC, "failed", 1)


def test_what_linux_forgot_is_freed_unless_connections_hold_it(net: ProbeNetwork) -> None:
    neighbour = net.next_hop("10.0.0.9")
    assert neighbour is not None
    net.set_neighbour("10.0.0.9", MAC)
    assert net.set_neighbour("10.0.0.9", None, "free") == neighbour
    assert net.neighbour("10.0.0.9") == (MAC, "incomplete", 1)
    net.release(neighbour)
    assert net.set_neighbour("10.0.0.9", None, "free") is None
    assert net.neighbour("10.0.0.9") is None and net.neighbour_count == 0
    assert net.set_neighbour("10.0.0.9", None, "free") is None


def test_a_request_for_a_neighbour_that_is_gone_is_dropped(net: ProbeNetwork) -> None:
    neighbour = net.next_hop("10.0.0.9")
    assert neighbour is not None
    net.release(neighbour)
    net.set_neighbour("10.0.0.9", None, "free")
    assert net.wanted() == []


def test_users_are_counted(net: ProbeNetwork) -> None:
    first, second = net.next_hop("192.0.2.1"), net.next_hop("198.51.100.1")
    assert first is not None and first == second
    assert net.neighbour("10.0.0.1") == (bytes(6), "incomplete", 2)
    net.release(first)
    assert net.neighbour("10.0.0.1") == (bytes(6), "incomplete", 1)


def fill(net: ProbeNetwork) -> list[int]:
    held = [net.next_hop(f"2001:db8::1:{i:x}", i) for i in range(MAX_NEIGHBOURS)]
    assert None not in held
    return [neighbour for neighbour in held if neighbour is not None]


def test_a_full_table_lets_the_longest_idle_neighbour_go(net: ProbeNetwork) -> None:
    held = fill(net)
    assert net.next_hop("2001:db8::9") is None
    for i in (7, 5, 6):
        net.release(held[i])
    for new, gone in (("2001:db8::9", 7), ("2001:db8::a", 5), ("2001:db8::b", 6)):
        assert net.next_hop(new) is not None
        assert net.neighbour(f"2001:db8::1:{gone:x}") is None
    assert net.next_hop("2001:db8::c") is None
    assert net.neighbour_count == MAX_NEIGHBOURS
    assert all(net.neighbour(f"2001:db8::1:{i:x}") for i in range(8, MAX_NEIGHBOURS))


def test_the_control_plane_does_not_push_out_neighbours(net: ProbeNetwork) -> None:
    held = fill(net)
    net.release(held[3])
    assert net.set_neighbour("10.0.0.9", MAC) is None
    assert net.neighbour("2001:db8::1:3") is not None


def test_an_idle_neighbour_taken_up_again_stays(net: ProbeNetwork) -> None:
    held = fill(net)
    net.release(held[3])
    net.release(held[4])
    assert net.next_hop("2001:db8::1:3") == held[3]
    assert net.next_hop("2001:db8::9") == held[4]
    assert net.next_hop("2001:db8::a") is None


class TestSource:
    """RFC 6724 5."""

    def test_of_the_destinations_family(self, net: ProbeNetwork) -> None:
        assert net.source("10.0.0.9") == "10.0.0.2"
        assert net.source("2001:db8:9::1") == "2001:db8::2"
        net.set_addresses([("10.0.0.2", 24, 0)])
        assert net.source("2001:db8:9::1") is None

    def test_the_routes_own_source(self, net: ProbeNetwork) -> None:
        net.add_route("192.0.2.0", 24, via="10.0.0.1", source="10.0.0.77")
        assert net.source("192.0.2.5") == "10.0.0.77"

    def test_link_local_for_link_local_only(self, net: ProbeNetwork) -> None:
        """Rule 2: appropriate scope."""
        assert net.source("fe80::9") == "fe80::2"
        net.set_addresses([("fe80::2", 64, 0), ("2001:db8::2", 64, 0)])
        assert net.source("2001:db8:9::1") == "2001:db8::2"
        assert net.source("fe80::9") == "fe80::2"

    def test_not_a_deprecated_address_where_there_is_another(self, net: ProbeNetwork) -> None:
        """Rule 3."""
        net.set_addresses([("2001:db8:9::2", 64, 1), ("2001:db8::2", 64, 0)])
        assert net.source("2001:db8:9::1") == "2001:db8::2"
        net.set_addresses([("2001:db8:9::2", 64, 1)])
        assert net.source("2001:db8:9::1") == "2001:db8:9::2"

    def test_the_longest_common_prefix(self, net: ProbeNetwork) -> None:
        """Rule 8."""
        net.set_addresses([("2001:db8:1::2", 64, 0), ("2001:db8:9::2", 64, 0)])
        assert net.source("2001:db8:9::1") == "2001:db8:9::2"
        assert net.source("2001:db8:1::1") == "2001:db8:1::2"

    def test_ipv4_the_gateways_subnet(self, net: ProbeNetwork) -> None:
        net.set_addresses([("192.0.3.2", 24, 0), ("10.0.0.2", 24, 0)])
        assert net.source("192.0.2.5") == "10.0.0.2"
