"""Find running workers and what they show: by the name of their arena's memfd, so that nothing lies on disk.

A worker that is killed takes its arena along: there is nothing to clean up, and nothing stale to find.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from underpass.observe.reader import ArenaReader, printable

ARENA = "/memfd:underpass-arena"
FRAMES = "/memfd:underpass-frames"

Row = dict[str, int | str | float | None]


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that has an arena open: `path` leads to it as long as the process lives.

    `inode` is the arena's own number: a process may have several arenas, and a pid may come again.
    """

    pid: int
    command: str
    path: str
    inode: int

    @contextmanager
    def open(self) -> Iterator[ArenaReader]:
        """A reader of its arena. Raises OSError when it has ended, ValueError for another version's arena."""
        descriptors = [os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)]
        try:
            reader = ArenaReader(descriptors[0])
            for path, inode in _memfds(self.pid, FRAMES):
                if inode == reader.frames_inode:
                    descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                    reader.frames_fd = descriptors[-1]
                    break
            yield reader
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def discover() -> list[Worker]:
    """Every worker whose descriptors we may look at, by pid: all for root, else as ptrace(2) allows.

    Its supervisor, and whoever looks at it, has the arena open as well: it is that of the worker whose pid
    stands in it.
    """
    found: dict[int, Worker] = {}
    for pid in sorted(int(it.name) for it in Path("/proc").iterdir() if it.name.isdigit()):
        for path, inode in _memfds(pid, ARENA):
            if inode not in found or pid == _owner(path):
                found[inode] = Worker(pid, _command(pid), path, inode)
    return sorted(found.values(), key=lambda it: it.pid)


def _owner(path: str) -> int:
    """The process whose arena it is, 0 where that cannot be read: behind magic, version and size."""
    with suppress(OSError), Path(path).open("rb") as arena:
        return int.from_bytes(arena.read(20)[16:], sys.byteorder)
    return 0


def _memfds(pid: int, name: str) -> Iterator[tuple[str, int]]:
    """Paths and inodes of the memfds of that name that a process has open; none where we may not look."""
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(entry.path).startswith(name):
                    yield entry.path, entry.stat().st_ino


def _command(pid: int) -> str:
    """The process's command line in words, its name where that is empty."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        text = words.decode(errors="replace").strip()
        return printable(text or Path(f"/proc/{pid}/comm").read_text(errors="replace").strip())
    except OSError:
        return ""


def _collect(pid: int | None, read: Callable[[ArenaReader], list[Row]]) -> list[Row]:
    """What `read` finds in each worker, or in the one with this pid; one that ends meanwhile is left out."""
    rows: list[Row] = []
    for worker in discover():
        if pid is None or worker.pid == pid:
            with suppress(OSError, ValueError), worker.open() as reader:
                rows += [{"pid": worker.pid, **row} for row in read(reader)]
    return rows


def workers() -> list[Row]:
    """One row for each worker: pid, command, interface, turns, sleeps; `error` where it cannot be read."""
    rows: list[Row] = []
    for worker in discover():
        row: Row = {"pid": worker.pid, "command": worker.command}
        try:
            with worker.open() as reader:
                rows.append({**row, **reader.facts(), "pid": worker.pid})
        except (OSError, ValueError) as error:
            rows.append(row | {"error": str(error)})
    return rows


def connections(pid: int | None = None, time_waits: bool = True) -> list[Row]:
    """Listeners, connections and TIME_WAIT entries of all workers, or of one, each with pid and interface."""
    def read(reader: ArenaReader) -> list[Row]:
        interface = reader.facts()["interface"]
        return [{"interface": interface, **row} for row in reader.rows(time_waits)]

    return _collect(pid, read)


def stats(pid: int | None = None) -> list[Row]:
    """Counters of all workers, or of one: rows of pid, layer ("refused", "tcp", "loop"), name and value."""
    def read(reader: ArenaReader) -> list[Row]:
        return [{"layer": layer, "name": name, "value": value}
                for layer, counters in reader.stats().items() for name, value in counters.items()]

    return _collect(pid, read)
