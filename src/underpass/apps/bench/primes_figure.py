"""Figure 4: an application that computes, on each packet I/O, in each arrangement.

For each request the server finds the primes below X. Run to completion, the loop polls between requests, and
loses little by it. In the paper's arrangement the stack has one thread and the application another, on one
core: a stack that polls without a pause takes its share of the core from the application, packets or not.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from underpass.apps.bench.clients import wrk
from underpass.apps.bench.figure import Figure, Plot, Values
from underpass.apps.bench.lab import CLIENT_CORE, Lab, lab
from underpass.apps.bench.servers import Underpass

CONNECTIONS = 50
NUMBERS = (100, 200, 400, 600, 800)
UNITS = {"requests_per_s": "req/s", "p99_us": "us p99", "request_us": "us server process/request",
         "ratio": "times DPDK's req/s", "errors": "errors"}


class Primes(Underpass):
    """`underpass.apps.primes.server`."""

    io = "afxdp"
    arrangement = "one"

    def command(self) -> list[str]:
        """On the server's core, with all its threads."""
        return [sys.executable, "-m", "underpass.apps.primes.server", self.pair.server.interface,
                self.pair.server.address, self.io, self.arrangement]

    def url(self, name: str) -> str:
        """A number below which primes are to be found; the smallest where none is given."""
        return super().url(name or "2")


def kind(io: str, arrangement: str) -> type[Primes]:
    """The server over that packet I/O, in that arrangement."""
    words = {"one": "run to completion", "two": "two threads"}[arrangement]
    name = f"{io}, {words}" if io != "kernel" else "kernel sockets"
    return type(f"Primes_{io}_{arrangement}", (Primes,), {"io": io, "arrangement": arrangement, "name": name})


def measure(place: Lab, below: float, seconds: float) -> Values:
    """wrk, keep-alive."""
    meter = place.meter()
    before = meter.read()
    answer = wrk(place.pair.client, place.server.url(f"{below:.0f}"), place.scratch, connections=CONNECTIONS,
                 seconds=seconds, core=CLIENT_CORE)
    used = meter.read() - before
    return {"requests_per_s": answer.requests_per_s, "p99_us": answer.p99_us,
            "request_us": used.process_ns / answer.requests / 1e3, "errors": float(answer.errors)}


def configuration(server: type[Primes]) -> Callable[[], AbstractContextManager[Lab]]:
    """How to have that server ready."""
    return lambda: lab(server, "default")


KINDS = [*(kind(io, arrangement) for arrangement in ("one", "two") for io in ("dpdk", "afxdp", "busy-poll")),
         kind("kernel", "one")]
FIGURE = Figure(
    name="cpu", what="Figure 4: requests/s when each request takes the primes below X",
    configurations={server.name: configuration(server) for server in KINDS},
    places=NUMBERS, measure=measure, path=lambda place: str(place.server.path()), units=UNITS,
    plots=(Plot("requests_per_s", "X", "requests/s", "CPU-bound application"),
           Plot("ratio", "X", "times DPDK's", "normalised to DPDK in the same arrangement")),
    against={server.name: kind("dpdk", server.arrangement).name for server in KINDS})
