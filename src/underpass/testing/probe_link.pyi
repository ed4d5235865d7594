from collections.abc import Iterable

from underpass.link.link import LinkBase

class LinkProbe:
    link: LinkBase
    queues: list[int]
    def __init__(self, link: LinkBase) -> None: ...
    @property
    def offloads(self) -> int: ...
    def receive(self, now_ns: int = 0, room: int = 64) -> list[bytes]: ...
    def transmit(
        self,
        packets: Iterable[bytes],
        now_ns: int = 0,
        queue: int = 0,
        checksum: tuple[int, int] | None = None,
    ) -> int: ...
    def wake(self) -> None: ...
    def deadline(self) -> int | None: ...
