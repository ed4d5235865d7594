"""Who holds the XDP program of an interface: processes that have the link open by which it is attached."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from underpass.linux.netlink import LinkRecord

WORKER = "underpass.workers.worker"
COMMAND_MAX = 80


class Holder(NamedTuple):
    """A process and its command line, cut short where it is long."""

    pid: int
    command: str

    @property
    def is_worker(self) -> bool:
        """Whether a supervisor started it."""
        return WORKER in self.command

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def refuse_second(link: LinkRecord) -> None:
    """Raise OSError EBUSY, which says who, where Underpass serves the interface already."""
    there = holders(link.xdp_program) if link.xdp_program else []
    first = next((it for it in there if not it.is_worker), None)
    if first is not None:
        raise OSError(errno.EBUSY, f"{link.name} is served by {first} already: stop that, or have it serve"
                                   " this as well, as one more [[site]] of its settings")
    if there:
        pids = ", ".join(str(it.pid) for it in there)
        raise OSError(errno.EBUSY, f"{link.name} is served by workers whose supervisor is gone, processes"
                                   f" {pids}: end them first (`kill {pids.replace(',', '')}`)")


def holders(program: int) -> list[Holder]:
    """The processes that hold a program's XDP link, by pid: all for root, else those that we may look at."""
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [Holder(pid, command_of(pid)) for pid in pids if program in _xdp_programs(pid)]


def _xdp_programs(pid: int) -> Iterator[int]:
    """Programs that a process's descriptors keep attached by XDP links (proc_pid_fdinfo(5))."""
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError, ValueError):
                if not os.readlink(entry.path).startswith("anon_inode:bpf"):
                    continue
                rows = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text().splitlines()
                facts = dict(row.split(":", 1) for row in rows if ":" in row)
                if facts.get("link_type", "").strip() == "xdp":
                    yield int(facts["prog_id"])


def command_of(pid: int) -> str:
    """Its words, without the interpreter's way to them."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone"
    text = " ".join("".join(c if c.isprintable() else "?" for c in word) for word in words if word)
    return text if len(text) <= COMMAND_MAX else text[:COMMAND_MAX - 3] + "..."
