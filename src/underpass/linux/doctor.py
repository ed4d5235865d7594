"""What this machine and an interface can do, what will be used, and why not better. Nothing is changed."""

import ctypes
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from underpass.linux import bypassed, privileges
from underpass.linux.finding import Finding
from underpass.linux.holders import holders
from underpass.linux.interface import InterfaceFacts, facts, most_channels, takes_tags_out
from underpass.linux.kernel import KERNEL_FLOOR, KERNEL_MULTI_BUFFER, KERNEL_TX_METADATA, kernel_version
from underpass.linux.netdev_features import ADDING_DRIVERS, ZERO_COPY_NEEDS, netdev_features
from underpass.linux.netlink import LinkRecord
from underpass.xdp.steer_object import FEATURES, why_not, why_refused

CAP_IPC_LOCK = 14
UMEM_BYTES = 16384 * 2048               # of the default number of frames
PLAIN_MTU_MAX = 3506                    # above, native XDP needs a program for several buffers
SYSCTL = Path("/proc/sys/net")


def examine(interface: str | None = None, addresses: Sequence[str] = (),
            port: int | None = None) -> list[Finding]:
    """Check the machine and, where one is named, an interface. Never raises for what it finds.

    `addresses` (none: all of the interface's) and `port` (None: any) are what is to be served: filters of the
    host that no longer see it are named.
    """
    findings = [*_kernel(kernel_version()), _libbpf(), _privileges(), _locked_memory(), _jit(),
                _features(), _source_ports()]
    if interface is not None:
        try:
            found = facts(interface)
        except OSError as error:
            findings.append(Finding("interface", "fail", str(error.strerror), "name an Ethernet interface"))
        else:
            findings += _interface(found)
            findings += bypassed.nftables(interface, addresses or [it for it, _ in found.addresses], port)
            findings += bypassed.traffic_control(interface, trains=not _zero_copy_offered(found))
    return findings


def _kernel(version: tuple[int, int]) -> Iterator[Finding]:
    text = "Linux {}.{}".format(*version)
    if version < KERNEL_FLOOR:
        yield Finding("kernel", "fail", text, "Underpass needs Linux 6.1")
    else:
        yield Finding("kernel", "ok", f"{text} (6.1 is needed)")
    for name, since, effect in (
        ("multi-buffer", KERNEL_MULTI_BUFFER, "without it a packet must fit a frame: MTU 3818 at most"),
        ("TX metadata", KERNEL_TX_METADATA, "without it checksums are computed in software"),
    ):
        needed = "Linux {}.{}".format(*since)
        if version >= since:
            yield Finding(name, "ok", f"AF_XDP has it since {needed}")
        else:
            yield Finding(name, "warn", effect, f"it comes with {needed}")


def _libbpf() -> Finding:
    try:
        library = ctypes.CDLL("libbpf.so.1")
    except OSError:
        return Finding("libbpf", "fail", "libbpf.so.1 is not installed", "install libbpf1 (Debian) or libbpf")
    library.libbpf_version_string.restype = ctypes.c_char_p
    return Finding("libbpf", "ok", f"libbpf {library.libbpf_version_string().decode()}")


def _privileges() -> Finding:
    names = privileges.lacking()
    if not names:
        return Finding("privileges", "ok", ", ".join(privileges.NEEDED))
    what = "; ".join(f"{name} to {privileges.NEEDED[name][1]}" for name in names)
    return Finding("privileges", "fail", f"missing: {what}", "run as root (sudo), or grant them")


def _locked_memory() -> Finding:
    """The kernel counts the frames against RLIMIT_MEMLOCK, unless CAP_IPC_LOCK lifts it."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if privileges.effective() >> CAP_IPC_LOCK & 1:
        return Finding("locked memory", "ok", "CAP_IPC_LOCK: no limit")
    if limit == resource.RLIM_INFINITY or limit >= UMEM_BYTES:
        return Finding("locked memory", "ok", "RLIMIT_MEMLOCK is large enough for the frames")
    return Finding("locked memory", "fail", f"RLIMIT_MEMLOCK is {limit >> 10} KiB, the frames take "
                   f"{UMEM_BYTES >> 10} KiB", "raise it (ulimit -l), grant CAP_IPC_LOCK, or use fewer frames")


def _jit() -> Finding:
    if _read(SYSCTL / "core/bpf_jit_enable") == "0":
        return Finding("BPF JIT", "warn", "switched off: XDP programs are interpreted",
                       "sysctl net.core.bpf_jit_enable=1")
    return Finding("BPF JIT", "ok", "XDP programs run as machine code")


def _features() -> Finding:
    """Which parts of the XDP program the kernel takes: they are loaded for a moment, and attached nowhere."""
    name = "XDP features"
    if privileges.lacking():
        return Finding(name, "warn", "not known without privileges", "run as root (sudo)")
    bare = why_not(())
    if bare is not None:
        return Finding(name, "fail", f"the kernel refuses the program: {bare}", "Underpass needs Linux 6.1")
    refused = why_refused(FEATURES)
    if not refused:
        return Finding(name, "ok", f"the kernel takes all: {', '.join(FEATURES)}")
    taken = ", ".join(it for it in FEATURES if it not in refused) or "none"
    said = "; ".join(f"{feature} ({why})" for feature, why in refused.items())
    return Finding(name, "warn", f"refused: {said}; taken: {taken}", "another kernel, or go on without them")


def _source_ports() -> Finding:
    path = SYSCTL / "ipv4/ip_local_reserved_ports"
    if os.access(path, os.W_OK):
        return Finding("source ports", "ok", f"kernel: {_read(SYSCTL / 'ipv4/ip_local_port_range')}, "
                                             f"reserved: {_read(path) or 'none'}")
    return Finding("source ports", "warn", "net.ipv4.ip_local_reserved_ports cannot be written: no outgoing "
                   "connections", "run as root of the network namespace")


def _interface(found: InterfaceFacts) -> Iterator[Finding]:
    link = found.link
    driver = found.driver or "unknown driver"
    where = f"{link.name}: {driver}, {found.rx_queues} receive queue(s), MTU {link.mtu}"
    if link.up:
        yield Finding("interface", "ok", where)
    else:
        yield Finding("interface", "fail", f"{where}, down", f"ip link set {link.name} up")
    addresses = ", ".join(f"{address}/{prefix}" for address, prefix in found.addresses)
    yield (Finding("addresses", "ok", addresses) if addresses else
           Finding("addresses", "warn", "none: nothing can be served",
                   f"ip addr add ADDRESS dev {link.name}"))
    yield _program(link)
    yield _native(found)
    yield _jumbo(found)
    yield _zero_copy(found)
    yield _checksum(found)
    yield _segmentation(found)
    yield Finding("need-wakeup", "ok", "the kernel is called only when it asks to be (since Linux 5.4)")
    yield _busy_poll(found)
    yield _tags(link.name)


def _program(link: LinkRecord) -> Finding:
    if not link.xdp:
        return Finding("XDP program", "ok", "none attached")
    by = ", ".join(map(str, holders(link.xdp_program or 0)))
    return Finding("XDP program", "fail", f"{link.name} runs XDP program {link.xdp_program} ({link.xdp})"
                   + (f", held by {by}" if by else ""),
                   f"stop what attached it, or `ip link set dev {link.name} xdp off`")


def _tags(ifname: str) -> Finding:
    """XDP sees such a packet without its tag: what answers it goes out without one, too."""
    if takes_tags_out(ifname):
        return Finding("VLAN tags", "warn", f"{ifname} takes them out: XDP sees untagged packets",
                       f"where there are such, ethtool -K {ifname} rxvlan off")
    return Finding("VLAN tags", "ok", "come in the packet, and are answered with")


def _native(found: InterfaceFacts) -> Finding:
    if found.netdev is None:
        return Finding("native XDP", "warn", "the kernel does not tell: attaching tries", "Linux 6.3 tells")
    if {"basic", "redirect"} <= found.netdev.xdp:
        other = netdev_features(found.link.name).modes()[0] == "generic"
        return Finding("native XDP", "ok", f"the driver {found.driver} has it"
                                           + (", generic XDP is better here, and used" if other else ""))
    return Finding("native XDP", "warn", f"the driver {found.driver} does not offer it: generic XDP is used",
                   "a driver with native XDP; for some, fewer queues or offloads")


def _jumbo(found: InterfaceFacts) -> Finding:
    if found.link.mtu <= PLAIN_MTU_MAX:
        return Finding("jumbo frames", "ok", f"not needed for an MTU of {found.link.mtu}")
    if kernel_version() < KERNEL_MULTI_BUFFER or (found.netdev and "rx-sg" not in found.netdev.xdp):
        return Finding("jumbo frames", "fail", f"an MTU of {found.link.mtu} needs XDP multi-buffer",
                       f"ip link set {found.link.name} mtu {PLAIN_MTU_MAX}, or Linux 6.6 and such a driver")
    return Finding("jumbo frames", "ok", "packets span several buffers")


def _zero_copy_offered(found: InterfaceFacts) -> bool:
    return found.netdev is not None and "xsk-zerocopy" in found.netdev.xdp


def _zero_copy(found: InterfaceFacts) -> Finding:
    if _zero_copy_offered(found):
        return _adds_queues(found) or Finding("zero-copy", "ok", "; ".join(
            [f"the driver {found.driver} has it", *filter(None, [ZERO_COPY_NEEDS.get(found.driver)])]))
    return Finding("zero-copy", "warn", f"the driver {found.driver} does not offer it: the kernel copies",
                   "a network card whose driver has AF_XDP zero-copy (i40e, ice, mlx5, igb, ...)")


def _adds_queues(found: InterfaceFacts) -> Finding | None:
    """See `as_attached`: the driver adds a queue for each core where the device has so many to spare."""
    name, most = found.link.name, most_channels(found.link.name)
    if found.driver not in ADDING_DRIVERS or found.link.xdp or found.rx_queues + (os.cpu_count() or 1) > most:
        return None
    return Finding("zero-copy", "warn", f"{found.driver} adds queues with XDP attached: the kernel copies",
                   f"ethtool -L {name} combined {most}")


def _checksum(found: InterfaceFacts) -> Finding:
    """In copy mode the kernel does it, in zero-copy mode the driver has to (xsk-features)."""
    if kernel_version() < KERNEL_TX_METADATA:
        return Finding("checksum offload", "warn", "software", "Linux 6.8")
    if _zero_copy_offered(found) and found.netdev is not None and "tx-checksum" not in found.netdev.xsk:
        return Finding("checksum offload", "warn", "software: the driver has none in zero-copy mode",
                       "a driver with xsk-features tx-checksum")
    return Finding("checksum offload", "ok", "by TX metadata")


def _segmentation(found: InterfaceFacts) -> Finding:
    """In copy mode by a packet socket, in zero-copy mode not at all: AF_XDP has none."""
    if _zero_copy_offered(found):
        return Finding("segmentation offload", "ok", "not used: zero-copy sends each segment by itself")
    return Finding("segmentation offload", "ok", "a connection's next 64 KiB leave as one packet")


def _busy_poll(found: InterfaceFacts) -> Finding:
    folder = Path("/sys/class/net") / found.link.name
    if _read(folder / "ifindex") != str(found.link.index):
        return Finding("busy poll", "warn", "/sys shows another network namespace: it cannot be set up",
                       "enter the namespace with `ip netns exec`")
    if not os.access(folder / "napi_defer_hard_irqs", os.W_OK):
        return Finding("busy poll", "warn", "napi_defer_hard_irqs cannot be written", "run as root")
    return Finding("busy poll", "ok", "can be switched on")


def _read(path: Path) -> str:
    """A file's words, "" where it cannot be read."""
    try:
        return " ".join(path.read_text().split())
    except OSError:
        return ""
