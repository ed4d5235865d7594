"""The load generator as a worker runs it, and what several of them measure together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from underpass.apps.histogram import LatencyHistogram
from underpass.apps.load import LoadClient
from underpass.stack.stack import Stack
from underpass.workers.plan import WorkerPlan

if TYPE_CHECKING:
    from underpass.apps.load import LoadResults


class LoadWorker:
    """One client: its share of the connections and of the rate; see `workers.worker.Application`. It ends by
    its duration; its counters tell what it has measured once it is drained.
    """

    layout = ""
    memory = -1                         # nobody can go on with its connections

    def __init__(self, stack: Stack, *, address: str, port: int, request: str, connections: int,
                 duration_s: float, rate: float, keep_alive: bool, sources: Sequence[str], timeout_s: float,
                 memory: int = -1) -> None:
        assert memory < 0
        self._stack = stack
        self._client: LoadClient | None = None
        self._plan: dict[str, Any] = {"connections": connections, "duration_s": duration_s, "rate": rate,
                      "keep_alive": keep_alive, "sources": sources, "timeout_s": timeout_s}
        self._to = address, port, request.encode()

    @property
    def open(self) -> int:
        """Connections that are open."""
        return self._client.open if self._client else 0

    def listen(self) -> None:
        """Begin to ask."""
        self._client = LoadClient(self._stack, *self._to, **self._plan)

    def tick(self) -> None:
        """Nothing to do."""

    def drain(self) -> None:
        """End what is under way."""
        if self._client:
            self._client.close()

    def stats(self) -> dict[str, dict[str, int]]:
        """What was measured."""
        return self._client.tally() if self._client else {}

    def suspend(self) -> None:
        """It is not restarted."""

    def take_up(self) -> dict[str, int]:
        """It is not restarted."""
        return {}


def load_plan(address: str, port: int, request: bytes, *, workers: int, connections: int, duration_s: float,
              rate: float, keep_alive: bool, sources: Sequence[str], timeout_s: float, blocks: int,
              frames: int, source_ports: int) -> WorkerPlan:
    """What each of so many workers is to do, for `connections` and `rate` of all together. `blocks`:
    connection blocks of each.
    """
    arguments = {"address": address, "port": port, "request": request.decode(),
                 "connections": -(-connections // workers), "duration_s": duration_s,
                 "rate": rate / workers, "keep_alive": keep_alive, "sources": list(sources),
                 "timeout_s": timeout_s}
    return WorkerPlan("underpass.apps.load_worker:LoadWorker", arguments, claims=[],
                      limits={"connections": blocks}, frames=frames, source_ports=source_ports, drain_s=0.5)


def results_of(tally: Mapping[str, Mapping[str, int]]) -> "LoadResults":
    """What clients have measured, by the sum of their tallies."""
    load = tally.get("load", {})
    seconds = load["ns"] / load["clients"] / 1e9 if load.get("clients") else 0.0
    requests = load.get("requests", 0)
    return {
        "requests": requests, "seconds": seconds, "requests_per_s": requests / seconds if seconds else 0.0,
        "bytes": load.get("bytes", 0), "connections": load.get("connections", 0),
        "status": dict(tally.get("status", {})), "errors": dict(tally.get("errors", {})), "last_error": None,
        "latency_ns": LatencyHistogram.of(tally.get("latency_ns", {})).summary(),
        "connect_ns": LatencyHistogram.of(tally.get("connect_ns", {})).summary(),
    }
