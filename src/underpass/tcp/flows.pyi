class FlowTable:
    """Room for `flows` flows of all workers, or an existing table by its memfd, which stays the caller's.

    With `bytes`, the descriptor is that of a map of the XDP program of this size, which looks flows up in it.
    It has `buckets`, a power of two, their tags, and perhaps a quarter as many for connections by source.
    Raises OSError where memory is refused, ValueError for a memfd that holds no table.
    """

    memfd: int
    bytes: int
    buckets: int
    source_buckets: int
    def __init__(self, flows: int = 65536, memfd: int = -1, bytes: int = 0) -> None: ...
    def forget(self, worker: int) -> int:
        """Remove every flow of a worker that is no more; returns how many there were."""
    def count(self, worker: int) -> int:
        """Flows of a worker."""
