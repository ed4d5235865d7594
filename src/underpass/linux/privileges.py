"""Which capabilities the supervisor needs, and whether this process has them (capabilities(7))."""

import errno
from pathlib import Path

# Number and what it is needed for.
NEEDED = {
    "CAP_NET_ADMIN": (12, "attach the XDP program, ask Linux for neighbours, reserve source ports"),
    "CAP_NET_RAW": (13, "open AF_XDP sockets"),
    "CAP_PERFMON": (38, "have the verifier allow the XDP program's arithmetic on pointers"),
    "CAP_BPF": (39, "load the XDP program"),
}
CAP_SYS_ADMIN = 21
IN_SYS_ADMIN = {"CAP_PERFMON", "CAP_BPF"}       # capabilities(7): which it holds too


def effective() -> int:
    """The effective capabilities of this thread, as a bit set."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def lacking(capabilities: int | None = None) -> list[str]:
    """The names of the needed capabilities that are not there."""
    have = effective() if capabilities is None else capabilities
    names = [name for name, (number, _) in NEEDED.items() if not have >> number & 1]
    admin = have >> CAP_SYS_ADMIN & 1
    return [name for name in names if not (admin and name in IN_SYS_ADMIN)]


def require() -> None:
    """Raise PermissionError, which says what is missing and how to get it, unless all are there."""
    names = lacking()
    if names:
        what = f"{', '.join(names)} needed: run as root (sudo), or grant them (AmbientCapabilities=, setpriv)"
        raise PermissionError(errno.EPERM, what)
