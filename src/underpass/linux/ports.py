"""Source ports for the stack's own connections, taken from the kernel: net.ipv4.ip_local_reserved_ports.

The kernel gives none of these ports to its own sockets, so that XDP can tell by the port alone whose a
segment is, and opening a connection costs no system call. The sysctl belongs to the network namespace and to
its administrator: only our own range is ever added, and only it is taken away again.

Each range has a file in /run/underpass that its owner keeps locked, so that a range whose owner was killed
is told from one in use: the lock is gone. The next reservation in the namespace gives such a range back.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from underpass.closing import Closing
from underpass.linux.claims import kernel_sockets
from underpass.linux.cookie import namespace_cookie

RUN = Path("/run/underpass")
SYSCTL = Path("/proc/sys/net/ipv4")
RESERVED = SYSCTL / "ip_local_reserved_ports"
SYSCTL_OCTETS = 1 << 19                 # more than 65,536 ports can take
DEFAULT_COUNT = 8192
LEAST_COUNT = 256
FIRST_ALLOWED = 10240                   # below lie the ports of services
LEFT_TO_KERNEL = 4096                   # ports of ip_local_port_range that the kernel keeps
LOCK_SECONDS = 5.0
TIME_WAIT = "06"                        # as /proc/net/tcp writes it

_FILE = re.compile(r"^ports-(\d+)-(\d+)-(\d+)$")


class PortRange(Closing):
    """Ports `first` to `last` are the stack's until closed.

    Takes `count` ports, or, where no run of so many is free, the longest half, quarter, ... of it that is.
    Raises OSError: EADDRINUSE where not even 256 are free, EACCES or EROFS where the kernel does not let us.
    """

    def __init__(self, count: int = DEFAULT_COUNT) -> None:
        self.first = self.last = 0
        self._file = -1
        # Stays open: it is this namespace's, wherever the process is when it closes the range.
        self._sysctl = os.open(RESERVED, os.O_RDWR | os.O_CLOEXEC)
        try:
            with _registry():
                self._reserve(count)
        except BaseException:
            self._forget()
            raise

    @classmethod
    def adopted(cls, first: int, last: int, lock_fd: int) -> Self:
        """The range that another process has reserved, whose lock is ours from now on."""
        it = cls.__new__(cls)
        it.first, it.last, it._file = first, last, lock_fd
        it._sysctl = os.open(RESERVED, os.O_RDWR | os.O_CLOEXEC)
        it._path = it._file_of()
        return it

    def _file_of(self) -> Path:
        return RUN / f"ports-{namespace_cookie()}-{self.first}-{self.last}"

    def _reserve(self, count: int) -> None:
        _sweep()
        self.first, self.last = _choose(count)
        self._path = self._file_of()
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._rewrite(set.union)
        except OSError as error:
            raise OSError(error.errno, f"cannot reserve source ports: {error.strerror}") from None

    @property
    def lock_fd(self) -> int:
        """While it is open the range counts as in use: to be passed to whoever else uses the ports."""
        return self._file

    def close(self) -> None:
        """Give the ports back to the kernel. May be called twice."""
        if self._file < 0:
            return
        with _registry():
            self._rewrite(set.difference)
            self._forget()

    def _rewrite(self, change: Callable[[set[int], set[int]], set[int]]) -> None:
        """Add our range to the reserved ports or take it away, and leave all others as they are."""
        before = parse_ports(os.pread(self._sysctl, SYSCTL_OCTETS, 0).decode())
        after = change(before, set(range(self.first, self.last + 1)))
        os.pwrite(self._sysctl, f"{format_ports(after)}\n".encode(), 0)

    def _forget(self) -> None:
        """Close the descriptors, and with them the lock; the range's file goes first."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
        os.close(self._sysctl)
        self._file = self._sysctl = -1


def parse_ports(text: str) -> set[int]:
    """The ports of the sysctl's notation, "8080,40000-40003"."""
    ports: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        ports.update(range(int(first), int(last or first) + 1))
    return ports


def format_ports(ports: set[int]) -> str:
    """The sysctl's notation: ascending, neighbours joined, as the kernel itself writes it."""
    runs: list[list[int]] = []
    for port in sorted(ports):
        if runs and runs[-1][1] == port - 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_reserved() -> set[int]:
    """The ports reserved in the current namespace, by whomever."""
    return parse_ports(RESERVED.read_text())


def write_reserved(ports: set[int]) -> None:
    """Replace the reserved ports. Written at once: the kernel takes the whole list or none of it."""
    RESERVED.write_text(format_ports(ports) + "\n")


@contextmanager
def _registry() -> Iterator[None]:
    """Alone with the sysctl and /run/underpass: reading and writing the list must not interleave."""
    try:
        RUN.mkdir(mode=0o755, exist_ok=True)
        lock = os.open(RUN / "ports.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        what = f"{RUN} is needed to keep track of source ports: {error.strerror}"
        raise OSError(error.errno, what) from None
    try:
        _lock_within(lock, LOCK_SECONDS)
        yield
    finally:
        os.close(lock)


def _lock_within(descriptor: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise OSError(errno.EBUSY, f"{RUN / 'ports.lock'} is held by another process") from None
            time.sleep(0.01)


def _sweep() -> None:
    """Give back the ranges of this namespace whose owners died without doing so."""
    here = namespace_cookie()
    for path in RUN.iterdir():
        match = _FILE.match(path.name)
        if match is None or int(match[1]) != here or not _is_stale(path):
            continue
        write_reserved(read_reserved() - set(range(int(match[2]), int(match[3]) + 1)))
        path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    """Whether nobody holds the lock of a range's file."""
    with path.open("rb") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _choose(count: int) -> tuple[int, int]:
    """The highest run of free ports: `count` long, or half, a quarter, ... of that."""
    local = _local_range()
    reserved = read_reserved()
    taken = reserved | _ports_in_use()
    wanted = count
    while wanted >= min(count, LEAST_COUNT) > 0:
        for first in _free_runs(taken, wanted):
            ours = set(range(first, first + wanted))
            if len(local - reserved - ours) >= min(LEFT_TO_KERNEL, len(local) // 2):
                return first, first + wanted - 1
        wanted //= 2
    what = (f"no {min(count, LEAST_COUNT)} source ports in a row are free: "
            "widen net.ipv4.ip_local_port_range or shorten net.ipv4.ip_local_reserved_ports")
    raise OSError(errno.EADDRINUSE, what)


def _local_range() -> set[int]:
    """The ports that the kernel chooses from for its own connections."""
    first, last = (SYSCTL / "ip_local_port_range").read_text().split()
    return set(range(int(first), int(last) + 1))


def _ports_in_use() -> set[int]:
    """Local ports of the namespace's TCP sockets; those in TIME_WAIT have nothing more to lose."""
    rows = (row for table in ("tcp", "tcp6") for row in kernel_sockets(table))
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] != TIME_WAIT}


def _free_runs(taken: set[int], count: int) -> Iterator[int]:
    """First ports of runs of `count` ports that are not taken, from the highest down, without overlap."""
    last = 65535
    while last - count + 1 >= FIRST_ALLOWED:
        blocked = max((port for port in taken if last - count < port <= last), default=0)
        if blocked:
            last = blocked - 1
        else:
            yield last - count + 1
            last -= count
