"""`underpass bench asyncio`: Python servers on three event loops, side by side in one run."""

import statistics
import time
from collections.abc import Iterable
from typing import Any

from underpass.apps.bench import peers
from underpass.apps.bench.clients import transfer, websockets, wrk
from underpass.apps.bench.cost import HOW, resident_bytes, socket_slab_bytes
from underpass.apps.bench.lab import CLIENT_CORE, PLACEMENTS, Lab, machine
from underpass.apps.bench.python_programs import LARGE, NATIVE
from underpass.apps.bench.python_servers import servers
from underpass.apps.bench.rows import PLOTTED, UNITS, Figures, Goal, Row, each_request

CONNECTIONS = 50
SOCKETS = 10_000
ECHO_BYTES = 1024
AGAINST = "uvloop"
LOOKED_AT = "GET / HTTP/1.1\r\n\r\n"


def cost(lab: Lab, seconds: float, script: str = "") -> Figures:
    """wrk -c50: requests/s, latency and processor time a request."""
    meter = lab.meter()
    before = meter.read()
    answer = wrk(lab.pair.client, lab.server.url("hello"), lab.scratch, connections=CONNECTIONS,
                         seconds=seconds, core=CLIENT_CORE, script=script)
    used = meter.read() - before
    return each_request(lab, answer, used) | {"p50_us": answer.p50_us, "p99_us": answer.p99_us}


def echo_script() -> str:
    """For wrk: requests that are responses of ECHO_BYTES, so that an echo of one is one. The first that it
    asks for it only looks at, and wants to be a request.
    """
    head = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n"
    body = ECHO_BYTES - len(head.format(900))
    message = head.format(body) + "x" * body
    return (f"local asked, message = 0, {lua(message)}\n"
            "request = function()\n"
            "  asked = asked + 1\n"
            f"  return asked > 1 and message or {lua(LOOKED_AT)}\n"
            "end\n")


def lua(text: str) -> str:
    """A string literal."""
    return '"' + text.replace("\r", "\\r").replace("\n", "\\n") + '"'


def large(lab: Lab, seconds: float) -> Figures:
    """100 MB down and up, again and again: one takes some 30 ms, and the next one twice or half of that."""
    figures = {}
    for way in ("down", "up"):
        taken: list[float] = []
        end = time.monotonic() + seconds
        while not taken or time.monotonic() < end:
            taken.append(transfer(lab.pair.client, lab.server.url("large"), way, LARGE, lab.scratch,
                                  core=CLIENT_CORE))
        figures[f"{way}_gbit_per_s"] = LARGE * 8 / statistics.median(taken) / 1e9
    return figures


def idle_websockets(lab: Lab, _seconds: float) -> Figures:
    """Memory of 10,000 of them: the server's, and the kernel's sockets, the clients' as well."""
    start, sockets = resident_bytes(lab.server.pids()), socket_slab_bytes()
    with websockets(lab.pair.client, lab.server.url("ws"), SOCKETS) as opened:
        held, sockets = resident_bytes(lab.server.pids()), socket_slab_bytes() - sockets
    return {"answered": float(opened), "start_bytes": float(start),
            "connection_bytes": (held - start) / SOCKETS, "all_bytes": float(held),
            "machine_bytes": float(held + sockets)}


def row(name: str, what: str, program: str, bound: float, measure: Any = cost) -> list[Row]:
    """One program in both placements, with its bound for the processor time of a request against uvloop's."""
    kinds = servers(program)
    return [
        Row(name, what, "default", measure, kinds, (Goal("process_us", bound, most=True),)),
        Row(f"{name}-pinned", what, "pinned", measure, kinds, (Goal("core_us", bound, most=True),)),
    ]


def echo_row(lab: Lab, seconds: float) -> Figures:
    """1 KiB there and back, wrk -c50."""
    return cost(lab, seconds, echo_script())


ROWS: list[Row] = [
    *row("hello", "Protocol, 64 B hello, wrk -c50", "hello", 1 / 3),
    *row("echo", "Protocol, echo of 1 KiB, wrk -c50", "echo", 1 / 3, echo_row),
    *row("streams", "streams, echo of 1 KiB, wrk -c50", "streams", 1 / 1.5, echo_row),
    *row("uvicorn", "uvicorn + httptools, 64 B hello, wrk -c50", "uvicorn", 1 / 1.4),
    *row("aiohttp", "aiohttp server, 64 B hello, wrk -c50", "aiohttp", 1 / 1.3),
    *row("tls", "Protocol over TLS, 64 B hello, wrk -c50", "tls", 1 / 1.3),
    Row("large", "100 MB by Protocol, curl", "default", large, servers("bulk", NATIVE),
        (Goal("down_gbit_per_s", 1.0, most=False), Goal("up_gbit_per_s", 1.0, most=False))),
    Row("websockets", "10,000 idle websockets", "default", idle_websockets, servers("websockets"),
        (Goal("connection_bytes", 1.0, most=True), Goal("all_bytes", 1.0, most=True),
         Goal("machine_bytes", 1.0, most=True))),
]


def chosen(only: Iterable[str]) -> list[Row]:
    """The rows by name, all of them for none."""
    return peers.by_name(ROWS, only)


def report(results: dict[str, dict[str, peers.Series]], rounds: int, seconds: float) -> dict[str, Any]:
    """Everything as one JSON document, of the shape that `bench peers` has."""
    by_name = {one.name: one for one in ROWS}
    units = UNITS | {"down_gbit_per_s": "Gbit/s to the client", "up_gbit_per_s": "Gbit/s from the client",
                     "connection_bytes": "B/idle websocket", "all_bytes": "B with all of them",
                     "machine_bytes": "B with the kernel's sockets"}
    return {
        "machine": machine(), "how": f"processor time: {HOW}", "rounds": rounds, "seconds": seconds,
        "length": f"{rounds} rounds of {seconds:g} s", "units": units, "plotted": PLOTTED,
        "rows": [row_report(by_name[name], series) for name, series in results.items()],
    }


def row_report(one: Row, series: dict[str, peers.Series]) -> dict[str, Any]:
    """One row: each loop's figures, and what came of its goals beside uvloop."""
    found = {name: {"path": it.path, "figures": it.figures(), "failures": it.failures}
             for name, it in series.items()}
    return {"name": one.name, "what": one.what, "placement": f"{one.placement}: {PLACEMENTS[one.placement]}",
            "servers": found, "goals": peers.goals(one.goals, series, AGAINST)}
