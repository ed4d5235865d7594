"""The kernel's `netdev` generic netlink family (since 6.3): what a driver does for XDP and AF_XDP.

Documentation/netlink/specs/netdev.yaml has it in full.
"""

import struct
from dataclasses import dataclass

from underpass.linux import genetlink
from underpass.linux.netlink_message import integer

NETDEV_CMD_DEV_GET = 1
NETDEV_A_DEV_IFINDEX = 1
NETDEV_A_DEV_XDP_FEATURES = 3
NETDEV_A_DEV_XDP_ZC_MAX_SEGS = 4
NETDEV_A_DEV_XSK_FEATURES = 6

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
    answer = genetlink.ask("netdev", NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, struct.pack("=I", index))
    if answer is None:
        return None
    return Features(
        xdp=_names(XDP_FEATURES, integer(answer, NETDEV_A_DEV_XDP_FEATURES)),
        xsk=_names(XSK_FEATURES, integer(answer, NETDEV_A_DEV_XSK_FEATURES)),
        zc_max_segs=integer(answer, NETDEV_A_DEV_XDP_ZC_MAX_SEGS) or 1,
    )


def _names(names: tuple[str, ...], bits: int) -> frozenset[str]:
    return frozenset(name for number, name in enumerate(names) if bits >> number & 1)
