"""Whose connections a program had: it would serve by the kernel's TCP just as well, and look the same."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from underpass.linux.namespaces import inside
from underpass.observe.sample import take
from underpass.observe.workers import connections


def opened_by_kernel(namespace: str) -> int:
    """Connections that a namespace's own TCP has opened and accepted so far."""
    with inside(namespace):
        text = Path("/proc/thread-self/net/snmp").read_text()
    names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    counted = dict(zip(names, values, strict=True))
    return int(counted["ActiveOpens"]) + int(counted["PassiveOpens"])


def opened_by_stack(process: "subprocess.Popen[str]", kind: str) -> int:
    """Those of a program that runs and of the processes below it: "active_opens" or "passive_opens"."""
    pids = set(tree(process.pid))
    return sum(it.stats["tcp"][kind] for it in take().values() if it.worker.pid in pids)


def listens(process: "subprocess.Popen[str]", port: int) -> bool:
    """Whether the stack of one of them does; who comes before that may still be the kernel's."""
    pids = set(tree(process.pid))
    return any(row["pid"] in pids and row["state"] == "LISTEN" and row["local_port"] == port
               for row in connections(time_waits=False))


def tree(pid: int) -> Iterator[int]:
    """A process and those below it."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from tree(int(child))
