"""The drivers that are tried, and the rows of the table in docs/drivers.md that say what was seen of them."""

import re
from dataclasses import dataclass

from tests.drivers.packages import REPOSITORY

# With hash=on qemu 10 spreads packets itself, and a queue without buffers holds up others for seconds.
VIRTIO = "virtio-net-pci,mq=on,vectors=10,rss=on,rx_queue_size=1024"


@dataclass(frozen=True)
class Card:
    """A network card: its interface's name, its driver, and qemu's device."""

    name: str
    driver: str
    device: str
    queues: int = 1             # of the tap device; more than one: the driver is told to use all
    native: bool = True
    zero_copy: bool = False
    tells_hash: bool = False    # its key and indirection table can be read

    @property
    def row(self) -> dict[str, str]:
        """The cells of its row in docs/drivers.md, by column."""
        return matrix()[self.name]


GUESTS = (
    # Zero-copy needs the kernel's own DMA mapping, which virtio leaves out unless the device demands it.
    Card("virtio", "virtio_net", f"{VIRTIO},iommu_platform=on,disable-legacy=on", 4, zero_copy=True,
         tells_hash=True),
    Card("virtio-plain", "virtio_net", VIRTIO, 4, tells_hash=True),
    Card("igb", "igb", "igb", zero_copy=True, tells_hash=True),
    Card("vmxnet3", "vmxnet3", "vmxnet3"),
    Card("e1000e", "e1000e", "e1000e", native=False),
)
VETH = Card("veth", "veth", "")
CARDS = {card.name: card for card in (*GUESTS, VETH)}


def matrix() -> dict[str, dict[str, str]]:
    """The first table of docs/drivers.md: name of the row -> column -> cell."""
    text = (REPOSITORY / "docs" / "drivers.md").read_text()
    lines = re.findall(r"^\|.*$", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = rows[0]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows[2:] if len(row) == len(head)}
