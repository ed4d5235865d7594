"""Samples of what workers show, and what happened a second between two of them.

Most counters are the worker's own memory and as old as the read. Two kinds are copied there now and then, and
are divided by the time between their copies, not between the reads: what Linux counts ("xdp", "socket": twice
a second, when the worker is awake) and the loop's own ("loop"). A rate is None where there was no new copy.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from underpass.observe.workers import Worker, discover

Counter = tuple[str, str]                   # layer, name

GAUGES: frozenset[Counter] = frozenset({
    ("tcp", "connections"), ("tcp", "half_open"), ("tcp", "time_waits"),
    ("pool", "frames"), ("pool", "free"), ("pool", "reserve"),
})
CLOCKS = {"xdp": "kernel_ns", "socket": "kernel_ns", "loop": "now_ns"}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# (index, generation) of a connection -> octets acknowledged, octets received; by its remote address's octets
Traffic = dict[tuple[int, int], tuple[bytes, int, int]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One worker at one time. `cpu_s`: processor time so far; `core`: on which it last ran; -1: not known."""

    worker: Worker
    at_ns: int
    facts: dict[str, int | str]
    stats: dict[str, dict[str, int]]
    states: dict[str, int] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=dict)
    cpu_s: float = 0.0
    core: int = -1


Samples = dict[int, Sample]                 # by the arena's inode, which no later worker shares


def take(pid: int | None = None, *, traffic: bool = False, states: bool = False) -> Samples:
    """Every worker's sample, or one's; a worker that ends meanwhile or is of another version is left out."""
    samples = {}
    for worker in discover():
        if pid is None or worker.pid == pid:
            with suppress(OSError, ValueError):
                samples[worker.inode] = sample(worker, traffic, states)
    return samples


def sample(worker: Worker, traffic: bool, states: bool) -> Sample:
    """One worker's. Raises OSError or ValueError where it cannot be read."""
    with worker.open() as reader:
        facts, stats, at_ns = reader.facts(), reader.stats(), time.monotonic_ns()
        octets = {(index, generation): (remote, acked, received)
                  for index, generation, remote, acked, received in (reader.traffic() if traffic else ())}
        by_state = reader.states() if states else {}
    cpu_s, core = processor(worker.pid)
    return Sample(worker, at_ns, facts, stats, by_state, octets, cpu_s, core)


def processor(pid: int) -> tuple[float, int]:
    """Processor seconds that a process has used, and the core that it last ran on (proc(5), stat)."""
    # The name in parentheses may have spaces and parentheses itself.
    words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS_PER_S, int(words[36])


def seconds_between(before: Sample, after: Sample, layer: str) -> float:
    """The time that passed for a layer's counters."""
    if clock := CLOCKS.get(layer):
        return (int(after.facts[clock]) - int(before.facts[clock])) / 1e9
    return (after.at_ns - before.at_ns) / 1e9


def rates(before: Sample, after: Sample) -> Iterator[tuple[Counter, float | None]]:
    """How often each counter was counted a second; gauges are left out."""
    for layer, counters in after.stats.items():
        seconds = seconds_between(before, after, layer)
        for name, value in counters.items():
            if (layer, name) not in GAUGES and name in before.stats.get(layer, {}):
                there = before.stats[layer][name]
                yield (layer, name), max(value - there, 0) / seconds if seconds > 0 else None


def ticks(interval_s: float, count: int | None = None) -> Iterator[None]:
    """One item each interval, on a schedule that does not drift; the first after one interval."""
    due = time.monotonic()
    done = 0
    while count is None or done < count:
        due = max(due + interval_s, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0))
        yield
        done += 1
