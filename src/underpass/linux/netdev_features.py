"""What AF_XDP has to know of an interface: `xdp` and `link` are handed these facts, and ask nobody."""

import contextlib
import dataclasses
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from underpass.linux import interface as interfaces
from underpass.linux.kernel import KERNEL_GENERIC_MULTI_BUFFER, KERNEL_MULTI_BUFFER, kernel_version

# Drivers that hand over a packet of the same machine with its checksum not filled in (CHECKSUM_PARTIAL), and
# devices that pass on what such a one below them has received, by the names that ethtool has for them.
PARTIAL_CHECKSUM_DRIVERS = frozenset({
    "veth", "tun", "virtio_net", "bridge", "bonding", "team", "macvlan", "ipvlan", "802.1Q VLAN Support"})
# Drivers whose receive work is done by a packet's sender: there is no interrupt that polling could replace.
SENDER_DELIVERS_DRIVERS = frozenset({"veth", "tun"})
# Devices that cut nothing up, although the kernel leaves it to them.
WHOLE_PACKET_DRIVERS = frozenset({"veth"})
# Drivers that have more queues while an XDP program is attached.
ADDING_DRIVERS = frozenset({"virtio_net"})
# Drivers that tell the card the size of a frame in KiB, rounded down, and in zero-copy mode what
# is beyond is cut off: seen of igb, read in igc and ixgbe (82599).
KIB_DRIVERS = frozenset({"igb", "igc", "ixgbe"})
# What a driver that offers zero-copy may lack all the same, and the kernel then does not say.
ZERO_COPY_NEEDS = {"virtio_net": "the virtual device has to be made with iommu_platform=on"}
# Documentation/networking/af_xdp.rst: without these, SO_PREFER_BUSY_POLL has no effect.
BUSY_POLL_SETTINGS = {"napi_defer_hard_irqs": "2", "gro_flush_timeout": "200000"}


@dataclass(frozen=True)
class NetdevFeatures:
    """One interface, as it was when it was asked for."""

    name: str
    index: int
    mac: bytes
    mtu: int
    driver: str
    queues: int
    zero_copy: bool | None  # the driver offers zero-copy AF_XDP; None: the kernel does not say (before 6.3)
    zero_copy_checksum: bool  # the driver fills in checksums by TX metadata in zero-copy mode
    copy_because: str = ""  # why zero-copy is left although the driver offers it
    threaded: bool = False  # receive work runs in threads of its own (threaded NAPI)

    @property
    def partial_checksums(self) -> bool:
        """Whether received packets may carry a checksum that is only the pseudo-header sum."""
        return self.driver in PARTIAL_CHECKSUM_DRIVERS

    @property
    def sender_delivers(self) -> bool:
        """Whether packets come by themselves, so that busy polling is no more than looking for them."""
        return self.driver in SENDER_DELIVERS_DRIVERS

    def modes(self, whole: bool = True) -> tuple[str, ...]:
        """The modes of XDP, the better one first: the driver's own, but for a device that cuts nothing up
        where packets may span frames (`whole`). There native XDP has the peer cut up what it sends, the
        kernel's own traffic too, and takes a packet no faster, unless receive work has threads of its own. Of
        several queues generic XDP sees the first: veth says by which a packet came to native XDP alone.
        """
        if (whole and self.driver in WHOLE_PACKET_DRIVERS and self.queues == 1 and not self.threaded
                and kernel_version() >= KERNEL_GENERIC_MULTI_BUFFER):
            return "generic", "native"
        return "native", "generic"

    def hands_over_whole(self, mode: str) -> bool:
        """Whether packets come as large as their sender's kernel made them, up to 64 KiB: where that leaves
        it to a device to cut them up, and to fill in checksums, nobody does so on the way to generic XDP.
        Linux before 6.6 has no sockets that would take them.
        """
        return mode == "generic" and self.partial_checksums and kernel_version() >= KERNEL_MULTI_BUFFER

    @property
    def receive_unit(self) -> int:
        """Octets by which the room in a frame counts: see `link.afxdp.receive_room`."""
        return 1024 if self.driver in KIB_DRIVERS else 1

    @property
    def zero_copy_needs(self) -> str:
        """What has to be so beside the driver's offer, "" where nothing is known."""
        return ZERO_COPY_NEEDS.get(self.driver, "")

    @contextlib.contextmanager
    def napi_deferred(self) -> Iterator[str | None]:
        """Leave the interface's queues to busy polling, and restore its settings at the end.

        Yields None, or why that could not be done.
        """
        before: dict[str, str] = {}
        why = None
        try:
            folder = sys_folder(self.name, self.index)
            for name, value in BUSY_POLL_SETTINGS.items():
                before[name] = (folder / name).read_text()
                (folder / name).write_text(value)
        except OSError as error:
            settings = " and ".join(BUSY_POLL_SETTINGS)
            why = f"{settings} of {self.name} cannot be set: {error.strerror}"
        try:
            yield why
        finally:
            for name, old in before.items():
                with contextlib.suppress(OSError):
                    (folder / name).write_text(old)


def netdev_features(interface: str) -> NetdevFeatures:
    """Ask for everything about one interface. Raises OSError (ENODEV) that names those that exist."""
    facts = interfaces.facts(interface)
    return NetdevFeatures(
        name=interface,
        index=facts.link.index,
        mac=facts.link.mac,
        mtu=facts.link.mtu,
        driver=facts.driver or "unknown",
        queues=facts.rx_queues,
        zero_copy=None if facts.netdev is None else "xsk-zerocopy" in facts.netdev.xdp,
        zero_copy_checksum=facts.netdev is not None and "tx-checksum" in facts.netdev.xsk,
        threaded=threaded(interface, facts.link.index),
    )


def threaded(name: str, index: int) -> bool:
    """Whether the interface's receive work has threads of its own; False where /sys does not show it."""
    try:
        return int((sys_folder(name, index) / "threaded").read_text()) != 0
    except OSError:
        return False


def sys_folder(name: str, index: int) -> Path:
    """Where the interface's settings are. Raises OSError where /sys is another network namespace's."""
    folder = Path("/sys/class/net") / name
    if int((folder / "ifindex").read_text()) != index:
        raise OSError(errno.ENODEV, "/sys shows another network namespace")
    return folder


def as_attached(netdev: NetdevFeatures) -> NetdevFeatures:
    """The same, once an XDP program is attached: virtio_net then has more receive queues, and uses them all.

    Linux 7.3 forgets no zero-copy socket on these where the program goes first, and crashes at the next one's
    attachment. Processes that are killed leave in no order, so such queues are not used in zero-copy mode.
    """
    queues = interfaces.channels(netdev.name) or netdev.queues
    if queues <= netdev.queues or netdev.driver not in ADDING_DRIVERS:
        return dataclasses.replace(netdev, queues=queues)
    most = interfaces.most_channels(netdev.name)
    why = (f"{netdev.driver} has {queues} queues instead of {netdev.queues} while XDP is attached, and Linux"
           f" may crash with zero-copy on those: `ethtool -L {netdev.name} combined {most}` before")
    return dataclasses.replace(netdev, queues=queues, copy_because=why)
