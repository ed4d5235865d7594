"""The rows of the table: what is measured, in which placement, for which servers, and what it must reach."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from underpass.apps.bench import many
from underpass.apps.bench.clients import Answer, ab, download, wrk
from underpass.apps.bench.cost import Usage, resident_bytes
from underpass.apps.bench.lab import CLIENT_CORE, LARGE, SERVER_CORE, SMALL, Lab
from underpass.apps.bench.servers import Nginx, Server, Underpass, UnderpassBusyPoll

Figures = dict[str, float]

UNITS = {
    "requests_per_s": "req/s", "process_us": "us process CPU/request", "core_us": "us server core/request",
    "busy_us": "us core not idle/request", "p50_us": "us p50", "p99_us": "us p99", "gbit_per_s": "Gbit/s",
    "cpu_percent": "% of a core", "answered": "answered", "errors": "errors", "start_bytes": "B at start",
    "connection_bytes": "B/idle connection", "segment_ns": "ns/segment in or out",
    "handover_ns": "ns/packet handed over", "transaction_ns": "ns/question and answer",
    "connections": "connections",
}
PLOTTED = ("requests_per_s", "process_us", "core_us", "p99_us", "gbit_per_s")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must reach: times the peer's figure, or by itself. `most`: it may not exceed that."""

    figure: str
    bound: float
    most: bool
    relative: bool = True

    def met(self, ours: float, peer: float | None) -> bool | None:
        """Whether it does; None where there is nothing to compare with."""
        if self.relative and not peer:
            return None
        bound = self.bound * (peer or 1) if self.relative else self.bound
        return ours <= bound if self.most else ours >= bound


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: `measure(lab, seconds)` gives its figures."""

    name: str
    what: str
    placement: str
    measure: Callable[[Lab, float], Figures]
    servers: tuple[type[Server], ...] = (Underpass, Nginx)
    goals: tuple[Goal, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class EngineRow:
    """The engine without a network: the same row for `connections` connections over the memory link."""

    name: str
    what: str
    connections: int
    goals: tuple[Goal, ...]
    placement: str = "memory link"
    servers: tuple[type[Server], ...] = (Underpass,)

    def measure(self, seconds: float) -> Figures:
        """Nanoseconds, on the server's core."""
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {SERVER_CORE})
        try:
            return self._run(seconds)
        finally:
            os.sched_setaffinity(0, cores)

    def _run(self, seconds: float) -> Figures:
        from underpass.apps.bench_engine import EngineBench

        engine = EngineBench(self.connections)
        figures = engine.run(seconds)
        engine.close()
        return {name: figures[name] for name in ("segment_ns", "transaction_ns")}


@dataclass(frozen=True, slots=True)
class HandoverRow(EngineRow):
    """The same with two workers, of which the one gets the packets and the other has the connections."""

    def _run(self, seconds: float) -> Figures:
        from underpass.apps.bench_handover import HandoverBench

        engine = HandoverBench(self.connections)
        figures = engine.run(seconds)
        engine.close()
        return {name: figures[name] for name in ("handover_ns", "transaction_ns")}


def each_request(lab: Lab, answer: Answer, used: Usage) -> Figures:
    """Requests/s, errors, and processor time a request; of the whole core as well where it is pinned."""
    figures = {"requests_per_s": answer.requests_per_s, "errors": float(answer.errors),
               "process_us": used.process_ns / answer.requests / 1e3}
    if lab.placement == "pinned":
        figures["core_us"] = used.core_ns / answer.requests / 1e3
        figures["busy_us"] = used.busy_ns / answer.requests / 1e3
    return figures


def loaded(lab: Lab, seconds: float, connections: int, keep_alive: bool) -> Figures:
    """Requests/s, latency, and processor time a request, with wrk or ab."""
    meter = lab.meter()
    url = lab.server.url(SMALL)
    before = meter.read()
    if keep_alive:
        answer = wrk(lab.pair.client, url, lab.scratch, connections=connections, seconds=seconds,
                     core=CLIENT_CORE)
    else:
        answer = ab(lab.pair.client, url, connections=connections, seconds=seconds, core=CLIENT_CORE)
    used = meter.read() - before
    figures = each_request(lab, answer, used)
    if keep_alive:
        figures |= {"p50_us": answer.p50_us, "p99_us": answer.p99_us}
    return figures


def keep_alive(lab: Lab, seconds: float) -> Figures:
    """wrk -c50."""
    return loaded(lab, seconds, 50, keep_alive=True)


def connection_each(lab: Lab, seconds: float) -> Figures:
    """ab -c50."""
    return loaded(lab, seconds, 50, keep_alive=False)


def one_connection(lab: Lab, seconds: float) -> Figures:
    """wrk -c1."""
    return loaded(lab, seconds, 1, keep_alive=True)


def large_file(lab: Lab, _seconds: float) -> Figures:
    """64 MB by curl."""
    octets, taken = download(lab.pair.client, lab.server.url(LARGE), core=CLIENT_CORE)
    return {"gbit_per_s": octets * 8 / taken / 1e9}


def idle(lab: Lab, seconds: float) -> Figures:
    """The server with nothing to do."""
    meter = lab.meter()
    before = meter.read()
    many.rest(seconds)
    used = meter.read() - before
    return {"cpu_percent": 100 * used.process_ns / used.wall_ns}


def many_connections(lab: Lab, _seconds: float) -> Figures:
    """10,000 kernel connections, all open, two requests on each; memory before and with them idle."""
    start = resident_bytes(lab.server.pids())
    host = lab.pair.server.address
    with many.open_connections(lab.pair.client, host, f"/{SMALL}", 10_000) as answered:
        held = resident_bytes(lab.server.pids())
    return {"answered": float(answered), "errors": float(20_000 - answered), "start_bytes": float(start),
            "connection_bytes": (held - start) / 10_000}


def very_many(lab: Lab, seconds: float) -> Figures:
    """100,000 connections of `underpass load` over four source addresses."""
    return many.user_space_connections(lab.pair, lab.server.url(SMALL), 100_000, seconds, CLIENT_CORE)


ROWS: tuple[Row | EngineRow, ...] = (
    Row("keep-alive", "wrk -c50, keep-alive", "default", keep_alive,
        goals=(Goal("process_us", 1 / 3, most=True), Goal("requests_per_s", 1.25, most=False))),
    Row("keep-alive-pinned", "wrk -c50, keep-alive", "pinned", keep_alive,
        goals=(Goal("core_us", 1 / 4, most=True),)),
    Row("connection-each", "ab -c50, a connection a request", "default", connection_each,
        goals=(Goal("requests_per_s", 1.6, most=False),)),
    Row("connection-each-pinned", "ab -c50, a connection a request", "pinned", connection_each,
        goals=(Goal("core_us", 1 / 2, most=True),)),
    Row("one", "wrk -c1", "default", one_connection, servers=(Underpass, UnderpassBusyPoll, Nginx),
        goals=(Goal("p50_us", 1, most=True), Goal("p99_us", 1, most=True))),
    Row("download", "64 MB by curl", "no offloads", large_file, goals=(Goal("gbit_per_s", 1, most=False),)),
    Row("download-offloads", "64 MB by curl", "default", large_file,
        goals=(Goal("gbit_per_s", 1, most=False),)),
    Row("idle", "idle", "default", idle, goals=(Goal("cpu_percent", 0.5, most=True, relative=False),)),
    Row("many", "10,000 keep-alive connections, two requests each", "default", many_connections,
        goals=(Goal("errors", 0, most=True, relative=False),
               Goal("start_bytes", 100 * 2**20, most=True, relative=False),
               Goal("connection_bytes", 1024, most=True, relative=False))),
    Row("very-many", "100,000 keep-alive connections of `underpass load`", "default", very_many,
        servers=(Underpass,), goals=(Goal("errors", 0, most=True, relative=False),
                                     Goal("connections", 100_000, most=False, relative=False))),
    EngineRow("engine-50", "engine alone, 64 B both ways, 50 connections", 50,
              goals=(Goal("segment_ns", 150, most=True, relative=False),)),
    EngineRow("engine-50k", "engine alone, 64 B both ways, 50,000 connections", 50_000,
              goals=(Goal("segment_ns", 150, most=True, relative=False),)),
    HandoverRow("handover", "engine alone, two workers, packets come to the wrong one", 50,
                goals=(Goal("handover_ns", 300, most=True, relative=False),)),
)
