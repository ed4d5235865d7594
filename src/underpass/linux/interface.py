"""Facts of one interface: whether it is here, its driver and queues, and what it does for XDP and AF_XDP."""

import array
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass

from underpass.linux import netdev, netlink
from underpass.linux.netlink import LinkRecord
from underpass.linux.netlink_socket import NetlinkSocket

SIOCETHTOOL = 0x8946
ETHTOOL_GDRVINFO, ETHTOOL_GFLAGS, ETHTOOL_GRXFH, ETHTOOL_GCHANNELS = 0x03, 0x25, 0x29, 0x3C
ETH_FLAG_RXVLAN = 1 << 8
ARPHRD_ETHER = 1


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """What the kernel says of an interface. `netdev` is None where it cannot be asked (before 6.3)."""

    link: LinkRecord
    driver: str
    rx_queues: int
    netdev: netdev.Features | None
    addresses: list[tuple[str, int]]


def missing(ifname: str) -> OSError:
    """The error for an interface that is not here; it names those that are."""
    with NetlinkSocket() as asked:
        here = ", ".join(sorted(it.name for it in netlink.links(asked)))
    return OSError(errno.ENODEV, f"interface {ifname} does not exist; interfaces here: {here}")


def facts(ifname: str) -> InterfaceFacts:
    """Everything about an interface.

    Raises OSError: ENODEV, which names those that are here, or EOPNOTSUPP where it is no Ethernet.
    """
    with NetlinkSocket() as asked:
        link = netlink.link(asked, name=ifname)
        if link is None:
            raise missing(ifname)
        if link.arp_type != ARPHRD_ETHER:
            raise OSError(errno.EOPNOTSUPP, f"interface {ifname} does not carry Ethernet frames")
        addresses = netlink.addresses(asked, link.index)
    queues = channels(ifname) or link.rx_queues
    return InterfaceFacts(link, driver(ifname), queues, netdev.features(link.index), addresses)


def driver(ifname: str) -> str:
    """The driver's name, or "" where there is none to name."""
    answer = _ethtool(ifname, struct.pack("=I192x", ETHTOOL_GDRVINFO))
    return answer[4:36].split(b"\0")[0].decode() if answer else ""


def channels(ifname: str) -> int:
    """Receive queues in use (`ethtool -l`: RX and combined), or 0 where the driver does not tell."""
    counts = _channels(ifname)
    return counts[5] + counts[8]


def most_channels(ifname: str) -> int:
    """Combined queues that the device has at most (`ethtool -l`), or 0 where the driver does not tell."""
    return _channels(ifname)[4]


def _channels(ifname: str) -> tuple[int, ...]:
    """struct ethtool_channels: the command; RX, TX, other, combined at most; the same now. Zeros: untold."""
    answer = _ethtool(ifname, struct.pack("=I32x", ETHTOOL_GCHANNELS))
    return struct.unpack("=9I", answer) if answer else (0,) * 9


def hash_fields(ifname: str, flow_type: int) -> int:
    """What RSS hashes of a type of flow (RXH_ bits of linux/ethtool.h), 0 where the driver does not tell."""
    answer = _ethtool(ifname, struct.pack("=IIQ192x", ETHTOOL_GRXFH, flow_type, 0))
    return int(struct.unpack_from("=IIQ", answer)[2]) if answer else 0


def takes_tags_out(ifname: str) -> bool:
    """Whether the device takes VLAN tags out of packets (`ethtool -k`: rx-vlan-offload)."""
    answer = _ethtool(ifname, struct.pack("=II", ETHTOOL_GFLAGS, 0))
    return bool(answer and struct.unpack("=II", answer)[1] & ETH_FLAG_RXVLAN)


def _ethtool(ifname: str, request: bytes) -> bytes | None:
    """One SIOCETHTOOL request; None where the driver does not answer it."""
    data = array.array("B", request)
    ifreq = struct.pack("16sP16x", ifname.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            fcntl.ioctl(any_socket, SIOCETHTOOL, ifreq)
        except OSError:
            return None
    return data.tobytes()
