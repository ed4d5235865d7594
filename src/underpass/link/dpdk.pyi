from collections.abc import Iterable
from typing import Protocol

from underpass.link.afxdp import Netdev
from underpass.link.frames import Frames
from underpass.link.link import LinkBase

class Registers(Protocol):
    """What the sockets are registered in: `xdp.loader.XdpProgram`."""

    def register_xsk(self, queue: int, fd: int) -> None: ...

LABELS: dict[str, str]

class DpdkLink(LinkBase):
    """One port of DPDK's: a virtual device, named and configured as for its --vdev: "net_tap0,iface=tap0".

    `mtu` and `queues` are the port's. With `partial`, a received checksum may be only the pseudo-header's
    sum. EAL is started with the first link of a process, with one lcore, without hugepages, and stays.
    `label` says what packets pass through, and `fds` are the AF_XDP sockets where there are some. Raises
    OSError; ValueError for a device that DPDK has not.
    """

    label: str
    fds: list[int]
    queues: tuple[int, ...]
    netdev: Netdev | None
    mode: str
    zero_copy: bool
    need_wakeup: bool
    multi_buffer: bool
    tx_checksum: bool
    segmentation: bool
    busy_poll: bool
    why: dict[str, str]
    def __init__(
        self, frames: Frames, vdev: str, *, mtu: int = 1500, queues: Iterable[int] = (0,),
        partial: bool = False, netdev: Netdev | None = None,
    ) -> None: ...  # fmt: skip
    def register(self, program: Registers) -> None: ...

def over_af_xdp(frames: Frames, netdev: Netdev, queues: Iterable[int]) -> DpdkLink: ...
def rte_remove(name: bytes) -> None: ...
def rte_close(port: int) -> None: ...
def rte_stop(port: int) -> None: ...
