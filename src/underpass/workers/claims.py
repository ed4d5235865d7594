"""Addresses and ports that workers serve: those of the plans, and those that programs ask for."""

import errno
import socket
from collections.abc import Iterable
from typing import Any

from underpass.linux.claim_table import ClaimTable, canonical
from underpass.tcp.services import ServiceTable
from underpass.workers.plan import MOST_SERVICES, Division

Service = tuple[str, int]


class WorkerClaims:
    """A port is claimed while a worker has it, and given to no worker that does not listen there.

    What a program claims it holds in the kernel, too: its socket there serves what does not come by the
    interface. It shows that socket, so that it takes no port but those that the kernel lets it have.
    """

    def __init__(self, division: Division, table: ClaimTable, services: ServiceTable) -> None:
        self._division, self._table, self._services = division, table, services
        self._holders: dict[Service, set[int]] = {}
        for address, port in division.claims:
            table.claim(address, port)

    def begin(self, worker: int) -> None:
        """It serves what its plan says; more than fit into the list are served by whom they come to."""
        if len(self._division.claims) <= MOST_SERVICES:
            for address, port in self._division.of(worker).claims:
                self._services.serve(address, port, worker)

    def claim(self, worker: int, address: str, port: int, holder: int) -> None:
        """A program listens there now; `holder`, which is closed, is its socket. Raises OSError as
        `ClaimTable.claim`, ENOSPC, and EACCES where the socket is another one.
        """
        check_holder(holder, address, port)
        if (address, port) not in self._holders:
            self._table.claim(address, port, held=True)
        self._holders.setdefault((address, port), set()).add(worker)
        try:
            self._services.serve(address, port, worker)
        except OSError:
            self.release(worker, address, port)
            raise

    def leave(self, worker: int, address: str, port: int) -> None:
        """It does not listen there any more, and still has connections."""
        self._services.leave(address, port, worker)

    def release(self, worker: int, address: str, port: int) -> None:
        """It has no connections there any more."""
        self._services.leave(address, port, worker)
        holders = self._holders.get((address, port), set())
        holders.discard(worker)
        if not holders and self._holders.pop((address, port), None) is not None:
            self._table.release(address, port)

    def drain(self, worker: int) -> None:
        """It takes nobody any more."""
        self._services.forget(worker)

    def forget(self, worker: int) -> None:
        """It is no more."""
        self._services.forget(worker)
        for address, port in [it for it, holders in self._holders.items() if worker in holders]:
            self.release(worker, address, port)

    def adopt(self, worker: int, claims: Iterable[tuple[str, int]], holders: Iterable[int]) -> None:
        """It was another supervisor's, and has these. Raises OSError as `claim`."""
        for (address, port), holder in zip(claims, holders, strict=True):
            self.claim(worker, address, port, holder)


def check_holder(holder: int, address: str, port: int) -> None:
    """Raises OSError EACCES unless this is a TCP socket of the kernel that is bound there; closes it."""
    held = held_by(holder) if holder >= 0 else set()
    if (canonical(address), port) not in held:
        raise OSError(errno.EACCES, f"port {port} on {address} is not the worker's: no socket of its own is"
                                    " bound there")


def held_by(holder: int) -> set[Service]:
    """What a socket of the kernel is bound to; nothing for one of another kind. Closes it."""
    with socket.socket(fileno=holder) as it:
        if it.type != socket.SOCK_STREAM or it.family not in (socket.AF_INET, socket.AF_INET6):
            return set()
        host, port = it.getsockname()[:2]
        both = it.family == socket.AF_INET6 and not it.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    found = {(canonical(host), port)}
    return found | {("0.0.0.0", port)} if both and canonical(host) == "::" else found


def service_in(message: dict[str, Any]) -> Service:
    """The address and port that a worker means. Raises OSError EINVAL for what is none."""
    address, port = message.get("address"), message.get("port")
    if not isinstance(address, str) or not isinstance(port, int) or not 0 < port < 65536:
        raise OSError(errno.EINVAL, f"{address!r} and {port!r} are no address and port")
    return address, port
