"""The virtual network's own figures: goodput against loss and round trip, completion times, the queue.

Everything is virtual time, so the figures are the same on every machine.
"""

from __future__ import annotations

import socket
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from underpass.stack.stack import CLOSED, CONNECTED, READABLE, WRITABLE
from underpass.testing.clock import MS, SECOND
from underpass.testing.conditions import MBIT
from underpass.testing.network import Network

if TYPE_CHECKING:
    from underpass.stack.sockets import Connection
    from underpass.testing.host import Host
    from underpass.testing.topology import Link

CONTROLS = ("newreno", "cubic", "bbr", "dctcp")
PORT = 80
RATE_BPS = 20 * MBIT
RTT_MS = 40
SECONDS = 20
SEEDS = (1, 2, 3)
LOSSES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
RTTS_MS = (2, 5, 10, 20, 50, 100, 200)
SIZES = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
SAMPLE_NS = 20 * MS
CHUNK = bytes(1 << 18)
# One that understands ECN is given what it needs: marks from here on (RFC 8257 3.1).
MARKED = {"dctcp"}
MARK_PACKETS = 20

Report = dict[str, Any]


class Sink:
    """A server that reads everything and counts it, under a congestion control: DCTCP wants it so."""

    def __init__(self, host: Host, control: str | None = None) -> None:
        self.received = 0
        self.listener = host.stack.listen((host.station.v4, PORT), congestion=control)
        host.application = self.on_ready

    def on_ready(self, conn: Connection, ready: int) -> None:
        """Serve an event."""
        while True:
            try:
                octets = conn.recv(1 << 20)
            except OSError:
                return
            if not octets:
                conn.close()
                return
            self.received += len(octets)


class Source:
    """A client that sends so many octets, or without end, under one congestion control."""

    def __init__(self, host: Host, server: Host, control: str, octets: int | None = None) -> None:
        self.left = octets
        host.application = self.on_ready
        chosen = (socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)
        self.conn = host.stack.connect((server.station.v4, PORT), options=[chosen])

    def on_ready(self, conn: Connection, ready: int) -> None:
        """Serve an event."""
        if ready & CLOSED or not ready & (CONNECTED | WRITABLE | READABLE):
            return
        try:
            while self.left is None or self.left > 0:
                sent = conn.send(CHUNK if self.left is None else CHUNK[: self.left])
                self.left = None if self.left is None else self.left - sent
            conn.shutdown()
        except OSError:
            return


def controls() -> list[str]:
    """The congestion controls that there are."""
    there = []
    with Network(capture=False) as network:
        one, other = network.host(), network.host()
        network.link(one, other)
        for control in CONTROLS:
            try:
                Source(one, other, control)
            except FileNotFoundError:
                continue
            there.append(control)
    return there


@contextmanager
def dumbbell(control: str, seed: int, rtt_ms: float,
             **conditions: Any) -> Iterator[tuple[Network, Host, Host, Link]]:  # fmt: skip
    """A client and a server at a bottleneck with a queue of one bandwidth-delay product."""
    delay_ns = round(rtt_ms * MS / 2)
    queue_bytes = max(RATE_BPS // 8 * 2 * delay_ns // SECOND, 20_000)
    marks: dict[str, Any] = {"mark_packets": MARK_PACKETS} if control in MARKED else {}
    with Network(seed, capture=False) as network:
        client, server = network.host(frames=16384), network.host(frames=16384)
        link = network.link(client, server, rate_bps=RATE_BPS, delay_ns=delay_ns, queue_bytes=queue_bytes,
                            **marks, **conditions)
        yield network, client, server, link


def goodput_mbps(control: str, seed: int, loss: float, rtt_ms: float) -> float:
    """What reaches the application of one flow without end, slow start included."""
    with dumbbell(control, seed, rtt_ms, loss=loss) as (network, client, server, _):
        sink = Sink(server, control)
        Source(client, server, control)
        network.run(for_ns=SECONDS * SECOND)
        return sink.received * 8 / SECONDS / MBIT


def completion_ms(control: str, seed: int, octets: int) -> float:
    """From the call of connect until the last octet has come, at 1 % loss."""
    with dumbbell(control, seed, RTT_MS, loss=0.01) as (network, client, server, _):
        sink = Sink(server, control)
        Source(client, server, control, octets)
        network.run(until=lambda: sink.received == octets, for_ns=600 * SECOND)
        return network.clock.elapsed_ms


def queue_kb(control: str) -> list[float]:
    """The bottleneck's queue under a flow without end: its mean over each sample, in kilobytes."""
    with dumbbell(control, SEEDS[0], RTT_MS) as (network, client, server, link):
        Sink(server, control)
        Source(client, server, control)
        second = network.clock.now_ns
        samples, before = [], 0
        while network.clock.now_ns < second + SECONDS * SECOND:
            network.run(for_ns=SAMPLE_NS)
            now = link.forth.queue_byte_ns
            samples.append((now - before) / SAMPLE_NS / 1000)
            before = now
        return samples


def table(report: Report) -> list[str]:
    """The medians, a line for each congestion control and condition."""
    rows = [("goodput_by_loss", [f"{100 * loss:g} % loss" for loss in report["losses"]], "Mbit/s"),
            ("goodput_by_rtt", [f"{rtt} ms" for rtt in report["rtts_ms"]], "Mbit/s"),
            ("completion_ms", [f"{size / 1000:g} kB" for size in report["sizes"]], "ms")]  # fmt: skip
    out = []
    for name, places, unit in rows:
        out.append(f"{name} ({unit})".ljust(28) + "".join(place.rjust(12) for place in places))
        for control, figures in report["controls"].items():
            medians = "".join(f"{one['median']:12.1f}" for one in figures[name])
            out.append(f"  {control}".ljust(28) + medians)
    for control, figures in report["controls"].items():
        out.append(f"mean queue under {control}: {statistics.mean(figures['queue_kb']):.1f} kB")
    return out


def spread(measure_one: Callable[..., float], control: str, *conditions: float) -> dict[str, float]:
    """Median, lowest and highest over the seeds."""
    values = [measure_one(control, seed, *conditions) for seed in SEEDS]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(say: Callable[[str], None]) -> Report:
    """All figures of all congestion controls; `say` is told what is being measured."""
    report: Report = {"rate_mbps": RATE_BPS / MBIT, "rtt_ms": RTT_MS, "seconds": SECONDS, "controls": {}}
    report |= {"losses": LOSSES, "rtts_ms": RTTS_MS, "sizes": SIZES, "sample_ms": SAMPLE_NS / MS}
    for control in controls():
        say(control)
        report["controls"][control] = {
            "goodput_by_loss": [spread(goodput_mbps, control, loss, RTT_MS) for loss in LOSSES],
            "goodput_by_rtt": [spread(goodput_mbps, control, 0.001, rtt_ms) for rtt_ms in RTTS_MS],
            "completion_ms": [spread(completion_ms, control, octets) for octets in SIZES],
            "queue_kb": queue_kb(control),
        }
    return report
