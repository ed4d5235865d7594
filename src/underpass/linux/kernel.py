"""The running kernel's version, and since when it has what we would use."""

import platform
import re

KERNEL_FLOOR = (6, 1)
KERNEL_MULTI_BUFFER = (6, 6)            # AF_XDP packets that span frames
KERNEL_TX_METADATA = (6, 8)
KERNEL_GENERIC_MULTI_BUFFER = (6, 9)    # generic XDP leaves packets of several pages as they are


def kernel_version(release: str | None = None) -> tuple[int, int]:
    """Major and minor of the running kernel, or of a release string."""
    match = re.match(r"(\d+)\.(\d+)", release or platform.release())
    return (int(match[1]), int(match[2])) if match else (0, 0)
