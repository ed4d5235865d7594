from underpass.link.frames import Frames
from underpass.link.link import LinkBase

class MemoryLink(LinkBase):
    """One end of a cable. Made by `memory_pair`."""

def memory_pair(
    frames_a: Frames, frames_b: Frames, mtu: int = 1500, depth: int = 4096, latency_ns: int = 0
) -> tuple[MemoryLink, MemoryLink]:
    """Two links joined in one process: what one transmits, the other receives `latency_ns` later.

    `depth` descriptors, rounded up to a power of two, may be on their way in each direction; beyond that
    `transmit` refuses. Raises ValueError for an mtu outside 68..65535 or a depth outside 1..2**20.
    """
