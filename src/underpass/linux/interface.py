"""Facts of one interface: whether it is here, what is attached to it, its driver and queues."""

import errno
from dataclasses import dataclass

from underpass.linux import netlink
from underpass.linux.netdev_features import NetdevFeatures, netdev_features
from underpass.linux.netlink import LinkRecord

ARPHRD_ETHER = 1


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """What the kernel says of an interface, and what its driver does for XDP and AF_XDP."""

    link: LinkRecord
    netdev: NetdevFeatures
    addresses: list[tuple[str, int]]


def missing(ifname: str) -> OSError:
    """The error for an interface that is not here; it names those that are."""
    with netlink.NetlinkSocket() as asked:
        here = ", ".join(sorted(it.name for it in netlink.links(asked)))
    return OSError(errno.ENODEV, f"interface {ifname} does not exist; interfaces here: {here}")


def facts(ifname: str) -> InterfaceFacts:
    """Everything about an interface.

    Raises OSError: ENODEV, which names those that are here, or EOPNOTSUPP where it is no Ethernet.
    """
    with netlink.NetlinkSocket() as asked:
        record = netlink.link(asked, name=ifname)
        if record is None:
            raise missing(ifname)
        if record.arp_type != ARPHRD_ETHER:
            raise OSError(errno.EOPNOTSUPP, f"interface {ifname} does not carry Ethernet frames")
        return InterfaceFacts(record, netdev_features(ifname), netlink.addresses(asked, record.index))
