"""How a device spreads packets over its receive queues (RSS), and how many of those there are: asked for
again and again, since both can be changed while it runs (`ethtool -X`, `ethtool -L`).

By the `ethtool` generic netlink family (since 6.3), which tells nobody of a change of RSS before 6.17; which
fields are hashed is known by ioctl alone in older kernels.
"""

import array
import struct
from dataclasses import dataclass

from underpass.linux import genetlink, interface
from underpass.linux.netlink_message import NLA_F_NESTED, Attributes, attribute, integer

# linux/ethtool_netlink.h, linux/ethtool.h
ETHTOOL_MSG_RSS_GET = 38
ETHTOOL_A_RSS_HEADER, ETHTOOL_A_HEADER_DEV_INDEX = 1, 1
ETHTOOL_A_RSS_HFUNC, ETHTOOL_A_RSS_INDIR, ETHTOOL_A_RSS_HKEY, ETHTOOL_A_RSS_INPUT_XFRM = 3, 4, 5, 6
TOEPLITZ = 1
TCP_V4_FLOW, TCP_V6_FLOW = 0x01, 0x05
INDIRECTION_MAX = 4096              # entries of the largest table that is followed: see tcp/steering.pxd
ADDRESSES_AND_PORTS = 0x10 | 0x20 | 0x40 | 0x80      # RXH_IP_SRC, RXH_IP_DST, RXH_L4_B_0_1, RXH_L4_B_2_3


@dataclass(frozen=True, slots=True)
class Spread:
    """A Toeplitz key, the queue of each entry of the indirection table, and whether the ports of TCP over
    IPv4 and over IPv6 are hashed along with the addresses.
    """

    key: bytes
    indirection: tuple[int, ...]
    v4: bool
    v6: bool


@dataclass(frozen=True, slots=True)
class Queues:
    """An interface's receive queues. `spread` is None where the device does not tell, as veth, or does not
    choose by addresses and ports.
    """

    count: int
    spread: Spread | None


def queues(ifname: str, index: int) -> Queues | None:
    """As they are now; None: the interface is gone, or does not tell any more."""
    count = interface.channels(ifname)
    return Queues(count, spread(ifname, index)) if count else None


def spread(ifname: str, index: int) -> Spread | None:
    """How TCP is spread, where that is known."""
    header = attribute(ETHTOOL_A_HEADER_DEV_INDEX, struct.pack("=I", index))
    nest = ETHTOOL_A_RSS_HEADER | NLA_F_NESTED
    answer = genetlink.ask("ethtool", ETHTOOL_MSG_RSS_GET, nest, header)
    if answer is None:
        return None
    return spread_from(answer, interface.hash_fields(ifname, TCP_V4_FLOW),
                       interface.hash_fields(ifname, TCP_V6_FLOW))


def spread_from(answer: Attributes, fields_v4: int, fields_v6: int) -> Spread | None:
    """The answer's attributes; another hash than Toeplitz, or of other input, is not known."""
    key, table = answer.get(ETHTOOL_A_RSS_HKEY, b""), answer.get(ETHTOOL_A_RSS_INDIR, b"")
    if integer(answer, ETHTOOL_A_RSS_HFUNC) != TOEPLITZ or not key:
        return None
    if not table or len(table) % 4 or len(table) > 4 * INDIRECTION_MAX:
        return None
    if integer(answer, ETHTOOL_A_RSS_INPUT_XFRM):
        return None
    v4, v6 = fields_v4 == ADDRESSES_AND_PORTS, fields_v6 == ADDRESSES_AND_PORTS
    return Spread(key, tuple(array.array("I", table)), v4, v6) if v4 or v6 else None
