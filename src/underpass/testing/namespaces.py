"""Two network namespaces joined by a veth pair: a link between two hosts, on one machine."""

import itertools
import os
import shutil
import subprocess
from ipaddress import IPv6Address

from underpass.closing import Closing
from underpass.linux.namespaces import Namespace, join, remove, run, sweep

_numbers = itertools.count()


def why_not() -> str | None:
    """Why this process cannot make network namespaces, or None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    tried = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "this machine allows no new network namespaces"


class End(Namespace):
    """One end of the wire of that network, 10.77.N.0/24."""

    def __init__(self, name: str, interface: str, number: int, network: int = 0) -> None:
        super().__init__(name, interface, f"10.77.{network}.{number}",
                         str(IPv6Address(f"fd77:{network}::{number}")),
                         bytes((2, 0x75, 0x70, 0, network, number)))

    @property
    def v4(self) -> str:
        return self.address

    @property
    def v6(self) -> str:
        return self.address6

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a program in this namespace, its output and what it complains of as text."""
        return subprocess.Popen(
            self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def knows(self, other: "End") -> list[str]:
        """The commands of ip by which it knows the other's MAC address from the start."""
        return [f"neigh replace {it} lladdr {other.mac_text} dev {self.interface}"
                for it in (other.v4, other.v6)]


class VethPair(Closing):
    """`ours`, where the stack runs, and `peer`, an ordinary Linux host. Removed by close(), whatever comes.

    IPv4 10.77.0.1/24 and .2, IPv6 fd77::1/64 and ::2 (usable at once), and link-local addresses.
    Both ends know each other's MAC address from the start.
    """

    def __init__(self, tag: str, mtu: int = 1500, queues: int = 1) -> None:
        sweep()
        stem = f"up-{os.getpid()}-{tag}-{next(_numbers)}"
        self.ours = End(f"{stem}-a", "up0", 1)
        self.peer = End(f"{stem}-b", "up1", 2)
        try:
            self._build(mtu, queues)
        except BaseException:
            self.close()
            raise

    def _build(self, mtu: int, queues: int) -> None:
        ours, peer = self.ours, self.peer
        for end in (ours, peer):
            run("ip", "netns", "add", end.name)
        join(ours, ours.interface, peer, peer.interface, queues)
        ours.set_up(mtu, 24, *ours.knows(peer))
        peer.set_up(mtu, 24, *peer.knows(ours))

    def close(self) -> None:
        """Remove both namespaces, and with them the pair. May be called twice."""
        remove((self.ours, self.peer))
