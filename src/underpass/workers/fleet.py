"""All workers as one, to what follows Linux's tables."""

import time
from collections.abc import Iterable

from underpass.linux.mirror import REFRESH_SECONDS
from underpass.linux.netlink import Route
from underpass.workers.channel import Message
from underpass.workers.remote import RemoteWorker


class Fleet:
    """All workers as one: what Linux's tables say goes to each, what they want comes from all."""

    def __init__(self, workers: list[RemoteWorker]) -> None:
        self.workers = workers
        self._wanted: list[tuple[str, str]] = []
        self._using: dict[str, float] = {}

    def set_mac(self, mac: bytes) -> None:
        """To all."""
        for worker in self.workers:
            worker.set_mac(mac)

    def set_mtu(self, mtu: int) -> None:
        """To all."""
        for worker in self.workers:
            worker.set_mtu(mtu)

    def set_addresses(self, addresses: Iterable[tuple[str, int]]) -> None:
        """To all."""
        rows = list(addresses)
        for worker in self.workers:
            worker.set_addresses(rows)

    def set_routes(self, routes: Iterable[Route]) -> None:
        """To all."""
        rows = list(routes)
        for worker in self.workers:
            worker.set_routes(rows)

    def set_neighbour(self, address: str, mac: bytes | None, failed: bool = False) -> None:
        """To all."""
        for worker in self.workers:
            worker.set_neighbour(address, mac, failed)

    def note(self, message: Message) -> None:
        """A worker's hint about neighbours; what has another form says nothing."""
        rows = message.get("neighbours")
        if not isinstance(rows, list):
            return
        if message.get("say") == "using":
            self._using |= {it: time.monotonic() for it in rows if isinstance(it, str)}
        else:
            self._wanted += [(it[0], it[1]) for it in rows
                             if isinstance(it, list) and len(it) == 2 and isinstance(it[0], str)
                             and it[1] in ("resolve", "probe")]

    def wanted(self) -> list[tuple[str, str]]:
        """Neighbours that workers asked for since the last call, each once."""
        wanted, self._wanted = list(dict.fromkeys(self._wanted)), []
        return wanted

    def neighbours(self) -> list[tuple[str, bytes | None, str, int]]:
        """Those that workers said lately they use."""
        now = time.monotonic()
        self._using = {address: at for address, at in self._using.items() if now - at < 2 * REFRESH_SECONDS}
        return [(address, None, "valid", int((now - at) * 1e9)) for address, at in self._using.items()]

    def connections(self) -> list[dict[str, int | str]]:
        """Not asked for: claims stay until the supervisor ends."""
        return []

    def publish(self, xdp: dict[str, int]) -> None:
        """What XDP counts of the interface has one place, the first worker's arena; what Linux counts for its
        sockets each worker copies itself.
        """
        self.workers[0].set_xdp_counters(xdp)
