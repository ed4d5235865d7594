from collections.abc import Iterable, Sequence
from typing import Any

class ProbeNetwork:
    """A network whose interface has the MAC `mac` and the addresses [(text, prefix length, flags)]."""

    def __init__(self, mac: bytes = ..., addresses: Iterable[tuple[str, int, int]] = ...) -> None: ...
    def set_addresses(self, addresses: Iterable[tuple[str, int, int]]) -> int: ...
    def is_local(self, text: str) -> bool: ...
    def is_broadcast(self, text: str) -> bool: ...
    def add_route(
        self,
        destination: str,
        prefix: int,
        via: str | None = None,
        source: str | None = None,
        metric: int = 0,
        mtu: int = 0,
    ) -> bool:
        """False: the table is full."""
    def clear_routes(self) -> None: ...
    def route(self, dst: str) -> tuple[str, str | None, int, int] | None:
        """(destination, via or None, metric, mtu) of the route to dst, or None."""
    def next_hop(self, dst: str, now_ns: int = 0) -> int | None:
        """The neighbour's index, one user more, or None."""
    def release(self, neighbour: int) -> None: ...
    def source(self, dst: str) -> str | None: ...
    def want_probe(self, neighbour: int, now_ns: int) -> None: ...
    def wanted(self) -> list[tuple[str, str]]:
        """All requests, taken out: [(address, 'resolve' or 'probe')]."""
    def set_neighbour(self, text: str, mac: bytes | None, state: str = "valid") -> int | None: ...
    def neighbour(self, text: str) -> tuple[bytes, str, int] | None:
        """(MAC, state, users), or None."""
    @property
    def neighbour_count(self) -> int: ...
    def receive(
        self, frame: bytes, splits: Sequence[int] = (), partial_ok: bool = False, strict: bool = False
    ) -> dict[str, Any] | str:
        """The segment as a dict or the reason's name. `splits`: where the frame is cut into chunks."""
    def receive_error(self, frame: bytes) -> dict[str, Any] | str:
        """What an ICMP error says, as a dict, or the reason's name."""
    def write(self, src: str, dst: str, mac: bytes, tcp: bytes, vlan: int | None = None) -> bytes:
        """The frame that `template_write` makes around a TCP segment."""
    def answer(self, frame: bytes, tcp: bytes) -> bytes:
        """The frame that `template_answer` makes around `tcp` as an answer to a good frame."""
