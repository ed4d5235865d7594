LAYOUT: int

class HttpMemory:
    """State of `capacity` HTTP connections; see http_memory.pxd. Raises ValueError for a memfd of other sizes
    or another layout, OSError where memory is refused.
    """

    memfd: int
    def __init__(self, capacity: int, blocks: int, files: int, memfd: int = -1) -> None: ...
