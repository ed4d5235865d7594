"""Addresses and ports that workers serve: those of the plans, and those that programs ask for."""

import errno
from typing import Any

from underpass.linux.claim_table import ClaimTable
from underpass.tcp.services import ServiceTable
from underpass.workers.plan import MOST_SERVICES, Division

Service = tuple[str, int]


class WorkerClaims:
    """A port is claimed while a worker has it, and given to no worker that does not listen there.

    What a program claims it holds in the kernel, too: its listening socket serves what does not come by the
    interface.
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

    def claim(self, worker: int, address: str, port: int) -> None:
        """A program listens there now. Raises OSError as `ClaimTable.claim`, and ENOSPC."""
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

    def adopt(self, worker: int, held: list[list[Any]]) -> None:
        """It was another supervisor's, and has these."""
        for address, port in held:
            self.claim(worker, address, port)


def service_in(message: dict[str, Any]) -> Service:
    """The address and port that a worker means. Raises OSError EINVAL for what is none."""
    address, port = message.get("address"), message.get("port")
    if not isinstance(address, str) or not isinstance(port, int) or not 0 < port < 65536:
        raise OSError(errno.EINVAL, f"{address!r} and {port!r} are no address and port")
    return address, port
