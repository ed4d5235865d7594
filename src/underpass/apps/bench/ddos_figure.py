"""Figure 5: what clients get while a flood rises, and what the server's core does.

Clients are an open loop of a fixed rate from the other namespace, on connections that last, and under SYN
floods on one for each request. Receive work is pinned to its own side. The flood's sender runs behind the
clients on their core, so clients lose what the server loses, and not their processor.

`bare drop` is the reference: the least that can drop the flood stands in front of the unprotected server's
program, on the same interface. Beside it the same with an interface of its own for the flood, whose receive
work runs on the server's core: then clients do not share a ring with it either.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count

from underpass.apps.bench.crossed import SidePair
from underpass.apps.bench.figure import Figure, Plot, Values
from underpass.apps.bench.floods import (
    KINDS,
    MPPS,
    POLICIES,
    SOURCES,
    Target,
    answers_go_back,
    begun,
    drop_first,
    filter_by_nftables,
    flooding,
)
from underpass.apps.bench.lab import CLIENT_CORE, SMALL, Lab, lab, place, receive_first
from underpass.apps.bench.servers import Dpdk, Nginx, Server, Underpass
from underpass.linux.namespaces import CommandError, Namespace

CONNECTIONS = 50
RATE = 20_000                       # requests/s
NEW_RATE = 5_000                    # a connection each
WARM_S = 1.0
ADDRESSES = 17                      # of 4,096 ports each; odd, since addresses and ports are taken in step
FRESH = count()
UNITS = {"requests_per_s": "req/s answered", "success_percent": "% answered in time", "p99_us": "us p99",
         "core_percent": "% of the core not idle", "arrived_mpps": "Mpps that came in", "errors": "errors",
         "ratio": "times that beside a bare drop"}
OPTIONS = {"syn": ("--syn-cookies", "auto", "--admission"), "ack": ("--syn-cookies", "auto", "--admission")}


class Shielded(Underpass):
    """`underpass serve --shield`, with the policy and the options for one flood."""

    name = "shield"
    flood = ""

    def command(self) -> list[str]:
        """Its policy is written first."""
        policy = self.scratch / "shield.toml"
        policy.write_text(self.policy())
        return [*super().command(), "--shield", str(policy), *OPTIONS.get(self.flood, ())]

    def policy(self) -> str:
        """What stops the flood."""
        return POLICIES[self.flood]


@contextmanager
def ready(server: type[Server], flood: str, protect: Callable[[Lab], None] | None = None) -> Iterator[Target]:
    """The server, and what is done to protect it."""
    with lab(server, "pinned") as it:
        answers_go_back(it)
        receive_first(it.pair)
        if protect:
            protect(it)
        yield Target(it, flood, it.pair.server, it.pair.client)


@contextmanager
def beside(server: type[Server], flood: str) -> Iterator[Target]:
    """The server, and a second pair whose server's end drops everything."""
    with ready(server, flood) as target, SidePair(target.lab.pair, 1, 1) as side:
        begun(target.lab, side.server, "drop", "drop", side.server.interface)
        place(side, "pinned")
        receive_first(side)
        yield Target(target.lab, flood, side.server, side.client)


def received(where: Namespace) -> int:
    """Packets that came in by the interface so far."""
    return int(where.run("cat", f"/sys/class/net/{where.interface}/statistics/rx_packets").stdout)


def measure(target: Target, much: float, seconds: float) -> Values:
    """Clients and server under so much of the flood."""
    meter, rate = target.lab.meter(), NEW_RATE if target.flood == "syn" else RATE
    whole = 2 * WARM_S + seconds
    with flooding(target, much, whole):
        clients = load(target, rate, whole)
        time.sleep(WARM_S)
        before, came = meter.read(), received(target.there)
        time.sleep(seconds)
        used, came = meter.read() - before, received(target.there) - came
        answer = finished(clients)
    answered = answer["requests"] / whole
    latency = {"p99_us": answer["p99_ns"] / 1e3} if answer["requests"] else {}
    return {"requests_per_s": answered, "success_percent": 100 * answered / rate, **latency,
            "core_percent": 100 * used.busy_ns / used.wall_ns, "errors": answer["errors"],
            "arrived_mpps": came / used.wall_ns * 1e3}


def load(target: Target, rate: float, seconds: float) -> "subprocess.Popen[str]":
    """The clients."""
    pair, words = target.lab.pair, []
    if target.flood == "syn":
        words = ["--no-keepalive", "--source", fresh_addresses(pair.client)]
    return pair.client.start(
        sys.executable, "-m", "underpass.cli", "load", target.lab.server.url(SMALL), "--interface",
        pair.client.interface, "-c", str(CONNECTIONS), "-d", f"{seconds:g}", "--rate", str(rate),
        "--timeout", "2", *words, "--json", core=CLIENT_CORE, output=subprocess.PIPE)


def fresh_addresses(client: Namespace) -> str:
    """So many that no port is used twice, and none of an earlier measurement: the server's side keeps those
    for a minute (TIME_WAIT), and new clients know nothing of their timestamps. The earlier ones go.
    """
    number = next(FRESH) % 256
    client.run("ip", "-batch", "-", text=f"addr flush dev {client.interface} to 198.19.0.0/16\n" + "".join(
        f"addr add 198.19.{number}.{host}/15 dev {client.interface}\n" for host in range(1, ADDRESSES + 1)))
    return f"198.19.{number}.1-198.19.{number}.{ADDRESSES}"


def finished(clients: "subprocess.Popen[str]") -> dict[str, float]:
    """What the clients say; that none got an answer is a result. Raises CommandError where they failed."""
    text, _ = clients.communicate(timeout=60)
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        said = text.strip().splitlines() or [f"exit status {clients.returncode}"]
        raise CommandError(f"underpass load: {said[-1]}") from None
    return {"requests": found["requests"], "p99_ns": found["latency_ns"]["p99"],
            "errors": float(sum(found["errors"].values()))}


def configurations(flood: str) -> dict[str, Callable[[], AbstractContextManager[Target]]]:
    """By name. A flood of requests has no bare drop: it must reach a server to be one."""
    shielded = type("Shielded", (Shielded,), {"flood": flood})
    found: dict[str, Callable[[], AbstractContextManager[Target]]] = {
        "dpdk": partial(ready, Dpdk, flood), "no shield": partial(ready, Underpass, flood),
        "shield": partial(ready, shielded, flood), "nginx": partial(ready, Nginx, flood),
        "nginx, nftables": partial(ready, Nginx, flood, partial(filter_by_nftables, kind=flood))}
    if flood != "requests":
        found["bare drop"] = partial(ready, Underpass, flood, drop_first)
        found["bare drop, own ring"] = partial(beside, Underpass, flood)
    return found


def figure(flood: str) -> Figure:
    """One flood's figure."""
    of_requests = flood == "requests"
    x = "ab processes, each with an address" if of_requests else "flood, Mpps offered (5: all that can be)"
    return Figure(
        name=f"ddos-{flood}", what=f"Figure 5: clients under a flood of {KINDS[flood]}",
        configurations=configurations(flood), places=SOURCES if of_requests else MPPS, measure=measure,
        path=lambda target: str(target.lab.server.path()), units=UNITS,
        against={"no shield": "bare drop", "shield": "bare drop"} if not of_requests else {},
        plots=(Plot("requests_per_s", x, "requests/s answered", KINDS[flood]),
               Plot("core_percent", x, "server core not idle, %", "server core")))


FIGURES = {flood: figure(flood) for flood in KINDS}
