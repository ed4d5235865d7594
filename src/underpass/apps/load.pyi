from collections.abc import Iterable
from typing import TypedDict

from underpass.stack.stack import Stack

FAILURE_NAMES: tuple[str, ...]

class LoadResults(TypedDict):
    requests: int
    seconds: float
    requests_per_s: float
    bytes: int
    connections: int
    status: dict[str, int]
    errors: dict[str, int]
    last_error: str | None
    latency_ns: dict[str, int | float]
    connect_ns: dict[str, int | float]

class LoadClient:
    """Sends `request` over and over to (address, port) from a stack, as soon as the stack runs.

    `rate` in requests/s makes it an open loop; `requests` and `duration_s` end it (0: not by that); `sources`
    are addresses of the stack to connect from, in turn. `output` is a descriptor that bodies are written to.
    The stack's `run` returns when the load is over. Raises ValueError for what makes no sense together.
    """

    stack: Stack
    def __init__(self, stack: Stack, address: str, port: int, request: bytes, *, connections: int = 50,
                 duration_s: float = 10, rate: float = 0, keep_alive: bool = True, requests: int = 0,
                 sources: Iterable[str] = (), timeout_s: float = 10, output: int = -1) -> None: ...
    def close(self) -> None:
        """End every connection that is still there, by a reset where a request is under way."""
    @property
    def over(self) -> bool:
        """Whether the load has ended."""
    @property
    def open(self) -> int:
        """Connections that are established now."""
    def tally(self) -> dict[str, dict[str, int]]:
        """The same as counters, to which those of other clients can be added: `load_worker.results_of`."""
    def results(self) -> LoadResults:
        """What was measured: counts, bytes, seconds, latencies in nanoseconds."""
