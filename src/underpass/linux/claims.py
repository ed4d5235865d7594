"""A claimed port is also held in the kernel, so that no other program can take it while the stack serves it.

The holder is a socket that listens with SO_REUSEADDR and without SO_REUSEPORT, one for each address: a
merely bound socket lets others listen, and one without SO_REUSEADDR fails where connections of an earlier
server stand in TIME_WAIT. It never serves anybody: a packet for an address counts as having come by the
interface that has the address, even from this host itself, while the holder is bound to loopback
(SO_BINDTODEVICE), so that none matches it. What reaches the port by another interface, this host's own
clients included, is refused at once, as it is where nobody listens.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

from underpass.closing import Closing

SO_BINDTODEVICE = 25
TCP_LISTEN = "0A"                       # as /proc/net/tcp writes it


class PortClaim(Closing):
    """Holds a port on addresses of an interface until closed.

    Raises OSError EADDRINUSE, naming the port and, where /proc tells it, the program that has it.
    """

    def __init__(self, addresses: Iterable[str], port: int, interface: str) -> None:
        self.port, self.interface = port, interface
        self._holders: dict[str, socket.socket] = {}
        try:
            for address in addresses:
                self._hold(address)
        except OSError:
            self.close()
            raise

    @property
    def addresses(self) -> list[str]:
        """The addresses on which the port is held."""
        return list(self._holders)

    def follow(self, addresses: Iterable[str]) -> list[OSError]:
        """Hold the port on these addresses and no other. Returns an error for each that is not to be had."""
        wanted = set(addresses)
        for address in set(self._holders) - wanted:
            self._holders.pop(address).close()
        errors = []
        for address in wanted - set(self._holders):
            try:
                self._hold(address)
            except OSError as error:
                errors.append(error)
        return errors

    def _hold(self, address: str) -> None:
        try:
            self._holders[address] = _holder(address, self.port, self.interface)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _taken(address, self.port) from None
            raise OSError(error.errno, f"port {self.port} on {address}: {error.strerror}") from None

    def close(self) -> None:
        """Give the port back. May be called twice."""
        while self._holders:
            self._holders.popitem()[1].close()


class LentPort:
    """A port that a listening socket of the application's own holds in the kernel, where it serves what does
    not come by the interface."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.addresses = list(addresses)

    def follow(self, addresses: Iterable[str]) -> list[OSError]:
        """These addresses and no other are to be steered."""
        self.addresses = list(addresses)
        return []

    def close(self) -> None:
        """The socket is the application's: nothing is closed."""
        self.addresses = []


def _holder(address: str, port: int, interface: str) -> socket.socket:
    """A listening socket that no packet reaches."""
    version6 = ":" in address
    holder = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            scope = socket.if_nametoindex(interface) if ip_address(address).is_link_local else 0
            holder.bind((address, port, 0, scope))
        else:
            holder.bind((address, port))
        holder.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo")
        holder.listen(0)
    except OSError:
        holder.close()
        raise
    return holder


def _taken(address: str, port: int) -> OSError:
    """The error for a port that is in use."""
    owner = port_owner(port)
    by = f" by {owner}" if owner else ""
    return OSError(errno.EADDRINUSE, f"port {port} on {address} is already in use{by}")


def port_owner(port: int) -> str | None:
    """The program that listens on a TCP port: "nginx (pid 812)". None where /proc does not tell."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and inodes & set(_open_files(process)):
            name = (process / "comm").read_text().strip()
            return f"{name} (pid {process.name})"
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port, from the tables of the current namespace."""
    for table in ("tcp", "tcp6"):
        for row in kernel_sockets(table):
            if row[3] == TCP_LISTEN and int(row[1].rpartition(":")[2], 16) == port:
                yield row[9]


def kernel_sockets(table: str) -> Iterator[list[str]]:
    """Rows of /proc/net/tcp or tcp6 in words: [1] local address and port, [3] state, [9] inode."""
    path = Path("/proc/thread-self/net") / table
    if path.exists():
        with path.open() as rows:
            next(rows, None)
            for row in rows:
                yield row.split()


def _open_files(process: Path) -> Iterator[str]:
    """What a process's descriptors refer to; nothing for one that is gone or not ours to look at."""
    try:
        for entry in os.scandir(process / "fd"):
            yield os.readlink(entry.path)
    except OSError:
        return
