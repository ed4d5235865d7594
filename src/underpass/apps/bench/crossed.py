"""Where workers are compared: every worker with a client of its own, on the other core.

    core 0: client 0, its receive work    worker 1, receive work of its queue
    core 1: client 1, its receive work    worker 0, receive work of its queue

So each worker gets what one closed loop asks, however many there are. With one client for all, each of two
workers would be asked half as often, and would sleep and wake for half as many packets a time. That a worker
shares its core with the other's client changes its figure too: two servers of one worker in the very same
places, on interfaces of their own, show how much.
"""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from underpass.apps.bench.clients import Answer, wrk
from underpass.apps.bench.cost import kernel_threads, run_ns
from underpass.apps.bench.lab import SMALL, make_files, thread_receiving, tune
from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import CommandError, Namespace, Pair, run

CONNECTIONS = 64                    # of each client
CORES = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """So many servers, each with so many workers on an interface with as many queues."""

    name: str
    servers: int
    workers: int

    @property
    def clients(self) -> int:
        """One for each worker."""
        return self.servers * self.workers


class SidePair(Pair):
    """One more veth pair between the namespaces of a pair, with addresses of its own."""

    def __init__(self, beside: Pair, number: int, queues: int) -> None:
        super().__init__((f"{beside.client.interface}x{number}", f"{beside.server.interface}x{number}"),
                         queues=queues)
        self.client.address, self.server.address = f"10.198.{number}.1", f"10.198.{number}.2"
        self.client.address6, self.server.address6 = f"fd00:{51 + number}::1", f"fd00:{51 + number}::2"

    def __enter__(self) -> Self:
        self._join()
        for side in self.namespaces:
            run("ip", "-n", side.name, "-batch", "-", text="\n".join((
                f"addr add {side.address}/24 dev {side.interface}",
                f"addr add {side.address6}/64 dev {side.interface} nodad",
                f"link set {side.interface} up", "")))
        return self

    def close(self) -> None:
        """End the processes; the interfaces go with the namespaces."""
        for side in self.namespaces:
            for process in list(side.processes):
                side.stop(process)


class Workers(Underpass):
    """A supervisor with a worker for each queue, the first on `first_core`, the next on the other one."""

    def __init__(self, pair: Pair, root: Path, scratch: Path, first_core: int) -> None:
        self.cores = [(first_core + number) % CORES for number in range(pair.queues)]
        super().__init__(pair, root, scratch, None)         # the workers pin themselves

    def command(self) -> list[str]:
        """As many workers as queues."""
        return [*super().command(), "--workers", str(len(self.cores)),
                "--cores", ",".join(map(str, self.cores)), "--user", "root"]


class Place:
    """The servers of a layout, ready to be asked."""

    def __init__(self, servers: list[Workers], scratch: Path) -> None:
        self.servers, self.scratch = servers, scratch

    def used_ns(self) -> int:
        """Processor time of all servers: supervisors, workers, and the receive work of their queues."""
        threads = kernel_threads([f"napi/{it.pair.server.interface}-" for it in self.servers])
        pids = [pid for server in self.servers for pid in server.pids()]
        return sum(run_ns(pid) for pid in (*pids, *threads))

    def ask(self, seconds: float) -> tuple[list[Answer], int]:
        """All clients at once: what each got, and what the servers took for it."""
        before = self.used_ns()
        with ThreadPoolExecutor() as pool:
            asking = [pool.submit(wrk, server.pair.client, server.url(SMALL), self.scratch,
                                  connections=CONNECTIONS, seconds=seconds, core=1 - core)
                      for server in self.servers for core in server.cores]
            answers = [it.result() for it in asking]
        return answers, self.used_ns() - before


@contextmanager
def placed(layout: Layout) -> Iterator[Place]:
    """Namespaces, interfaces and servers of a layout; all gone at the end."""
    if (os.cpu_count() or 1) < CORES:
        raise CommandError("the bench needs two cores: each has workers, and the clients of the other's")
    with ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="underpass-bench-")))
        root = make_files(scratch)
        first = undo.enter_context(Pair(queues=layout.workers))
        tune(first)
        pairs = [first, *(undo.enter_context(SidePair(first, number, layout.workers))
                          for number in range(1, layout.servers))]
        servers = []
        for number, pair in enumerate(pairs):
            folder = scratch / str(number)
            folder.mkdir()
            thread_receiving(pair)
            servers.append(Workers(pair, root, folder, (1 + number) % CORES))
            pin(pair, servers[-1].cores)
        yield Place(servers, scratch)


def pin(pair: Pair, cores: list[int]) -> None:
    """Receive work of each queue on its worker's core and, at the other end, on its client's; what is sent
    from a core goes by the queue of that core's client. Offloads as in the placement "pinned".
    """
    thread_receiving(pair)
    for side, wanted in ((pair.client, [1 - core for core in cores]), (pair.server, cores)):
        threads = sorted(kernel_threads([f"napi/{side.interface}-"]))      # in the order of their queues
        if len(threads) < len(wanted):
            raise CommandError(f"{side.interface} has no NAPI threads: this kernel's veth cannot be pinned")
        for pid, core in zip(threads, wanted, strict=False):
            run("taskset", "-pc", str(core), str(pid))
    if len(cores) > 1:
        send_by_core(pair.client, [1 - core for core in cores])


def send_by_core(side: Namespace, cores: list[int]) -> None:
    """XPS: which cores send by which queue."""
    for queue, core in enumerate(cores):
        side.write(f"/sys/class/net/{side.interface}/queues/tx-{queue}/xps_cpus", f"{1 << core:x}")
