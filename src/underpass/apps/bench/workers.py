"""What several workers cost: a request by 1, 2 and 4 of them, idle, without their supervisor, captured; and a
model of more cores.

Here are two cores, so requests/s say little, but the processor time of a request tells whether workers get
in each other's way (`bench.crossed` has the placement). Four workers share two cores with as many clients,
and what a client sends at a time is spread over the two queues of its core: that is more queues than cores,
and labelled so. The model says what would follow with a core for each worker.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from underpass.apps.bench.cost import HOW, run_ns
from underpass.apps.bench.crossed import CONNECTIONS, CORES, Layout, Place, placed
from underpass.apps.bench.lab import CLIENT_CORE, SMALL, machine
from underpass.apps.bench.many import rest
from underpass.apps.bench.peers import Series, goals
from underpass.apps.bench.rows import Figures, Goal
from underpass.linux.namespaces import CommandError, until

KEPT = 0.95                         # of the requests that a CPU-second serves with one worker
MODELLED = (1, 2, 4, 8, 16)
STOPPED_S = 10.0                    # how long the supervisor stands still
CAPTURED_RATE = 50_000              # requests/s: twice as many packets
ONE, TWO, FOUR = (Layout(f"{count} worker{'s' * (count > 1)}", 1, count) for count in (1, 2, 4))
TWO_APART = Layout("2 servers of one", 2, 1)
CROSSED = ("crossed: every worker has a client of its own on the other core, workers on cores 1, 0, 1, 0;"
           " threaded NAPI, the thread of each queue with its worker or client; TSO and GSO off, GRO on;"
           " 4 are more queues than cores")
UNITS = {"requests_per_s": "req/s", "request_us": "us workers and NAPI/request", "errors": "errors",
         "idle_percent": "% of a core", "stopped_per_s": "req/s, supervisor stopped",
         "stopped_ratio": "of the req/s, supervisor stopped", "worker_us": "us worker/request",
         "captured_us": "us worker/request, captured", "capture_percent": "% more by the capture",
         "capture_lost": "packets lost to the capture"}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement in each of its layouts. `goals`: (goal, whose figure, beside whose)."""

    name: str
    what: str
    measure: Callable[[Place, float], Figures]
    layouts: tuple[Layout, ...]
    goals: tuple[tuple[Goal, Layout, Layout], ...] = field(default=())


def loaded(place: Place, seconds: float) -> Figures:
    """What a request costs."""
    answers, used_ns = place.ask(seconds)
    requests = sum(it.requests for it in answers)
    return {"requests_per_s": sum(it.requests_per_s for it in answers),
            "request_us": used_ns / requests / 1e3, "errors": float(sum(it.errors for it in answers))}


def idle(place: Place, seconds: float) -> Figures:
    """Nobody asks."""
    rest(0.5)
    before = place.used_ns()
    rest(seconds)
    return {"idle_percent": 100 * (place.used_ns() - before) / (seconds + 0.5) / 1e9}


def stopped(place: Place, _seconds: float) -> Figures:
    """While the supervisor stands still, beside the mean of before and after: the machine may change."""
    supervisor = place.servers[0].process.pid
    before = sum(it.requests_per_s for it in place.ask(STOPPED_S)[0])
    os.kill(supervisor, signal.SIGSTOP)
    try:
        answers = place.ask(STOPPED_S)[0]
    finally:
        os.kill(supervisor, signal.SIGCONT)
    without = sum(it.requests_per_s for it in answers)
    with_it = (before + sum(it.requests_per_s for it in place.ask(STOPPED_S)[0])) / 2
    return {"requests_per_s": with_it, "stopped_per_s": without, "stopped_ratio": without / with_it,
            "errors": float(sum(it.errors for it in answers))}


def captured(place: Place, seconds: float) -> Figures:
    """An open loop of requests, without a capture and with one of everything."""
    plain = worker_us(place, seconds)
    with capture(place) as lost:
        seen = worker_us(place, seconds)
    return {"worker_us": plain, "captured_us": seen, "capture_percent": 100 * (seen / plain - 1),
            "capture_lost": float(lost())}


def worker_us(place: Place, seconds: float) -> float:
    """What a request at CAPTURED_RATE costs the worker."""
    server = place.servers[0]
    worker = server.pids()[1]
    before = run_ns(worker)
    done = server.pair.client.run(
        sys.executable, "-m", "underpass.cli", "load", server.url(SMALL), "-i", server.pair.client.interface,
        "-c", str(CONNECTIONS), "-d", str(seconds), "--rate", str(CAPTURED_RATE), "--json", core=CLIENT_CORE,
        timeout_s=seconds + 60)
    answered: int = json.loads(done.stdout)["requests"]
    return (run_ns(worker) - before) / answered / 1e3


@contextmanager
def capture(place: Place) -> Iterator[Callable[[], int]]:
    """`underpass dump` of everything; what is yielded ends it, and tells how many packets it lost."""
    server = place.servers[0].pair.server
    log = place.scratch / "dump.log"
    with log.open("w") as output:
        process = server.start(sys.executable, "-m", "underpass.cli", "dump", "-i", server.interface,
                               "-w", "/dev/null", core=CLIENT_CORE, output=output)

    def lost() -> int:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        for line in log.read_text().splitlines():
            if "packets captured" in line:
                return int(line.split(" passed, ")[1].split()[0])
        raise CommandError(f"underpass dump does not say what it lost: {log.read_text().strip()}")

    try:
        if not until(lambda: "capturing on" in log.read_text(), 10):
            raise CommandError(f"underpass dump does not begin: {log.read_text().strip()}")
        yield lost
    finally:
        server.stop(process)


ROWS = (
    Row("cores", f"wrk -c{CONNECTIONS} for each worker, keep-alive", loaded,
        (ONE, TWO, TWO_APART, FOUR),
        ((Goal("request_us", 1 / KEPT, most=True), TWO, ONE),
         (Goal("errors", 0, most=True, relative=False), TWO, TWO))),
    Row("idle", "idle, the supervisor included", idle, (FOUR,),
        ((Goal("idle_percent", 1, most=True, relative=False), FOUR, FOUR),)),
    Row("stopped", f"supervisor stopped for {STOPPED_S:g} s", stopped, (TWO,),
        ((Goal("stopped_ratio", KEPT, most=False, relative=False), TWO, TWO),
         (Goal("errors", 0, most=True, relative=False), TWO, TWO))),
    Row("capture", f"{CAPTURED_RATE:,} requests/s of underpass load, underpass dump of everything",
        captured, (ONE,),
        ((Goal("capture_percent", 10, most=True, relative=False), ONE, ONE),)),
)


def measure(rows: list[Row], rounds: int, seconds: float,
            say: Callable[[str], None]) -> dict[str, dict[str, Series]]:
    """All rows, the layouts in turns, in changing order."""
    results = {row.name: {it.name: Series(it.name) for it in row.layouts} for row in rows}
    for turn in range(rounds):
        for row in rows:
            for layout in row.layouts if turn % 2 == 0 else row.layouts[::-1]:
                say(f"round {turn + 1}/{rounds}: {row.name}, {layout.name}")
                once(row, layout, seconds, results[row.name][layout.name], say)
    return results


def once(row: Row, layout: Layout, seconds: float, series: Series, say: Callable[[str], None]) -> None:
    """One row in one layout. A failure is a result too: it is kept and said."""
    try:
        with placed(layout) as place:
            series.path = place.servers[0].path()
            series.rounds.append(row.measure(place, seconds))
    except (OSError, ValueError) as error:
        series.failures.append(str(error))
        say(f"  failed: {error}")


def model(request_us: float) -> dict[str, float]:
    """Requests/s on so many cores, each with a worker and its queue's receive work and nothing else on it.

    What they share costs no more with more of them: the XDP program's maps are only read, the table of flows
    is written once for a connection, and the supervisor does nothing.
    """
    return {str(cores): cores * 1e6 / request_us for cores in MODELLED}


def report(results: dict[str, dict[str, Series]], rounds: int, seconds: float) -> dict[str, Any]:
    """In the form of the other reports, with the model beside it."""
    found = results.get("cores", {}).get(TWO.name, Series("")).figures().get("request_us")
    return {"machine": machine(), "how": f"processor time: {HOW}", "rounds": rounds, "seconds": seconds,
            "length": f"{rounds} rounds of {seconds:g} s", "units": UNITS,
            "plotted": ["requests_per_s", "request_us"],
            "rows": [row_report(row, results[row.name]) for row in ROWS if row.name in results],
            "model": model(found["median"]) if found else {}}


def row_report(row: Row, results: dict[str, Series]) -> dict[str, Any]:
    """One row, and what came of its goals."""
    servers = {name: {"path": it.path, "figures": it.figures(), "failures": it.failures}
               for name, it in results.items()}
    met = [it for goal, ours, against in row.goals
           for it in goals([goal], results, against=against.name, ours=ours.name)]
    return {"name": row.name, "what": row.what, "placement": CROSSED, "servers": servers, "goals": met}


def model_text(report: dict[str, Any]) -> str:
    """The model in one line, which says that it is one."""
    if not report["model"]:
        return "no model: what a request costs with 2 workers was not measured"
    steps = ", ".join(f"{cores}: {rate:,.0f}" for cores, rate in report["model"].items())
    return (f"model, not measured (what a request costs with 2 workers on {CORES} cores, a core each): req/s"
            f" by cores {steps}")
