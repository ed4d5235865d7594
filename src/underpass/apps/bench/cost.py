"""What a server costs: processor time of its process, and of everything that worked for it on its core.

/proc/PID/task/*/schedstat counts the time that a task ran, in nanoseconds. Where interrupt time is not
accounted apart (CONFIG_IRQ_TIME_ACCOUNTING off, the usual case), that includes soft interrupts that came
meanwhile: a server's figure holds receive work done in its context. Soft interrupts that interrupted nobody
appear only in the ticks of /proc/stat, 10 ms each; they are added for the whole core, some of them twice. The
core's idle time, which the kernel counts finer than it prints it, gives a second figure, from the other side.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# What a connection of Linux's TCP is made of, the socket's file and its place in an epoll set among it.
SOCKET_CACHES = ("TCP", "TCPv6", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq")
HOW = "process and threads: /proc/PID/task/*/schedstat; soft interrupts: /proc/stat"


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time in nanoseconds, since boot or between two readings."""

    wall_ns: int
    process_ns: int         # the server's processes
    kernel_ns: int          # the core's kernel threads: NAPI, ksoftirqd
    softirq_ns: int         # ticks of the core in soft interrupts
    busy_ns: int            # the core, whatever it did

    def __sub__(self, before: "Usage") -> "Usage":
        return Usage(*(getattr(self, name) - getattr(before, name) for name in self.__slots__))

    @property
    def core_ns(self) -> int:
        """The whole server core: process, NAPI thread, ksoftirqd, and soft interrupts."""
        return self.process_ns + self.kernel_ns + self.softirq_ns


def run_ns(pid: int) -> int:
    """How long all threads of a process have run; 0 when it is gone."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except (OSError, IndexError):
            continue
    return total


def core_ticks(core: int) -> list[int]:
    """The core's row of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            return [int(field) for field in fields]
    raise OSError(f"this machine has no core {core}")


def kernel_threads(prefixes: Iterable[str]) -> dict[int, str]:
    """Kernel threads whose name begins so: pid and name."""
    wanted = tuple(prefixes)
    found = {}
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            name = path.read_text().strip()
        except OSError:
            continue
        if name.startswith(wanted):
            found[int(path.parent.name)] = name
    return found


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        try:
            for path in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return found


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory of the processes, shared pages counted once (the sum of Pss of /proc/PID/smaps_rollup)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def socket_slab_bytes() -> int:
    """Memory of the kernel's sockets on this machine (objects in use of SOCKET_CACHES, /proc/slabinfo)."""
    rows = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    return sum(int(in_use) * int(size) for name, in_use, _, size, *_ in rows if name in SOCKET_CACHES)


class Meter:
    """Reads the usage of a server's processes and of the kernel threads that work on its core."""

    def __init__(self, pid: int, core: int, interface: str) -> None:
        self.pid = pid
        self.core = core
        self.threads = [*kernel_threads([f"napi/{interface}-"]), *kernel_threads([f"ksoftirqd/{core}"])]

    def read(self) -> Usage:
        """Usage until now."""
        ticks = core_ticks(self.core)
        wall = time.monotonic_ns()
        return Usage(
            wall_ns=wall, process_ns=sum(run_ns(pid) for pid in family(self.pid)),
            kernel_ns=sum(run_ns(pid) for pid in self.threads), softirq_ns=ticks[6] * TICK_NS,
            busy_ns=wall - (ticks[3] + ticks[4]) * TICK_NS)
