"""What the agent can do with an interface of the machine that it runs on, all in terms of JSON.

One link at a time is open, between `open` and `close`; programs run between `start` and `stop`.
"""

import dataclasses
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from underpass.link.afxdp import AfXdpLink, chunk_bytes_for
from underpass.link.frames import Frames
from underpass.linux import interface as interfaces
from underpass.linux import rss
from underpass.linux.netdev_features import as_attached, netdev_features
from underpass.testing.probe_link import LinkProbe
from underpass.xdp.loader import XdpProgram, attached_program

FRAMES = 4096
AF_XDP, SOL_XDP, XDP_MMAP_OFFSETS = 44, 283, 1
FILL_RING, TX_RING = 0x1_0000_0000, 0x8000_0000       # XDP_UMEM_PGOFF_FILL_RING, XDP_PGOFF_TX_RING
NEED_WAKEUP = 1
PATIENCE_S = 30.0


# the machine

def run(argv: list[str]) -> str:
    """Run a program to its end; what it wrote. Raises RuntimeError with that where it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=50)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}: {done.stdout}")
    return done.stdout


def configure(interface: str, mac: str, addresses: list[str], neighbours: dict[str, str]) -> None:
    """Find the card by its MAC, name it, and give it addresses."""
    (found,) = [path.parent.name for path in Path("/sys/class/net").glob("*/address")
                if path.read_text().strip() == mac]
    run(["ip", "link", "set", found, "name", interface])
    run(["ip", "link", "set", interface, "up"])
    for address in addresses:
        run(["ip", "addr", "add", address, "dev", interface, *(["nodad"] if ":" in address else [])])
    for address, lladdr in neighbours.items():
        run(["ip", "neigh", "replace", address, "lladdr", lladdr, "dev", interface])


def set_queues(interface: str, count: int) -> None:
    """Have the device use so many."""
    run(["ethtool", "-L", interface, "combined", str(count)])


def facts(interface: str) -> dict[str, Any]:
    """What the kernel says of the interface."""
    found = interfaces.facts(interface)
    offered = found.netdev
    return {"driver": found.driver, "queues": found.rx_queues, "up": found.link.up,
            "xdp": sorted(offered.xdp) if offered else None, "xsk": sorted(offered.xsk) if offered else None,
            "attached": attached_program(found.link.index)}


def wait_for_carrier(interface: str, there: bool = True) -> None:
    """Until the cable carries: a card may be reset by an attachment, and then negotiate for some seconds."""
    end = time.monotonic() + PATIENCE_S
    while ("LOWER_UP" in run(["ip", "link", "show", interface])) is not there:
        if time.monotonic() > end:
            raise RuntimeError(f"{interface} has {'no' if there else 'still a'} carrier")
        time.sleep(0.05)


def spread(interface: str) -> dict[str, Any] | None:
    """How the device spreads TCP over its queues, where it tells."""
    found = rss.spread(interface, interfaces.facts(interface).link.index)
    return found and dataclasses.asdict(found) | {"key": found.key.hex()}


# a link

@dataclasses.dataclass
class Opened:
    """The link that is open, with what belongs to it."""

    link: AfXdpLink
    probe: LinkProbe
    program: XdpProgram
    undo: ExitStack

    @property
    def to_receive(self) -> int:
        """Frames that the kernel has to receive into, once nothing is on its way."""
        count = len(self.link.queues)
        return count * min(self.link.ring_size, self.link.frames.count // (2 * count))


_opened: list[Opened] = []


def open(interface: str, claims: list[tuple[str, int]], mode: str = "auto", queues: list[int] | None = None,
         pretend: bool = False, **options: Any) -> dict[str, Any]:
    """Put a link under the interface: which path is active.

    `pretend`: as if the driver summed in zero-copy mode.
    """
    netdev = netdev_features(interface)
    if pretend:
        netdev = dataclasses.replace(netdev, zero_copy_checksum=True)
    with ExitStack() as undo:
        program = undo.enter_context(XdpProgram(netdev, mode))
        netdev = as_attached(netdev)
        for address, port in claims:
            program.claim(address, port)
        link = AfXdpLink(Frames(FRAMES, chunk_bytes_for(netdev.mtu, netdev.receive_unit)), netdev,
                         range(netdev.queues) if queues is None else queues, program=program, **options)
        undo.callback(link.close)
        wait_for_carrier(interface)
        _opened.append(Opened(link, LinkProbe(link), program, undo.pop_all()))
    return {**link.facts(), "kernel": facts(interface)}


def receive(count: int) -> dict[str, list[Any]]:
    """So many packets in hexadecimal, or those that came within 20 s, each with the queue that it came by."""
    probe, end = _opened[-1].probe, time.monotonic() + PATIENCE_S
    packets: list[str] = []
    queues: list[int] = []
    while len(packets) < count and time.monotonic() < end:
        packets += [packet.hex() for packet in probe.receive()]
        queues += probe.queues
        select.select([probe.link.wait_fd], [], [], 0.05)
    return {"packets": packets, "queues": queues}


def transmit(packets: list[str], queue: int = 0, checksum: tuple[int, int] | None = None) -> int:
    """Send; how many the link took."""
    return _opened[-1].probe.transmit(map(bytes.fromhex, packets), queue=queue, checksum=checksum)


def settle() -> dict[str, int]:
    """Wait for what was sent to come back: all counters, and how many frames did not."""
    it, end = _opened[-1], time.monotonic() + PATIENCE_S
    while (away := it.link.frames.count - it.link.frames.free - it.to_receive) > 0 and time.monotonic() < end:
        it.probe.receive()
        time.sleep(0.01)
    return {"away": away, **it.link.stats(), **it.program.counters()}


def wakeup_flags() -> list[tuple[bool, bool]]:
    """Whether the kernel wants to be called, of each queue: for frames to receive into, and to send."""
    return [(_flag(fd, FILL_RING, 2), _flag(fd, TX_RING, 1)) for fd in _opened[-1].link.fds]


def _flag(fd: int, page: int, ring: int) -> bool:
    """The flag of one ring; `ring` is its place in struct xdp_mmap_offsets (rx, tx, fill, completion)."""
    with socket.socket(AF_XDP, socket.SOCK_RAW, 0, os.dup(fd)) as xsk:
        offsets = struct.unpack("=16Q", xsk.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
    with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ, offset=page) as mapped:
        return bool(struct.unpack_from("=I", mapped, offsets[4 * ring + 3])[0] & NEED_WAKEUP)


def close() -> int:
    """Close the link, detach the program: frames that did not come back."""
    it = _opened.pop()
    it.undo.close()
    return it.link.frames.count - it.link.frames.free


# programs

_running: dict[int, tuple[subprocess.Popen[str], Any]] = {}


def start(argv: list[str], until: str) -> dict[str, Any]:
    """Start a program of the package's environment and wait until it writes that word."""
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115
    process = subprocess.Popen([sys.executable, "-u", *argv], stdout=output, stderr=output, text=True)
    end = time.monotonic() + PATIENCE_S
    while until not in _written(output):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise RuntimeError(f"{' '.join(argv)}: status {process.wait()}, wrote {_written(output)!r}")
        time.sleep(0.05)
    _running[process.pid] = process, output
    return {"pid": process.pid, "said": _written(output)}


def children(pid: int) -> list[int]:
    """The processes that it has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def underpass(argv: list[str]) -> str:
    """Run a command of ours to its end."""
    return run([sys.executable, "-m", "underpass.cli", *argv])


def stop(pid: int) -> dict[str, Any]:
    """End it by SIGTERM: its status and all that it wrote."""
    process, output = _running.pop(pid)
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(PATIENCE_S)
    finally:
        process.kill()
    with output:
        return {"status": status, "said": _written(output)}


def _written(output: Any) -> str:
    output.seek(0)
    return str(output.read())


def make_site(sizes: dict[str, int]) -> str:
    """A directory to be served, with files of those sizes."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name, size in sizes.items():
        (folder / name).write_bytes((name.encode() * (size // len(name) + 1))[:size])
    return str(folder)
