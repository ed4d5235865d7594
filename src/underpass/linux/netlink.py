"""rtnetlink in plain records: what Linux knows of one interface, asked for or told as it changes.

Only pyroute2's message classes are used, on a socket of our own: its ready-made sockets run an asyncio loop
each, which cannot be done from within an application's loop.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Self

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

# linux/netlink.h
SOL_NETLINK = 270
NETLINK_NO_ENOBUFS, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 5, 11, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_DUMP, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x300, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP_INTR = 0x10
# linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RT_TABLE_MAIN = 254
RTA_OIF = 4
RTN_UNICAST = 1
RTNH_F_DEAD, RTNH_F_LINKDOWN = 0x1, 0x10
# RTMGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE and, as a bit, RTNLGRP_NEXTHOP
EVENT_GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400 | 1 << 31
# linux/if.h, if_addr.h, neighbour.h
IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x8, 0x40, 0x10000
IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x08, 0x20, 0x40
IFA_F_OPTIMISTIC = 0x04
NTF_USE = 0x01
NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE = 0x01, 0x02, 0x04
NUD_DELAY, NUD_PROBE, NUD_FAILED = 0x08, 0x10, 0x20
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NUD_HAS_MAC = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_NOARP | NUD_PERMANENT

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


class NetlinkSocket:
    """One rtnetlink socket of the current network namespace. `groups`: multicast groups to be told of."""

    def __init__(self, groups: int = 0) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, groups))
        self._marshal = MarshalRtnl()
        self._sequence = 0

    def fileno(self) -> int:
        """The descriptor; readable when events wait."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket. May be called twice."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, kind: int, message: Any, flags: int) -> None:
        self._sequence += 1
        header = message["header"]
        header["type"], header["flags"] = kind, NLM_F_REQUEST | flags
        header["sequence_number"] = self._sequence
        message.encode()
        self._socket.send(message.data)

    def _answers(self) -> Iterator[Any]:
        """Messages that answer the last request. An error in them is raised as OSError."""
        while True:
            for message in self._marshal.parse(self._socket.recv(1 << 18)):
                header = message["header"]
                if header["sequence_number"] != self._sequence:
                    continue
                if header["type"] == NLMSG_ERROR and header["error"] is not None:
                    raise OSError(header["error"].code, os.strerror(header["error"].code))
                if header["type"] in (NLMSG_ERROR, NLMSG_DONE):
                    return
                yield message

    def request(self, kind: int, message: Any, flags: int = 0) -> list[Any]:
        """Send one request and return what answers it, the acknowledgment left out. Raises OSError."""
        self._send(kind, message, flags | NLM_F_ACK)
        return list(self._answers())

    def dump(self, kind: int, message: Any) -> list[Any]:
        """All objects that match; asked again when the table changed meanwhile (NLM_F_DUMP_INTR)."""
        while True:
            self._send(kind, message, NLM_F_DUMP)
            found = list(self._answers())
            if not any(it["header"]["flags"] & NLM_F_DUMP_INTR for it in found):
                return found

    def receive(self) -> bytes | None:
        """One datagram of events, or None when none waits. Raises OSError ENOBUFS where events were lost."""
        try:
            return self._socket.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def parse(self, datagram: bytes) -> Iterator[Any]:
        """The messages in a datagram."""
        yield from self._marshal.parse(datagram)


def mac_octets(text: str | None) -> bytes:
    """The octets of a MAC address in pyroute2's notation; none for an interface that has no MAC."""
    return bytes.fromhex(text.replace(":", "")) if text else b""


XDP_MODES = {"xdp": "native", "xdpgeneric": "generic", "xdpoffload": "offloaded", "xdpmulti": "several"}


def link_record(message: Any) -> LinkRecord:
    """The record of an RTM_NEWLINK message."""
    xdp, info = message.get_attr("IFLA_XDP"), message.get_attr("IFLA_LINKINFO")
    mode = xdp and XDP_MODES.get(xdp.get_attr("IFLA_XDP_ATTACHED"))
    return LinkRecord(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mac=mac_octets(message.get_attr("IFLA_ADDRESS")),
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message["flags"] & IFF_LOWER_UP),
        arp_type=message["ifi_type"],
        kind=info and info.get_attr("IFLA_INFO_KIND"),
        rx_queues=message.get_attr("IFLA_NUM_RX_QUEUES") or 1,
        tx_queues=message.get_attr("IFLA_NUM_TX_QUEUES") or 1,
        xdp=mode or None,
        xdp_program=(xdp.get_attr("IFLA_XDP_PROG_ID") or None) if xdp else None,
    )


def neighbour_record(message: Any) -> NeighbourRecord | None:
    """The record of an RTM_NEWNEIGH or RTM_DELNEIGH message; None for what is no unicast IP neighbour."""
    address = message.get_attr("NDA_DST")
    if message["family"] not in (socket.AF_INET, socket.AF_INET6) or address is None:
        return None
    if ip_address(address).is_multicast:
        return None
    state = message["state"]
    mac = mac_octets(message.get_attr("NDA_LLADDR")) if state & NUD_HAS_MAC else None
    return NeighbourRecord(address, mac or None, state, message["header"]["type"] == RTM_DELNEIGH)


def links(netlink: NetlinkSocket) -> list[LinkRecord]:
    """Every interface of the namespace."""
    return [link_record(it) for it in netlink.dump(RTM_GETLINK, ifinfmsg())]


def link(netlink: NetlinkSocket, *, name: str | None = None, index: int = 0) -> LinkRecord | None:
    """One interface by name or index, or None when there is none."""
    message = ifinfmsg()
    message["index"] = index
    if name is not None:
        message["attrs"] = [("IFLA_IFNAME", name)]
    try:
        return link_record(netlink.request(RTM_GETLINK, message)[0])
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
            return None
        raise


def addresses(netlink: NetlinkSocket, index: int) -> list[tuple[str, int]]:
    """The interface's usable addresses with their prefix lengths, deprecated ones last.

    An IPv6 address whose uniqueness is not known yet is none (RFC 4862 5.4), an optimistic one is (RFC 4429).
    """
    message = ifaddrmsg()
    message["index"] = index
    rows = []
    for it in netlink.dump(RTM_GETADDR, message):
        flags = it.get_attr("IFA_FLAGS") or it["flags"]
        tentative = flags & IFA_F_TENTATIVE and not flags & IFA_F_OPTIMISTIC
        if it["index"] != index or tentative or flags & IFA_F_DADFAILED:
            continue
        address = it.get_attr("IFA_LOCAL") or it.get_attr("IFA_ADDRESS")
        rows.append((bool(flags & IFA_F_DEPRECATED), (address, it["prefixlen"])))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _next_hops(message: Any, index: int) -> Iterator[str | None]:
    """The gateways of a route over the interface; None for on-link."""
    hops = message.get_attr("RTA_MULTIPATH") or [message]
    for hop in hops:
        oif = hop["oif"] if "oif" in hop else hop.get_attr("RTA_OIF")
        if oif != index or hop["flags"] & (RTNH_F_DEAD | RTNH_F_LINKDOWN):
            continue
        via = hop.get_attr("RTA_VIA")
        yield hop.get_attr("RTA_GATEWAY") or (via and via["addr"]) or None


def routes(netlink: NetlinkSocket, index: int) -> list[Route]:
    """The unicast routes of the main table by the interface: rows as `Stack.set_routes` takes them."""
    rows: list[Route] = []
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        message = rtmsg()
        message["family"] = family
        message["attrs"] = [("RTA_TABLE", RT_TABLE_MAIN), ("RTA_OIF", index)]
        for it in netlink.dump(RTM_GETROUTE, message):
            if it["type"] != RTN_UNICAST or it.get_attr("RTA_TABLE") != RT_TABLE_MAIN:
                continue
            metrics = it.get_attr("RTA_METRICS")
            mtu = (metrics and metrics.get_attr("RTAX_MTU")) or 0
            advmss = (metrics and metrics.get_attr("RTAX_ADVMSS")) or 0
            metric = it.get_attr("RTA_PRIORITY") or 0
            destination = it.get_attr("RTA_DST") or anywhere
            source = it.get_attr("RTA_PREFSRC")
            for via in _next_hops(it, index):
                rows.append((destination, it["dst_len"], via, source, metric, mtu, advmss))
    return rows


def route_of_another(datagram: bytes, index: int) -> bool:
    """Whether a route event names another interface than this one, told without the cost of decoding it."""
    at = 28                             # netlink header and struct rtmsg
    while at + 4 <= len(datagram):
        length, kind = struct.unpack_from("=HH", datagram, at)
        if kind == RTA_OIF:
            return bool(struct.unpack_from("=I", datagram, at + 4)[0] != index)
        at += max(4, (length + 3) & ~3)
    return False


def link_is_up(datagram: bytes) -> bool:
    """Whether a link event says that the interface is up (struct ifinfomsg)."""
    return bool(struct.unpack_from("=I", datagram, 24)[0] & IFF_UP)


def neighbours(netlink: NetlinkSocket, index: int) -> list[NeighbourRecord]:
    """The interface's neighbour table, IPv4 and IPv6."""
    message = ndmsg()
    message["attrs"] = [("NDA_IFINDEX", index)]
    records = [neighbour_record(it) for it in netlink.dump(RTM_GETNEIGH, message)]
    return [it for it in records if it is not None]


def ask_neighbour(netlink: NetlinkSocket, index: int, address: str, probe: bool) -> None:
    """Make Linux resolve a neighbour, or, with `probe`, solicit one whose MAC it has. Raises OSError.

    NTF_USE does what a packet of the kernel's own would do. NTF_MANAGED would keep the entry fresh without
    being asked again, but the entry would stay behind, and be solicited forever, when this process is killed.
    Not to be used on a permanent entry: either request makes it an ordinary one.
    """
    message = ndmsg()
    message["family"] = socket.AF_INET6 if ":" in address else socket.AF_INET
    message["ifindex"] = index
    message["attrs"] = [("NDA_DST", address)]
    if probe:
        message["state"] = NUD_PROBE
        netlink.request(RTM_NEWNEIGH, message, NLM_F_REPLACE)
    else:
        message["flags"] = NTF_USE
        netlink.request(RTM_NEWNEIGH, message, NLM_F_CREATE)
