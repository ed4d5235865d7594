"""What a request costs when 1, 2 or 4 workers serve an interface of as many queues, and a model of more
cores.

Here are few cores, so the workers share them with the client and with each other: requests/s say little, but
the processor time of a request tells whether workers get in each other's way. The model says what would
follow on a machine with a core for each worker; it is labelled as one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from underpass.apps.bench.clients import wrk
from underpass.apps.bench.cost import HOW, family, kernel_threads, run_ns
from underpass.apps.bench.lab import CLIENT_CORE, SMALL, Lab, lab, machine
from underpass.apps.bench.peers import Series, goals
from underpass.apps.bench.rows import Figures, Goal
from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import CommandError, Pair, run

CONNECTIONS = 64
WORKERS = (1, 2, 4)
MODELLED = (1, 2, 4, 8, 16)
KEPT = 0.95                         # of the requests that a CPU-second serves with one worker
PLACEMENT = ("threaded NAPI on both sides, the thread of each queue on its worker's core; TSO and GSO off,"
             " GRO on; workers on cores 1, 0, 1, 0, wrk on core 0")
UNITS = {"requests_per_s": "req/s", "request_us": "us workers and NAPI/request", "errors": "errors"}


class Workers(Underpass):
    """A supervisor with `count` workers."""

    count = 1

    def __init__(self, pair: Pair, root: Path, scratch: Path, _core: int | None) -> None:
        super().__init__(pair, root, scratch, None)         # the workers pin themselves

    def command(self) -> list[str]:
        """Workers on the cores of the machine, in turns, the server's first."""
        cores = ",".join(str((number + 1) % 2) for number in range(self.count))
        return [*super().command(), "--workers", str(self.count), "--cores", cores, "--user", "root"]


def workers(number: int) -> type[Workers]:
    """The server with so many."""
    name = f"{number} worker{'s' * (number > 1)}"
    return type(f"Workers{number}", (Workers,), {"count": number, "name": name})


SERVERS = tuple(workers(number) for number in WORKERS)


@contextmanager
def placed(kind: type[Workers]) -> Iterator[Lab]:
    """The server, each queue's receive work on its worker's core."""
    with lab(kind, "no offloads", queues=kind.count) as place:
        for side in (place.pair.client, place.pair.server):
            side.offload(tso=False, gso=False, gro=True)
            side.write(f"/sys/class/net/{side.interface}/threaded", 1)
        pin(place.pair, kind.count)
        yield place


def pin(pair: Pair, queues: int) -> None:
    """NAPI threads, which are numbered in the order of their queues."""
    for side, cores in ((pair.client, [CLIENT_CORE] * queues),
                        (pair.server, [(number + 1) % 2 for number in range(queues)])):
        threads = sorted(kernel_threads([f"napi/{side.interface}-"]))
        if len(threads) < queues:
            raise CommandError(f"{side.interface} has no NAPI threads: this kernel's veth cannot be pinned")
        for pid, core in zip(threads, cores, strict=False):
            run("taskset", "-pc", str(core), str(pid))


def once(place: Lab, seconds: float) -> Figures:
    """wrk, keep-alive; the time of the workers and of the NAPI threads of their side."""
    threads = list(kernel_threads([f"napi/{place.pair.server.interface}-"]))

    def used() -> int:
        return sum(run_ns(pid) for pid in [*family(place.server.process.pid), *threads])

    before = used()
    answer = wrk(place.pair.client, place.server.url(SMALL), place.scratch, connections=CONNECTIONS,
                 seconds=seconds, core=CLIENT_CORE)
    return {"requests_per_s": answer.requests_per_s, "request_us": (used() - before) / answer.requests / 1e3,
            "errors": float(answer.errors)}


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> dict[str, Series]:
    """Each number of workers in turns, in changing order."""
    results = {kind.name: Series(kind.name) for kind in SERVERS}
    for turn in range(rounds):
        for kind in SERVERS if turn % 2 == 0 else SERVERS[::-1]:
            say(f"round {turn + 1}/{rounds}: {kind.name}")
            try:
                with placed(kind) as place:
                    results[kind.name].path = place.server.path()
                    results[kind.name].rounds.append(once(place, seconds))
            except (OSError, ValueError) as error:
                results[kind.name].failures.append(str(error))
                say(f"  failed: {error}")
    return results


def model(request_us: float) -> dict[str, float]:
    """Requests/s on so many cores, each with a worker and its queue's receive work and nothing else on it.

    What they share costs no more with more of them: the XDP program's maps are only read, the table of flows
    is written once for a connection, and the supervisor does nothing.
    """
    return {str(cores): cores * 1e6 / request_us for cores in MODELLED}


def report(results: dict[str, Series], rounds: int, seconds: float) -> dict[str, Any]:
    """In the form of the other reports, with the model beside it."""
    one, two = SERVERS[0].name, SERVERS[1].name
    servers = {name: {"path": it.path, "figures": it.figures(), "failures": it.failures}
               for name, it in results.items()}
    wanted = [Goal("request_us", 1 / KEPT, most=True)]
    row = {"name": "cores", "what": f"wrk -c{CONNECTIONS}, keep-alive", "placement": f"pinned: {PLACEMENT}",
           "servers": servers, "goals": goals(wanted, results, against=one, ours=two)}
    found = results[two].figures().get("request_us")
    return {"machine": machine(), "how": f"processor time: {HOW}", "rounds": rounds, "seconds": seconds,
            "length": f"{rounds} rounds of {seconds:g} s", "units": UNITS,
            "plotted": ["requests_per_s", "request_us"], "rows": [row],
            "model": model(found["median"]) if found else {}}


def model_text(report: dict[str, Any]) -> str:
    """The model in one line, which says that it is one."""
    steps = ", ".join(f"{cores}: {rate:,.0f}" for cores, rate in report["model"].items())
    return f"model, not measured (what a request costs with 2 workers, a core each): req/s by cores {steps}"

