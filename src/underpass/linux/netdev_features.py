"""What an interface and its driver can do, asked of the kernel and never guessed from its version."""

import array
import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import GenericNetlinkSocket
from pyroute2.netlink import NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError

SIOCGIFHWADDR = 0x8927
SIOCGIFMTU = 0x8921
SIOCETHTOOL = 0x8946
ETHTOOL_GDRVINFO = 0x03
ETHTOOL_GCHANNELS = 0x3C
NETDEV_CMD_DEV_GET = 1

# <linux/netdev.h>, netdev_xdp_act
XDP_ACT_BASIC = 1
XDP_ACT_REDIRECT = 2
XDP_ACT_XSK_ZEROCOPY = 8
XDP_ACT_RX_SG = 32
# <linux/netdev.h>, netdev_xsk_flags
XSK_FLAGS_TX_CHECKSUM = 2

# Drivers that hand over a packet of the same machine with its checksum not filled in (CHECKSUM_PARTIAL).
PARTIAL_CHECKSUM_DRIVERS = frozenset({"veth", "tun", "virtio_net"})

NAPI_DEFER_HARD_IRQS = 2
GRO_FLUSH_TIMEOUT_NS = 200_000


@dataclass(frozen=True)
class NetdevFeatures:
    """One interface. The netlink family `netdev` is there since Linux 6.3; before, its fields are None."""

    name: str
    index: int
    mac: bytes
    mtu: int
    driver: str
    queues: int
    xdp_features: int | None
    zero_copy_segments: int | None  # descriptors that one packet may have in zero-copy mode
    xsk_features: int | None

    @property
    def zero_copy(self) -> bool | None:
        """Whether the driver offers zero-copy AF_XDP, None where the kernel does not say."""
        return None if self.xdp_features is None else bool(self.xdp_features & XDP_ACT_XSK_ZEROCOPY)

    @property
    def zero_copy_checksum(self) -> bool:
        """Whether the driver fills in checksums asked for by TX metadata in zero-copy mode."""
        return bool((self.xsk_features or 0) & XSK_FLAGS_TX_CHECKSUM)

    @property
    def partial_checksums(self) -> bool:
        """Whether received packets may carry a checksum that is only the pseudo-header sum."""
        return self.driver in PARTIAL_CHECKSUM_DRIVERS


class _NetdevMessage(genlmsg):  # type: ignore[misc]
    nla_map = (
        ("NETDEV_A_DEV_PAD0", "none"),
        ("NETDEV_A_DEV_IFINDEX", "uint32"),
        ("NETDEV_A_DEV_PAD", "none"),
        ("NETDEV_A_DEV_XDP_FEATURES", "uint64"),
        ("NETDEV_A_DEV_XDP_ZC_MAX_SEGS", "uint32"),
        ("NETDEV_A_DEV_XDP_RX_METADATA_FEATURES", "uint64"),
        ("NETDEV_A_DEV_XSK_FEATURES", "uint64"),
    )


def netdev_features(interface: str) -> NetdevFeatures:
    """Ask for everything about one interface. Raises OSError (ENODEV) that names those that exist."""
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        here = ", ".join(name for _, name in socket.if_nameindex())
        text = f"interface {interface} does not exist; interfaces here: {here}"
        raise OSError(errno.ENODEV, text) from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        mac = _ifreq(control, SIOCGIFHWADDR, interface)[18:24]
        (mtu,) = struct.unpack_from("i", _ifreq(control, SIOCGIFMTU, interface), 16)
        driver = _driver(control, interface)
        queues = _queues(control, interface)
    xdp, segments, xsk = _netdev_family(index)
    return NetdevFeatures(interface, index, mac, mtu, driver, queues, xdp, segments, xsk)


def chunk_bytes_for(mtu: int) -> int:
    """The smallest frame, 2048 or 4096 bytes, for an MTU; above 3818 a packet spans several frames.

    It holds the packet, its Ethernet header with two tags, and the 256 bytes that AF_XDP keeps in front.
    """
    return 2048 if mtu + 22 + 256 <= 2048 else 4096


@contextlib.contextmanager
def napi_deferred(interface: str) -> Iterator[str | None]:
    """Leave the interface's queues to busy polling; restores its settings at the end.

    Yields None, or why it could not be set. Without it SO_PREFER_BUSY_POLL has no effect.
    """
    folder = Path("/sys/class/net") / interface
    wanted = {"napi_defer_hard_irqs": NAPI_DEFER_HARD_IRQS, "gro_flush_timeout": GRO_FLUSH_TIMEOUT_NS}
    before: dict[str, str] = {}
    why = None
    try:
        if int((folder / "ifindex").read_text()) != socket.if_nametoindex(interface):
            raise OSError(errno.ENODEV, "/sys shows another network namespace")
        for name, value in wanted.items():
            before[name] = (folder / name).read_text()
            (folder / name).write_text(str(value))
    except OSError as error:
        why = f"napi_defer_hard_irqs and gro_flush_timeout of {interface} cannot be set: {error.strerror}"
    try:
        yield why
    finally:
        for name, old in before.items():
            with contextlib.suppress(OSError):
                (folder / name).write_text(old)


def _ifreq(control: socket.socket, request: int, interface: str) -> bytes:
    return fcntl.ioctl(control, request, struct.pack("16s24x", interface.encode()))


def _ethtool(control: socket.socket, interface: str, command: int, room: int) -> bytes | None:
    """The kernel's answer to one ethtool request, or None where the driver has none."""
    answer = array.array("B", struct.pack("=I", command) + bytes(room - 4))
    request = struct.pack("16sP16x", interface.encode(), answer.buffer_info()[0])
    try:
        fcntl.ioctl(control, SIOCETHTOOL, request)
    except OSError:
        return None
    return answer.tobytes()


def _driver(control: socket.socket, interface: str) -> str:
    answer = _ethtool(control, interface, ETHTOOL_GDRVINFO, 196)
    return answer[4:36].split(b"\0")[0].decode() if answer else "unknown"


def _queues(control: socket.socket, interface: str) -> int:
    """Receive queues in use: those of their own and the combined ones."""
    answer = _ethtool(control, interface, ETHTOOL_GCHANNELS, 36)
    if not answer:
        return 1
    receive, combined = struct.unpack_from("=I8xI", answer, 20)
    return max(1, int(receive) + int(combined))


def _netdev_family(index: int) -> tuple[int | None, int | None, int | None]:
    """(xdp-features, xdp-zc-max-segs, xsk-features) of an interface; None: the kernel does not tell."""
    message = _NetdevMessage()
    message["cmd"], message["version"] = NETDEV_CMD_DEV_GET, 1
    message["attrs"] = [("NETDEV_A_DEV_IFINDEX", index)]
    try:
        with GenericNetlinkSocket() as family:
            family.bind("netdev", _NetdevMessage)
            (answer,) = family.nlm_request(message, msg_type=family.prid, msg_flags=NLM_F_REQUEST)
    except (NetlinkError, OSError):
        return None, None, None
    return (
        answer.get_attr("NETDEV_A_DEV_XDP_FEATURES"),
        answer.get_attr("NETDEV_A_DEV_XDP_ZC_MAX_SEGS"),
        answer.get_attr("NETDEV_A_DEV_XSK_FEATURES"),
    )
