"""The mirror follows a real interface: addresses, routes, neighbours, MAC and MTU, and has Linux resolve."""

import errno
import os
import re
import select
from collections.abc import Callable, Iterable, Iterator

import pytest

from underpass.linux.mirror import Mirror
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


class Recorder:
    """Stands where the stack does and remembers what the mirror pushed."""

    def __init__(self) -> None:
        self.mac = b""
        self.mtu = 0
        self.addresses: list[tuple[str, int]] = []
        self.routes: list[tuple[str, int, str | None, str | None, int, int]] = []
        self.known: dict[str, tuple[bytes | None, bool]] = {}
        self.asked: list[tuple[str, str]] = []
        self.used: list[tuple[str, bytes | None, str, int]] = []

    def set_mac(self, mac: bytes) -> None:
        self.mac = mac

    def set_mtu(self, mtu: int) -> None:
        self.mtu = mtu

    def set_addresses(self, addresses: Iterable[tuple[str, int]]) -> None:
        self.addresses = list(addresses)

    def set_routes(self, routes: Iterable[tuple[str, int, str | None, str | None, int, int]]) -> None:
        self.routes = list(routes)

    def set_neighbour(self, address: str, mac: bytes | None, failed: bool = False) -> None:
        self.known[address] = (mac, failed)

    def wanted(self) -> list[tuple[str, str]]:
        asked, self.asked = self.asked, []
        return asked

    def neighbours(self) -> list[tuple[str, bytes | None, str, int]]:
        return self.used


class Followed:
    """A pair, a mirror of the server's interface, and the recorder that it pushes to."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.stack = Recorder()
        with inside(pair.server.name):
            self.mirror = Mirror(pair.server.interface)
        self.mirror.apply(self.stack)

    def ip(self, command: str) -> None:
        self.pair.server.run("ip", *command.format(dev=self.pair.server.interface).split())

    def comes_to(self, true: Callable[[Recorder], bool], timeout_s: float = 5) -> bool:
        """Whether it comes to hold by following events alone."""
        def followed() -> bool:
            if select.select([self.mirror], [], [], 0.05)[0]:
                self.mirror.update(self.stack)
            return true(self.stack)
        return until(followed, timeout_s, 0)


@pytest.fixture
def followed() -> Iterator[Followed]:
    with Pair() as pair:
        it = Followed(pair)
        yield it
        it.mirror.close()


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def test_the_snapshot_holds_what_linux_holds(followed: Followed) -> None:
    server, stack = followed.pair.server, followed.stack
    assert stack.mac == server.mac
    assert stack.mtu == 1500
    assert (server.address, 15) in stack.addresses and (server.address6, 64) in stack.addresses
    assert ("198.18.0.0", 15, None, server.address, 0, 0, 0) in stack.routes
    assert ("fd00:18::", 64, None) in [row[:3] for row in stack.routes]


def test_addresses_are_followed_and_tentative_ones_are_none(followed: Followed) -> None:
    followed.ip("addr add 198.18.7.7/32 dev {dev}")
    assert followed.comes_to(lambda stack: ("198.18.7.7", 32) in stack.addresses)
    followed.ip("addr del 198.18.7.7/32 dev {dev}")
    assert followed.comes_to(lambda stack: ("198.18.7.7", 32) not in stack.addresses)
    # RFC 4862 5.4: not ours before duplicate address detection is over, about a second.
    followed.ip("addr add fd00:18::99/64 dev {dev}")
    followed.mirror.update(followed.stack)
    assert ("fd00:18::99", 64) not in followed.stack.addresses
    assert followed.comes_to(lambda stack: ("fd00:18::99", 64) in stack.addresses)


@pytest.mark.parametrize(("command", "row"), [
    ("10.1.0.0/16 via 198.18.0.9 dev {dev} metric 5 mtu 1400",
     ("10.1.0.0", 16, "198.18.0.9", None, 5, 1400, 0)),
    ("10.9.0.0/16 dev {dev} mtu 1400 advmss 1200", ("10.9.0.0", 16, None, None, 0, 1400, 1200)),
    ("10.2.0.0/16 dev {dev} src 198.18.0.2", ("10.2.0.0", 16, None, "198.18.0.2", 0, 0, 0)),
    ("default via 198.18.0.254 dev {dev}", ("0.0.0.0", 0, "198.18.0.254", None, 0, 0, 0)),
    ("10.3.0.0/16 via inet6 fe80::9 dev {dev}", ("10.3.0.0", 16, "fe80::9", None, 0, 0, 0)),
    ("10.4.0.0/16 nexthop via 198.18.0.8 dev {dev} nexthop via 198.18.0.9 dev {dev}",
     ("10.4.0.0", 16, "198.18.0.9", None, 0, 0, 0)),
    ("default via fe80::1 dev {dev} metric 77", ("::", 0, "fe80::1", None, 77, 0, 0)),
])
def test_routes_are_followed(followed: Followed, command: str,
                             row: tuple[str, int, str | None, str | None, int, int, int]) -> None:
    family = "-6" if ":" in row[0] else "-4"
    followed.ip(f"{family} route add {command}")
    assert followed.comes_to(lambda stack: row in stack.routes)
    followed.ip(f"{family} route del {re.split(' nexthop | mtu ', command)[0]}")
    assert followed.comes_to(lambda stack: row not in stack.routes)


def test_routes_of_other_tables_and_interfaces_are_not_taken(followed: Followed) -> None:
    followed.ip("route add 10.5.0.0/16 via 198.18.0.9 table 77")
    followed.ip("route add 10.6.0.0/16 dev lo")
    followed.ip("route add blackhole 10.7.0.0/16")
    followed.ip("route add 10.8.0.0/16 via 198.18.0.9")
    assert followed.comes_to(lambda stack: any(row[0] == "10.8.0.0" for row in stack.routes))
    assert not {"10.5.0.0", "10.6.0.0", "10.7.0.0"} & {row[0] for row in followed.stack.routes}


def test_mac_and_mtu_take_effect_with_the_next_event(followed: Followed) -> None:
    followed.ip("link set {dev} mtu 1400")
    followed.ip("link set {dev} address 02:00:00:00:99:99")
    assert followed.comes_to(lambda stack: stack.mac == mac("02:00:00:00:99:99") and stack.mtu == 1400)


def test_an_interface_that_goes_down_loses_its_routes_until_it_is_up_again(followed: Followed) -> None:
    followed.ip("link set {dev} down")
    assert followed.comes_to(lambda stack: not stack.routes)
    followed.ip("link set {dev} up")
    assert followed.comes_to(lambda stack: any(row[0] == "198.18.0.0" for row in stack.routes))


def test_it_is_told_once_that_the_interface_was_down_however_shortly(followed: Followed) -> None:
    assert not followed.mirror.came_up()
    followed.ip("link set {dev} down")
    followed.ip("link set {dev} up")
    followed.mirror.update(followed.stack)
    assert followed.mirror.came_up()
    assert not followed.mirror.came_up()
    followed.ip("link set {dev} down")
    followed.mirror.update(followed.stack)
    assert not followed.mirror.came_up()
    followed.ip("link set {dev} up")
    followed.mirror.update(followed.stack)
    assert followed.mirror.came_up()


def test_a_removed_interface_is_noticed(followed: Followed) -> None:
    followed.ip("link del {dev}")
    assert followed.comes_to(lambda _: followed.mirror.gone)


def test_a_missing_interface_is_named_with_those_that_are_here(followed: Followed) -> None:
    with inside(followed.pair.server.name), pytest.raises(OSError, match="eth9 does not exist") as caught:
        Mirror("eth9")
    assert caught.value.errno == errno.ENODEV
    assert f"lo, {followed.pair.server.interface}" in str(caught.value)


@pytest.mark.parametrize("address", ["198.18.0.1", "fd00:18::1"])
def test_a_wanted_neighbour_is_resolved_by_linux(followed: Followed, address: str) -> None:
    assert all(until(end.carries, 20) for end in (followed.pair.client, followed.pair.server))
    followed.stack.asked = [(address, "resolve")]
    followed.mirror.serve_wanted(followed.stack)
    answer = (followed.pair.client.mac, False)
    assert followed.comes_to(lambda stack: stack.known.get(address) == answer)


def test_a_neighbour_that_nobody_is_fails(followed: Followed) -> None:
    followed.stack.asked = [("198.18.0.200", "resolve")]
    followed.mirror.serve_wanted(followed.stack)
    assert followed.comes_to(lambda stack: stack.known.get("198.18.0.200") == (None, True), 10)


def test_a_neighbour_s_new_mac_takes_effect_at_once(followed: Followed) -> None:
    followed.ip("neigh add 198.18.0.50 lladdr 02:00:00:00:00:50 dev {dev} nud reachable")
    assert followed.comes_to(lambda stack: "198.18.0.50" in stack.known)
    followed.ip("neigh change 198.18.0.50 lladdr 02:00:00:00:00:51 dev {dev} nud reachable")
    assert followed.comes_to(lambda stack: stack.known["198.18.0.50"][0] == mac("02:00:00:00:00:51"))


def test_a_probe_finds_out_that_a_reachable_neighbour_is_gone(followed: Followed) -> None:
    """A retransmission timer fired: Linux, which believes the entry, has to ask again (RFC 4861 7.3.3)."""
    followed.ip("neigh add 198.18.0.51 lladdr 02:00:00:00:00:51 dev {dev} nud reachable")
    assert followed.comes_to(lambda stack: "198.18.0.51" in stack.known)
    followed.stack.asked = [("198.18.0.51", "probe")]
    followed.mirror.serve_wanted(followed.stack)
    assert followed.comes_to(lambda stack: stack.known["198.18.0.51"] == (None, True), 10)


def test_a_static_neighbour_stays_static_whatever_the_stack_asks(followed: Followed) -> None:
    followed.ip("neigh add 198.18.0.52 lladdr 02:00:00:00:00:52 dev {dev} nud permanent")
    assert followed.comes_to(lambda stack: "198.18.0.52" in stack.known)
    for kind in ("resolve", "probe"):
        followed.stack.asked = [("198.18.0.52", kind)]
        followed.mirror.serve_wanted(followed.stack)
    assert "PERMANENT" in followed.pair.server.run("ip", "neigh", "show", "198.18.0.52").stdout


def test_a_stale_neighbour_in_use_is_checked_and_an_unused_one_is_not(followed: Followed) -> None:
    server, client = followed.pair.server, followed.pair.client
    followed.ip(f"neigh add {client.address} lladdr {client.mac_text} dev {{dev}} nud stale")
    followed.ip("neigh add 198.18.0.53 lladdr 02:00:00:00:00:53 dev {dev} nud stale")
    assert followed.comes_to(lambda stack: "198.18.0.53" in stack.known)
    followed.stack.used = [(client.address, client.mac, "valid", 10 ** 9),
                           ("198.18.0.53", mac("02:00:00:00:00:53"), "valid", 10 ** 11)]
    followed.mirror.refresh(followed.stack)
    assert "DELAY" in server.run("ip", "neigh", "show", client.address).stdout
    assert "STALE" in server.run("ip", "neigh", "show", "198.18.0.53").stdout


def test_a_neighbour_in_use_that_linux_forgets_is_asked_for_again(followed: Followed) -> None:
    server, client = followed.pair.server, followed.pair.client
    server.run("ping", "-c1", "-W2", client.address)
    assert followed.comes_to(lambda stack: client.address in stack.known)
    followed.stack.used = [(client.address, client.mac, "valid", 0)]
    followed.stack.known.clear()
    followed.ip(f"neigh del {client.address} dev {{dev}}")
    assert followed.comes_to(lambda stack: stack.known.get(client.address) == (client.mac, False))


def test_lost_events_lead_to_a_full_reading(followed: Followed) -> None:
    """netlink(7): ENOBUFS says that the socket's buffer ran over and what the reader knows is out of date."""
    batch = "\n".join(f"neigh add 198.18.{i // 250 + 1}.{i % 250 + 1} lladdr 02:00:00:00:00:01 "
                      f"dev {followed.pair.server.interface} nud permanent" for i in range(8000))
    followed.pair.server.run("ip", "-batch", "-", text=batch + "\naddr add 198.18.9.9/32 dev "
                             + followed.pair.server.interface + "\n")
    assert followed.comes_to(lambda stack: ("198.18.9.9", 32) in stack.addresses, 20)
    assert followed.mirror.resyncs >= 1
    assert len([it for it in followed.stack.known if it.startswith("198.18.")]) >= 8000
