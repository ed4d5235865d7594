"""Figure 3: what the server's core does while clients offer a part of what the server can do.

The clients are an open loop, `underpass load --rate` from the other namespace, on the other core. What a
server can do is measured first, by a closed loop of as many connections; 100 % is that. Processor time is
read in the middle of the load: the paper's average ran from before the first request until after the last.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from underpass.apps.bench.figure import Figure, Plot, Values
from underpass.apps.bench.lab import CLIENT_CORE, SMALL, Lab, lab
from underpass.apps.bench.servers import Dpdk, KernelSockets, Nginx, Server, Underpass, UnderpassBusyPoll
from underpass.linux.namespaces import CommandError

CONNECTIONS = 50
LOADS = (0, 10, 25, 50, 75, 100)
WARM_S = 1.0                # until the clients have started and all are connected
SERVERS: tuple[type[Server], ...] = (Dpdk, Underpass, UnderpassBusyPoll, Nginx, KernelSockets)
UNITS = {"core_percent": "% of the core not idle", "process_percent": "% of a core, server process",
         "offered_per_s": "req/s offered", "requests_per_s": "req/s answered", "p99_us": "us p99",
         "errors": "errors"}


class Loaded:
    """A running server, and what it can do."""

    def __init__(self, place: Lab, capacity: float) -> None:
        self.lab = place
        self.capacity = capacity


@contextmanager
def ready(kind: type[Server]) -> Iterator[Loaded]:
    """The server in its namespaces, measured at its most."""
    with lab(kind, "default") as place:
        clients = load(place, 0, WARM_S + 1)
        yield Loaded(place, finished(clients)["requests_per_s"])


def load(place: Lab, rate: float, seconds: float) -> "subprocess.Popen[str]":
    """Start the clients: so many requests/s in all, or as many as are answered for 0."""
    words = ["--rate", f"{rate:.0f}"] if rate else []
    return place.pair.client.start(
        sys.executable, "-m", "underpass.cli", "load", place.server.url(SMALL), "--interface",
        place.pair.client.interface, "--mode", "native", "-c", str(CONNECTIONS), "-d", f"{seconds:g}", *words,
        "--json", core=CLIENT_CORE, output=subprocess.PIPE)


def finished(clients: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the clients say at their end. Raises CommandError where they failed."""
    text, _ = clients.communicate(timeout=60)
    if clients.returncode:
        said = text.strip().splitlines() or [f"exit status {clients.returncode}"]
        raise CommandError(f"underpass load: {said[-1]}")
    found: dict[str, Any] = json.loads(text)
    return found


def measure(loaded: Loaded, percent: float, seconds: float) -> Values:
    """The server's core at so many percent of what the server can do."""
    meter = loaded.lab.meter()
    rate = loaded.capacity * percent / 100
    clients = load(loaded.lab, rate, 2 * WARM_S + seconds) if rate else None
    time.sleep(WARM_S)
    before = meter.read()
    time.sleep(seconds)
    used = meter.read() - before
    values = {"core_percent": 100 * used.busy_ns / used.wall_ns,
              "process_percent": 100 * used.process_ns / used.wall_ns}
    if clients is None:
        return values
    answer = finished(clients)
    return values | {"offered_per_s": rate, "requests_per_s": answer["requests_per_s"],
                     "p99_us": answer["latency_ns"]["p99"] / 1e3,
                     "errors": float(sum(answer["errors"].values()))}


def natively(kind: type[Server]) -> type[Server]:
    """The same by native XDP, as DPDK's driver has it, where a veth would be taken by generic."""
    return kind.with_options("--mode", "native") if issubclass(kind, Underpass) else kind


def configuration(kind: type[Server]) -> Callable[[], AbstractContextManager[Loaded]]:
    """How to have that server ready."""
    return lambda: ready(natively(kind))


FIGURE = Figure(
    name="load", what="Figure 3: processor time against offered load",
    configurations={kind.name: configuration(kind) for kind in SERVERS},
    places=LOADS, measure=measure, path=lambda loaded: str(loaded.lab.server.path()), units=UNITS,
    plots=(Plot("core_percent", "offered load, % of the server's capacity", "server core not idle, %",
                "CPU consumption against load"),
           Plot("p99_us", "offered load, % of the server's capacity", "latency, us", "99th percentile")))
