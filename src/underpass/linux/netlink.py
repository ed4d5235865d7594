"""rtnetlink in plain records: what Linux knows of one interface, asked for or told as it changes."""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from underpass.linux.netlink_message import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Attributes,
    Message,
    attribute,
    attributes,
    integer,
    nested,
    text,
)
from underpass.linux.netlink_socket import NetlinkSocket

# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RTNH_F_DEAD, RTNH_F_LINKDOWN = 0x1, 0x10
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
RTA_METRICS, RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 8, 9, 15, 18
RTAX_MTU, RTAX_ADVMSS = 2, 8
# RTMGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE and, as a bit, RTNLGRP_NEXTHOP
EVENT_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400 | 1 << 31
# linux/if.h, if_link.h
IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x8, 0x40, 0x10000
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO = 1, 3, 4, 18
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_XDP = 31, 32, 43
IFLA_INFO_KIND = 1
IFLA_XDP_ATTACHED, IFLA_XDP_PROG_ID = 2, 4
XDP_MODES = {1: "native", 2: "generic", 3: "offloaded", 4: "several"}       # XDP_ATTACHED_DRV and so on
# linux/if_addr.h
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x08, 0x20, 0x40
IFA_F_OPTIMISTIC = 0x04
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
# linux/neighbour.h
NTF_USE = 0x01
NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE = 0x01, 0x02, 0x04
NUD_DELAY, NUD_PROBE, NUD_FAILED = 0x08, 0x10, 0x20
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NUD_HAS_MAC = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_NOARP | NUD_PERMANENT
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8

UINT = struct.Struct("=I")
IFINFOMSG = struct.Struct("=BxHiII")        # family, type, index, flags, change
IFADDRMSG = struct.Struct("=BBBBI")         # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBxxxxxBI")         # family, prefix length, type, flags
RTNEXTHOP = struct.Struct("=HBBi")          # length with its attributes, flags, hops, index
NDMSG = struct.Struct("=BxxxiHBB")          # family, index, state, flags, type

Route = tuple[str, int, str | None, str | None, int, int, int]


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """An interface. `xdp` is the mode of an attached XDP program ("native", "generic", ...) or None."""

    index: int
    name: str
    mac: bytes
    mtu: int
    up: bool
    carrier: bool
    arp_type: int
    kind: str | None
    rx_queues: int
    tx_queues: int
    xdp: str | None
    xdp_program: int | None


@dataclass(frozen=True, slots=True)
class NeighbourRecord:
    """An entry of the neighbour table, or, with `gone`, that it was deleted."""

    address: str
    mac: bytes | None
    state: int
    gone: bool = False


def _address(octets: bytes | None) -> str | None:
    """An IP address as text; None for none, and for another family's."""
    families = {4: socket.AF_INET, 16: socket.AF_INET6}
    if octets is None or len(octets) not in families:
        return None
    return socket.inet_ntop(families[len(octets)], octets)


def link_record(message: Message) -> LinkRecord:
    """The record of an RTM_NEWLINK message."""
    _, arp_type, index, flags, _ = IFINFOMSG.unpack_from(message.body)
    found = attributes(message.body[IFINFOMSG.size:])
    xdp = nested(found, IFLA_XDP)
    return LinkRecord(
        index=index,
        name=text(found, IFLA_IFNAME) or "",
        mac=found.get(IFLA_ADDRESS, b""),
        mtu=integer(found, IFLA_MTU),
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        arp_type=arp_type,
        kind=text(nested(found, IFLA_LINKINFO), IFLA_INFO_KIND),
        rx_queues=integer(found, IFLA_NUM_RX_QUEUES) or 1,
        tx_queues=integer(found, IFLA_NUM_TX_QUEUES) or 1,
        xdp=XDP_MODES.get(integer(xdp, IFLA_XDP_ATTACHED)),
        xdp_program=integer(xdp, IFLA_XDP_PROG_ID) or None,
    )


def neighbour_record(message: Message) -> NeighbourRecord | None:
    """The record of an RTM_NEWNEIGH or RTM_DELNEIGH message; None for what is no unicast IP neighbour."""
    family, _, state, _, _ = NDMSG.unpack_from(message.body)
    found = attributes(message.body[NDMSG.size:])
    address = _address(found.get(NDA_DST))
    if family not in (socket.AF_INET, socket.AF_INET6) or address is None:
        return None
    if ip_address(address).is_multicast:
        return None
    mac = found.get(NDA_LLADDR) if state & NUD_HAS_MAC else None
    return NeighbourRecord(address, mac or None, state, message.kind == RTM_DELNEIGH)


def links(netlink: NetlinkSocket) -> list[LinkRecord]:
    """Every interface of the namespace."""
    return [link_record(it) for it in netlink.dump(RTM_GETLINK, IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))]


def link(netlink: NetlinkSocket, *, name: str | None = None, index: int = 0) -> LinkRecord | None:
    """One interface by name or index, or None when there is none."""
    asked = IFINFOMSG.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    if name is not None:
        asked += attribute(IFLA_IFNAME, name.encode(errors="surrogateescape") + b"\0")
    try:
        return link_record(netlink.request(RTM_GETLINK, asked)[0])
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
            return None
        raise


def addresses(netlink: NetlinkSocket, index: int) -> list[tuple[str, int]]:
    """The interface's usable addresses with their prefix lengths, deprecated ones last.

    An IPv6 address whose uniqueness is not known yet is none (RFC 4862 5.4), an optimistic one is (RFC 4429).
    """
    rows = []
    for it in netlink.dump(RTM_GETADDR, IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, index)):
        _, length, flags, _, of = IFADDRMSG.unpack_from(it.body)
        found = attributes(it.body[IFADDRMSG.size:])
        flags = integer(found, IFA_FLAGS) or flags
        tentative = flags & IFA_F_TENTATIVE and not flags & IFA_F_OPTIMISTIC
        address = _address(found.get(IFA_LOCAL) or found.get(IFA_ADDRESS))
        if of != index or tentative or flags & IFA_F_DADFAILED or address is None:
            continue
        rows.append((bool(flags & IFA_F_DEPRECATED), (address, length)))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _hops(flags: int, found: Attributes) -> Iterator[tuple[int, int, Attributes]]:
    """Flags, interface and attributes of each next hop of a route; a truncated one ends the walk."""
    rest = found.get(RTA_MULTIPATH, b"")
    if not rest:
        yield flags, integer(found, RTA_OIF), found
    while len(rest) >= RTNEXTHOP.size:
        length, flags, _, oif = RTNEXTHOP.unpack_from(rest)
        if not RTNEXTHOP.size <= length <= len(rest):
            return
        yield flags, oif, attributes(rest[RTNEXTHOP.size:length])
        rest = rest[(length + 3) & ~3:]


def _gateways(flags: int, found: Attributes, index: int) -> Iterator[str | None]:
    """The gateways of a route over the interface; None for on-link. RTA_VIA begins with a family."""
    for hop_flags, oif, hop in _hops(flags, found):
        if oif == index and not hop_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN):
            yield _address(hop.get(RTA_GATEWAY)) or _address(hop.get(RTA_VIA, b"")[2:])


def routes(netlink: NetlinkSocket, index: int) -> list[Route]:
    """The unicast routes of the main table by the interface: rows as `Stack.set_routes` takes them."""
    rows: list[Route] = []
    wanted = attribute(RTA_TABLE, UINT.pack(RT_TABLE_MAIN)) + attribute(RTA_OIF, UINT.pack(index))
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for it in netlink.dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0) + wanted):
            _, length, kind, flags = RTMSG.unpack_from(it.body)
            found = attributes(it.body[RTMSG.size:])
            if kind != RTN_UNICAST or integer(found, RTA_TABLE) != RT_TABLE_MAIN:
                continue
            metrics = nested(found, RTA_METRICS)
            for via in _gateways(flags, found, index):
                rows.append((_address(found.get(RTA_DST)) or anywhere, length, via,
                             _address(found.get(RTA_PREFSRC)), integer(found, RTA_PRIORITY),
                             integer(metrics, RTAX_MTU), integer(metrics, RTAX_ADVMSS)))
    return rows


def index_of(message: Message) -> int:
    """The interface of a link, address or neighbour message: all of them have it behind one 32-bit word."""
    index: int = UINT.unpack_from(message.body, UINT.size)[0]
    return index


def route_of_another(message: Message, index: int) -> bool:
    """Whether a route event names another interface than this one."""
    oif = attributes(message.body[RTMSG.size:]).get(RTA_OIF)
    return oif is not None and oif != UINT.pack(index)


def link_is_up(message: Message) -> bool:
    """Whether a link event says that the interface is up."""
    return bool(IFINFOMSG.unpack_from(message.body)[3] & IFF_UP)


def neighbours(netlink: NetlinkSocket, index: int) -> list[NeighbourRecord]:
    """The interface's neighbour table, IPv4 and IPv6."""
    of = attribute(NDA_IFINDEX, UINT.pack(index))
    found = netlink.dump(RTM_GETNEIGH, NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + of)
    return [it for it in map(neighbour_record, found) if it is not None]


def ask_neighbour(netlink: NetlinkSocket, index: int, address: str, probe: bool) -> None:
    """Make Linux resolve a neighbour, or, with `probe`, solicit one whose MAC it has. Raises OSError.

    NTF_USE does what a packet of the kernel's own would do. NTF_MANAGED would keep the entry fresh without
    being asked again, but the entry would stay behind, and be solicited forever, when this process is killed.
    Not to be used on a permanent entry: either request makes it an ordinary one.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    state, flags, how = (NUD_PROBE, 0, NLM_F_REPLACE) if probe else (0, NTF_USE, NLM_F_CREATE)
    asked = NDMSG.pack(family, index, state, flags, 0) + attribute(NDA_DST, socket.inet_pton(family, address))
    netlink.request(RTM_NEWNEIGH, asked, how)
