"""The stack's listeners, which servers of one address and port share."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from underpass.aio.carried import Option

if TYPE_CHECKING:
    from underpass.aio.dispatch import Dispatcher

Accepted = Callable[[int], None]


class Listeners:
    """Of one event loop."""

    def __init__(self, dispatcher: "Dispatcher") -> None:
        self._dispatcher = dispatcher
        self._shared: dict[tuple[str, int], Shared] = {}

    def add(self, address: tuple[str, int], backlog: int, accepted: Accepted,
            options: Iterable[Option]) -> Callable[[], None]:
        """Have `accepted` called for connections to an address and port, with others that are called for the
        same. `options` hold for what is accepted from now on. Returns the function that ends it.

        Two sockets of a kernel listen on one port only where both have set SO_REUSEPORT: that was asked then.
        """
        shared = self._shared.get(address)
        if shared is None:
            shared = Shared()
            shared.number = self._dispatcher.listen(*address, backlog, shared)
            self._shared[address] = shared
        self._dispatcher.tune(shared.number, options)
        shared.servers.append(accepted)
        return lambda: self._remove(address, shared, accepted)

    def _remove(self, address: tuple[str, int], shared: "Shared", accepted: Accepted) -> None:
        shared.servers.remove(accepted)
        if not shared.servers:
            del self._shared[address]
            self._dispatcher.unlisten(shared.number)


class Shared:
    """One listener, whose connections go to its servers in turns."""

    def __init__(self) -> None:
        self.number = 0
        self.servers: list[Accepted] = []

    def __call__(self, conn: int) -> None:
        if len(self.servers) > 1:
            self.servers.append(self.servers.pop(0))
        self.servers[-1](conn)
