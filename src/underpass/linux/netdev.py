"""The kernel's `netdev` generic netlink family (since 6.3): what a driver does for XDP and AF_XDP.

Spoken by hand: one question, one answer (Documentation/netlink/specs/netdev.yaml).
"""

import socket
import struct
import sys
from dataclasses import dataclass

NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 0x10, 3, 1, 2
NETDEV_CMD_DEV_GET = 1
NETDEV_A_DEV_IFINDEX = 1
NETDEV_A_DEV_XDP_FEATURES = 3
NETDEV_A_DEV_XDP_ZC_MAX_SEGS = 4
NETDEV_A_DEV_XSK_FEATURES = 6
NLM_F_REQUEST, NLMSG_ERROR = 1, 2

XDP_FEATURES = ("basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg")
XSK_FEATURES = ("tx-timestamp", "tx-checksum", "tx-launch-time-fifo")


@dataclass(frozen=True, slots=True)
class Features:
    """Names as in the kernel's netdev.yaml. `zc_max_segs`: frames that a zero-copy packet may span."""

    xdp: frozenset[str]
    xsk: frozenset[str]
    zc_max_segs: int


def features(index: int) -> Features | None:
    """The features of the interface with this index; None where the kernel cannot be asked."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC) as asked:
        asked.bind((0, 0))
        family = _ask(asked, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")
        if family is None:
            return None
        number = _integer(family, CTRL_ATTR_FAMILY_ID)
        answer = _ask(asked, number, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, struct.pack("=I", index))
    if answer is None:
        return None
    return Features(
        xdp=_names(XDP_FEATURES, _integer(answer, NETDEV_A_DEV_XDP_FEATURES)),
        xsk=_names(XSK_FEATURES, _integer(answer, NETDEV_A_DEV_XSK_FEATURES)),
        zc_max_segs=_integer(answer, NETDEV_A_DEV_XDP_ZC_MAX_SEGS) or 1,
    )


def _ask(asked: socket.socket, family: int, command: int, kind: int, value: bytes) -> dict[int, bytes] | None:
    """Send one request with one attribute; returns the attributes of the answer, or None for an error."""
    attribute = struct.pack("=HH", 4 + len(value), kind) + value
    attribute += bytes(-len(attribute) % 4)
    body = struct.pack("=BBH", command, 1, 0) + attribute
    asked.send(struct.pack("=IHHII", 16 + len(body), family, NLM_F_REQUEST, 1, 0) + body)
    answer = asked.recv(1 << 16)
    length, answered = struct.unpack_from("=IH", answer)
    if answered == NLMSG_ERROR:
        return None
    return _attributes(answer[20:length])


def _attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by kind; a truncated one ends the walk."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if not 4 <= length <= len(data) - at:
            break
        found[kind & 0x3FFF] = data[at + 4:at + length]
        at += (length + 3) & ~3
    return found


def _integer(attributes: dict[int, bytes], kind: int) -> int:
    """An unsigned integer of whatever size, 0 where it is missing."""
    octets = attributes.get(kind, b"")
    return int.from_bytes(octets, sys.byteorder)


def _names(names: tuple[str, ...], bits: int) -> frozenset[str]:
    return frozenset(name for number, name in enumerate(names) if bits >> number & 1)
