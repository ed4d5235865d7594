"""netlink: its format against octets laid out beside it and any others, records against a real kernel."""

import os
import struct
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.linux import netlink
from underpass.linux.namespaces import Pair, inside
from underpass.linux.netlink_message import (
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    attribute,
    attributes,
    integer,
    messages,
    nested,
    packed,
    text,
)
from underpass.linux.netlink_socket import NetlinkSocket

ARBITRARY = st.binary(max_size=300)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


def test_a_message_is_a_header_and_its_body() -> None:
    octets = packed(Message(18, NLM_F_REQUEST, 7, b"body"))
    assert octets == struct.pack("=IHHII", 20, 18, 1, 7, 0) + b"body"
    assert list(messages(octets)) == [Message(18, NLM_F_REQUEST, 7, b"body")]


def test_messages_of_a_datagram_begin_at_words() -> None:
    first, second = Message(1, 2, 3, b"odd"), Message(4, 5, 6, b"")
    datagram = packed(first) + b"\0" + packed(second)
    assert list(messages(datagram)) == [first, second]
    assert list(messages(datagram[:-1])) == [first]


def test_attributes_are_padded_and_may_hold_others() -> None:
    kind = attribute(18 | 0x8000, attribute(1, b"veth"))
    octets = attribute(3, b"eth0\0") + kind + attribute(4, bytes((1, 2, 0, 0)))
    assert len(octets) == 12 + 12 + 8
    found = attributes(octets)
    assert text(found, 3) == "eth0"
    assert text(nested(found, 18), 1) == "veth"
    assert integer(found, 4) == int.from_bytes(bytes((1, 2, 0, 0)), sys.byteorder)
    assert (text(found, 9), nested(found, 9), integer(found, 9)) == (None, {}, 0)


@pytest.mark.parametrize(("kind", "body", "error"), [
    (NLMSG_ERROR, struct.pack("=i", -19) + bytes(16), 19), (NLMSG_ERROR, bytes(20), 0), (NLMSG_DONE, b"", 0),
    (NLMSG_DONE, struct.pack("=i", -22), 22),
])
def test_errors_are_errno(kind: int, body: bytes, error: int) -> None:
    assert Message(kind, 0, 1, body).error == error


@given(ARBITRARY)
def test_any_octets_are_walked_to_their_end(octets: bytes) -> None:
    assert sum(16 + len(it.body) for it in messages(octets)) <= len(octets)
    assert sum(4 + len(it) for it in attributes(octets).values()) <= len(octets)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as it:
        yield it


def routes(pair: Pair, *commands: str) -> set[netlink.Route]:
    """What the commands of `ip` add to the server's routes."""
    interface = pair.server.interface
    with inside(pair.server.name), NetlinkSocket() as asked:
        found = netlink.link(asked, name=interface)
        assert found is not None
        before = set(netlink.routes(asked, found.index))
        for command in commands:
            pair.server.run("ip", *command.format(dev=interface).split())
        return set(netlink.routes(asked, found.index)) - before


@as_root
@pytest.mark.parametrize(("commands", "rows"), [
    (["-4 route add 10.1.0.0/16 nexthop via inet6 fe80::7 dev {dev} nexthop via inet6 fe80::8 dev {dev}"],
     {("10.1.0.0", 16, "fe80::7", None, 0, 0, 0), ("10.1.0.0", 16, "fe80::8", None, 0, 0, 0)}),
    (["-6 route add 2001:db8:5::/48 nexthop via fe80::7 dev {dev} nexthop via fe80::8 dev {dev}"],
     {("2001:db8:5::", 48, via, None, 1024, 0, 0) for via in ("fe80::7", "fe80::8")}),
    (["link add beside type veth peer name other", "link set other up", "link set beside up",
      "route add 10.1.0.0/16 nexthop dev beside nexthop via inet6 fe80::7 dev {dev}"],
     {("10.1.0.0", 16, "fe80::7", None, 0, 0, 0)}),
    (["route add blackhole 10.1.0.0/16", "route add 10.2.0.0/16 dev {dev} table 7"], set()),
])
def test_a_route_has_each_of_its_next_hops_that_is_here(
        pair: Pair, commands: list[str], rows: set[netlink.Route]) -> None:
    assert routes(pair, *commands) == rows


@as_root
def test_a_link_has_its_kind_its_queues_and_its_xdp_mode() -> None:
    with Pair(queues=3) as pair, inside(pair.server.name), NetlinkSocket() as asked:
        record = netlink.link(asked, name=pair.server.interface)
        assert record is not None
        assert (record.kind, record.rx_queues, record.tx_queues, record.xdp) == ("veth", 3, 3, None)
        assert netlink.link(asked, index=record.index) == record
        assert record in netlink.links(asked)
        said = pair.server.run("ip", "-br", "link", "show", "dev", record.name).stdout
        assert record.mac.hex(":") == said.split()[2]


@as_root
@pytest.mark.parametrize("name", ["nothing", "longer-than-names-may-be", "", "\udcff"])
def test_a_link_that_is_not_there_is_none(name: str) -> None:
    with NetlinkSocket() as asked:
        assert netlink.link(asked, name=name) is None


@as_root
def test_what_linux_refuses_is_an_oserror_and_the_next_request_is_answered() -> None:
    with NetlinkSocket() as asked:
        with pytest.raises(OSError, match="No such device"):
            netlink.ask_neighbour(asked, 1 << 30, "192.0.2.7", probe=False)
        assert netlink.link(asked, name="lo") is not None
