"""Figure 2: what each packet I/O serves on 1 to N queues, and what a request takes of the processor.

Every worker has a client of its own on the other core, as `crossed` places them. A core that polls is busy
whatever it serves: its requests per core-second are its requests/s.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from underpass.apps.bench.clients import wrk
from underpass.apps.bench.cost import kernel_threads, run_ns
from underpass.apps.bench.crossed import CONNECTIONS, CORES, pin
from underpass.apps.bench.figure import Figure, Plot, Values
from underpass.apps.bench.lab import SMALL, make_files, receive_first, thread_receiving, tune
from underpass.apps.bench.servers import (
    Dpdk,
    KernelSockets,
    Nginx,
    Server,
    Underpass,
    UnderpassBusyPoll,
    UnderpassNoOffload,
)
from underpass.linux.namespaces import CommandError, Pair

SERVERS: tuple[type[Server], ...] = (Dpdk, Underpass, UnderpassNoOffload, UnderpassBusyPoll, Nginx,
                                     KernelSockets)
UNITS = {"requests_per_core_s": "req/s per core", "requests_per_s": "req/s", "request_us": "us core/request",
         "p99_us": "us p99", "errors": "errors", "ratio": "times DPDK's req/s per core"}


class Asked:
    """A kind of server, and the path that it says it takes once it has run."""

    def __init__(self, kind: type[Server]) -> None:
        self.kind = kind
        self.path = ""


def several(kind: type[Server], queues: int) -> type[Server]:
    """The same with a worker for each queue, on cores 1, 0, 1, ..."""
    if queues == 1:
        return kind
    if issubclass(kind, Underpass):
        cores = ",".join(str(core) for core in cores_of(queues))
        return kind.with_options("--workers", str(queues), "--cores", cores, "--user", "root")
    more = {"cores": tuple(cores_of(queues))} if issubclass(kind, KernelSockets) else {"workers": queues}
    return type(kind.__name__, (kind,), more)


def cores_of(queues: int) -> list[int]:
    """The core of each queue's worker."""
    return [(1 + number) % CORES for number in range(queues)]


def measure(asked: Asked, queues: float, seconds: float) -> Values:
    """wrk, keep-alive, one for each queue; nothing for several by DPDK, whose driver reaches one of a veth's.
    """
    if queues > 1 and issubclass(asked.kind, Dpdk):
        return {}
    cores = cores_of(int(queues))
    with running(several(asked.kind, int(queues)), cores) as server, ThreadPoolExecutor() as pool:
        asked.path = server.path()
        threads = kernel_threads([f"napi/{server.pair.server.interface}-"])
        before = used_ns(server, threads)
        asking = [pool.submit(wrk, server.pair.client, server.url(SMALL), server.scratch, seconds=seconds,
                              connections=CONNECTIONS, core=1 - core) for core in cores]
        answers = [it.result() for it in asking]
        used = used_ns(server, threads) - before
    requests = sum(it.requests for it in answers)
    return {"requests_per_core_s": requests / used * 1e9,
            "requests_per_s": sum(it.requests_per_s for it in answers), "request_us": used / requests / 1e3,
            "p99_us": max(it.p99_us for it in answers), "errors": float(sum(it.errors for it in answers))}


def used_ns(server: Server, threads: dict[int, str]) -> int:
    """Processor time of the server's processes, and of the receive work of its side."""
    return sum(run_ns(pid) for pid in (*server.pids(), *threads))


@contextmanager
def running(kind: type[Server], cores: list[int]) -> Iterator[Server]:
    """The server in namespaces of its own; all gone at the end."""
    if (os.cpu_count() or 1) < CORES:
        raise CommandError("the bench needs two cores: one for the server, one for the client")
    with tempfile.TemporaryDirectory(prefix="underpass-bench-") as folder, Pair(queues=len(cores)) as pair:
        scratch = Path(folder)
        root = make_files(scratch)
        tune(pair)
        thread_receiving(pair)
        server = kind(pair, root, scratch, cores[0] if len(cores) == 1 else None)
        pin(pair, cores)
        receive_first(pair)
        yield server


@contextmanager
def ready(kind: type[Server]) -> Iterator[Asked]:
    """The namespaces are made for each number of queues."""
    yield Asked(kind)


def configuration(kind: type[Server]) -> Callable[[], AbstractContextManager[Asked]]:
    """How to have that server ready."""
    return lambda: ready(kind)


FIGURE = Figure(
    name="cores", what="Figure 2: requests of 64 octets by number of queues",
    configurations={kind.name: configuration(kind) for kind in SERVERS},
    places=range(1, min(os.cpu_count() or 1, CORES) + 1), measure=measure, path=lambda asked: str(asked.path),
    units=UNITS, compares="requests_per_core_s", against={kind.name: Dpdk.name for kind in SERVERS},
    plots=(Plot("requests_per_s", "queues, each with a worker", "requests/s", "Different number of cores"),
           Plot("requests_per_core_s", "queues, each with a worker", "requests per core-second",
                "Per second of a core")))
