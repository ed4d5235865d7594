from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from underpass.link.frames import Frames
from underpass.link.link import LinkBase

class Netdev(Protocol):
    """What a link needs to know of an interface; `linux.netdev_features.NetdevFeatures` has it."""

    @property
    def name(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def mtu(self) -> int: ...
    @property
    def driver(self) -> str: ...
    @property
    def queues(self) -> int: ...
    @property
    def zero_copy(self) -> bool | None: ...
    @property
    def zero_copy_checksum(self) -> bool: ...
    @property
    def copy_because(self) -> str: ...
    @property
    def receive_unit(self) -> int: ...
    @property
    def zero_copy_needs(self) -> str: ...
    @property
    def partial_checksums(self) -> bool: ...
    def napi_deferred(self) -> AbstractContextManager[str | None]: ...

class Program(Protocol):
    """What registers the sockets: `xdp.loader.XdpProgram`."""

    mode: str
    why_not_better: str | None
    def register_xsk(self, queue: int, fd: int) -> None: ...
    def unregister_xsk(self, queue: int) -> None: ...

def receive_room(chunk_bytes: int, unit: int = 1) -> int: ...
def chunk_bytes_for(mtu: int, unit: int = 1) -> int: ...

class AfXdpLink(LinkBase):
    netdev: Netdev
    queues: tuple[int, ...]
    ring_size: int
    mode: str
    zero_copy: bool
    need_wakeup: bool
    multi_buffer: bool
    tx_checksum: bool
    segmentation: bool
    busy_poll: bool
    why: dict[str, str]
    def __init__(
        self,
        frames: Frames,
        netdev: Netdev,
        queues: Iterable[int] = (0,),
        *,
        program: Program | None = None,
        zero_copy: bool | None = None,
        checksum: bool = True,
        fill_checksum: bool = False,
        segmentation: bool = True,
        busy_poll: bool = False,
        ring_size: int = 2048,
        run: bool = True,
        adopted: dict[str, Any] | None = None,
        adopted_fds: Iterable[int] = (),
    ) -> None: ...
    def register(self) -> None: ...
    def register_queue(self, queue: int) -> None: ...
    def open_queue(self, queue: int) -> None: ...
    def adopt_queue(self, queue: int, fd: int) -> None: ...
    def facts(self) -> dict[str, Any]: ...
    @property
    def all_fds(self) -> list[int]: ...
    @property
    def fds(self) -> list[int]: ...
    def kernel_stats(self) -> dict[str, int]: ...
