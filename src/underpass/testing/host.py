"""One stack on the virtual network, as a node that the network steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from underpass.link.link import LinkBase
from underpass.stack.stack import ACCEPTED, CLOSED, Stack

if TYPE_CHECKING:
    from underpass.stack.sockets import Connection


@dataclass(frozen=True)
class Station:
    """Where a host lives on a cable: its MAC and its addresses of both families."""

    number: int

    @property
    def mac(self) -> bytes:
        """A locally administered MAC that ends with the host's number."""
        return bytes([2, 0, 0, 0, 0, self.number])

    @property
    def v4(self) -> str:
        """Address in 10.0.0.0/24."""
        return f"10.0.0.{self.number}"

    @property
    def v6(self) -> str:
        """Address in fd00::/64."""
        return f"fd00::{self.number:x}"


@dataclass
class Host:
    """A `Stack` with an address, an application or a list of what happened, and no clock of its own."""

    name: str
    station: Station
    stack: Stack
    link: LinkBase
    application: Callable[[Connection, int], None] | None = None
    seen: list[tuple[Connection, int]] = field(default_factory=list)

    @classmethod
    def on(cls, link: LinkBase, station: Station, *neighbours: Station, seed: bytes, now_ns: int,
           **limits: Any) -> Host:  # fmt: skip
        """A host on `link` that knows the time, and its neighbours as the control plane would tell it."""
        stack = Stack(link, station.mac, seed=seed, **limits)
        stack.set_addresses([(station.v4, 24), (station.v6, 64)])
        stack.set_routes([("10.0.0.0", 24, None, None, 0, 0), ("fd00::", 64, None, None, 0, 0)])
        stack.step(now_ns)
        host = cls(station.v4, station, stack, link)
        for other in neighbours:
            host.know(other)
        return host

    def know(self, other: Station) -> None:
        """Tell the stack another host's MAC."""
        self.stack.set_neighbour(other.v4, other.mac)
        self.stack.set_neighbour(other.v6, other.mac)

    def step(self, now_ns: int) -> int:
        """One turn of the stack, then the application; returns packets and events that there were."""
        return self.stack.step(now_ns) + self.serve()

    def serve(self) -> int:
        """Tell the application what happened; returns how many events there were."""
        events = self.stack.events()
        for conn, ready in events:
            if self.application is None:
                self.seen.append((conn, ready))
            else:
                self.application(conn, ready)
        return len(events)

    def deadline(self) -> int | None:
        """When this host next has something to do."""
        return self.stack.next_deadline()

    def accepted(self) -> list[Connection]:
        """Connections that were accepted so far, where no application takes them."""
        return [conn for conn, ready in self.seen if ready & ACCEPTED]

    def was_closed(self, conn: Connection) -> bool:
        """Whether the stack has said that a connection is gone, where no application is told."""
        return any(ready & CLOSED for other, ready in self.seen if other is conn)

    def is_idle(self) -> bool:
        """Whether no connection, half-open ones included, is left and every frame is back in the pool."""
        open_states = {row["state"] for row in self.stack.connections()} - {"LISTEN", "TIME-WAIT"}
        return not open_states and self.link.frames.free == self.link.frames.count

    def close(self) -> None:
        """Close the stack and its link."""
        self.stack.close()
        self.link.close()
