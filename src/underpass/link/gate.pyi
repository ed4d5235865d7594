from collections.abc import Iterable

class GateMemory:
    """The maps `admissions` and `pressures` of an XDP program, by their descriptors, which stay the caller's.

    Raises OSError where they cannot be mapped, ValueError for a queue that the program does not serve.
    """

    def __init__(self, admissions: int, pressures: int, queues: Iterable[int]) -> None: ...
    def set_queues(self, queues: Iterable[int]) -> None:
        """Those that this worker serves; each begins with nothing refused."""
