"""How a device spreads packets: what the kernel's answer says, and that veth says nothing."""

import os
import struct

import pytest

from underpass.linux import interface
from underpass.linux.namespaces import Pair, inside
from underpass.linux.netlink_message import attribute, attributes
from underpass.linux.rss import Queues, Spread, queues, spread_from

KEY = bytes(range(40))
TABLE = (0, 1, 2, 3) * 32
PORTS_TOO, ADDRESSES = 0xF0, 0x30


def answer(**changed: bytes) -> dict[int, bytes]:
    """The attributes of an ETHTOOL_MSG_RSS_GET_REPLY (Documentation/networking/ethtool-netlink.rst)."""
    fields = {"context": bytes(4), "hfunc": struct.pack("=I", 1), "hkey": KEY, "input_xfrm": bytes(4),
              "indir": struct.pack(f"={len(TABLE)}I", *TABLE)}
    numbers = {"context": 2, "hfunc": 3, "indir": 4, "hkey": 5, "input_xfrm": 6}
    octets = b"".join(attribute(numbers[name], value) for name, value in (fields | changed).items())
    return attributes(octets)


def test_key_table_and_fields_are_read() -> None:
    assert spread_from(answer(), PORTS_TOO, ADDRESSES) == Spread(KEY, TABLE, v4=True, v6=False)
    assert spread_from(answer(), ADDRESSES, PORTS_TOO) == Spread(KEY, TABLE, v4=False, v6=True)


@pytest.mark.parametrize("changed", [
    {"hfunc": struct.pack("=I", 2)},            # XOR
    {"hfunc": struct.pack("=I", 4)},            # CRC32
    {"hfunc": b""},
    {"input_xfrm": struct.pack("=I", 1)},       # symmetric: source and destination are mixed before
    {"indir": b""},
    {"indir": b"123"},
    {"indir": bytes(4 * 8192)},                 # larger than is followed
    {"hkey": b""},
])  # fmt: skip
def test_what_is_no_plain_toeplitz_is_not_known(changed: dict[str, bytes]) -> None:
    assert spread_from(answer(**changed), PORTS_TOO, PORTS_TOO) is None


def test_a_hash_of_addresses_alone_cannot_be_steered_by_ports() -> None:
    assert spread_from(answer(), ADDRESSES, ADDRESSES) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")
def test_veth_tells_its_queues_and_no_hash() -> None:
    with Pair(queues=4) as pair, inside(pair.server.name):
        index = interface.facts(pair.server.interface).link.index
        assert queues(pair.server.interface, index) == Queues(4, None)
        pair.server.run("ethtool", "-L", pair.server.interface, "rx", "3")
        assert queues(pair.server.interface, index) == Queues(3, None)
        assert queues("no-such-interface", index) is None
