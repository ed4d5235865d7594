"""Two network namespaces joined by a veth pair: a link between two hosts, on one machine."""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Self

CLONE_NEWNET = 0x40000000
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str | None:
    """Why this process cannot make network namespaces, or None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    run = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return None if run.returncode == 0 else "this machine allows no new network namespaces"


def _ip(command: str) -> None:
    run = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    if run.returncode:
        raise OSError(f"ip {command}: {run.stderr.strip()}")


class Namespace:
    """One end: a namespace with one interface, its addresses and loopback."""

    def __init__(self, name: str, interface: str, number: int) -> None:
        self.name = name
        self.interface = interface
        self.mac = bytes((2, 0x75, 0x70, 0, 0, number))
        self.v4 = f"10.77.0.{number}"
        self.v6 = f"fd77::{number}"

    @property
    def mac_text(self) -> str:
        return self.mac.hex(":")

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in this namespace."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv: str, check: bool = True, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a program in this namespace to its end, its output as text."""
        return subprocess.run(
            self.command(*argv), capture_output=True, text=True, check=check, timeout=timeout
        )

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a program in this namespace, its output as text."""
        return subprocess.Popen(
            self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @contextlib.contextmanager
    def entered(self) -> Iterator[Self]:
        """Have this thread's new sockets in the namespace; those opened stay there afterwards."""
        with (
            open("/proc/thread-self/ns/net", "rb") as back,
            open(f"/var/run/netns/{self.name}", "rb") as there,
        ):
            _setns(there.fileno())
            try:
                yield self
            finally:
                _setns(back.fileno())


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


class VethPair:
    """`ours`, where the stack runs, and `peer`, an ordinary Linux host. Removed by close(), whatever comes.

    IPv4 10.77.0.1/24 and .2, IPv6 fd77::1/64 and ::2 (usable at once), and link-local addresses.
    Both ends know each other's MAC address from the start.
    """

    def __init__(self, tag: str, mtu: int = 1500, queues: int = 1) -> None:
        stem = f"up-{tag}-{os.getpid()}-{next(_numbers)}"
        self.ours = Namespace(f"{stem}-a", "up0", 1)
        self.peer = Namespace(f"{stem}-b", "up1", 2)
        try:
            self._build(mtu, queues)
        except BaseException:
            self.close()
            raise

    def _build(self, mtu: int, queues: int) -> None:
        ours, peer = self.ours, self.peer
        for end in (ours, peer):
            _ip(f"netns add {end.name}")
        here, there = (self._new_link(end, mtu, queues) for end in (ours, peer))
        _ip(f"-n {ours.name} link add {here} type veth peer {there} netns {peer.name}")
        for end, other in ((ours, peer), (peer, ours)):
            _ip(f"-n {end.name} link set lo up")
            _ip(f"-n {end.name} link set {end.interface} up")
            _ip(f"-n {end.name} address add {end.v4}/24 dev {end.interface}")
            _ip(f"-n {end.name} address add {end.v6}/64 dev {end.interface} nodad")
            for address in (other.v4, other.v6):
                _ip(f"-n {end.name} neigh replace {address} lladdr {other.mac_text} dev {end.interface}")

    @staticmethod
    def _new_link(end: Namespace, mtu: int, queues: int) -> str:
        rings = f"numrxqueues {queues} numtxqueues {queues}"
        return f"name {end.interface} mtu {mtu} address {end.mac_text} {rings}"

    def close(self) -> None:
        """Remove both namespaces, and with them the pair. May be called twice."""
        for end in (self.ours, self.peer):
            if os.path.exists(f"/var/run/netns/{end.name}"):
                _ip(f"netns del {end.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
