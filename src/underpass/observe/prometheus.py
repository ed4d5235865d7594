"""Workers' counters as Prometheus takes them: a collector that reads the arenas when it is asked.

Labels of every metric: `pid` and `interface` of the worker. Counters of "link", "tcp", "pool" and "loop" are
metrics of their own, underpass_LAYER_NAME_total; those that count packets by one question are one metric with
a label: underpass_refused_total by `reason`, underpass_xdp_packets_total by `result`, underpass_socket_total
by `reason`.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from underpass.observe.names import COUNTERS
from underpass.observe.sample import GAUGES, Samples, take

WORKER = ["pid", "interface"]
FRESH_S = 0.5                       # a sample serves all who ask within this time

LABELLED = {                        # layer -> metric, its label, what it counts
    "refused": ("underpass_refused", "reason", "Packets refused, by the check that they failed"),
    "xdp": ("underpass_xdp_packets", "result", "Packets that the XDP program saw, by what it did with them"),
    "socket": ("underpass_socket", "reason", "XDP_STATISTICS of the worker's AF_XDP sockets"),
}
GAUGE_NAMES = {("pool", "frames"): "underpass_frames", ("pool", "free"): "underpass_frames_free",
               ("pool", "reserve"): "underpass_frames_reserve",
               ("tcp", "half_open"): "underpass_half_open_connections"}


class Take(Protocol):
    """What gives a sample of all workers."""

    def __call__(self) -> Samples: ...


def all_workers() -> Samples:
    """Every worker on this machine that we may look at."""
    return take(states=True)


class WorkerCollector(Collector):
    """Reads the arenas at most once in FRESH_S, however many ask."""

    def __init__(self, look: Take = all_workers) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._samples: Samples = {}
        self._until = 0.0

    def samples(self) -> Samples:
        """The samples, not older than FRESH_S."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._samples = self._look()
                self._until = time.monotonic() + FRESH_S
            return self._samples

    def describe(self) -> Iterable[Metric]:
        """The same metrics without samples, so that registering does not look at anything."""
        return self.metrics({})

    def collect(self) -> Iterator[Metric]:
        """All metrics of all workers."""
        return self.metrics(self.samples())

    def metrics(self, samples: Samples) -> Iterator[Metric]:
        """Families in a fixed order; one with no sample is still named."""
        yield from about(samples)
        for layer in LABELLED:
            yield labelled(layer, samples)
        for layer, names in COUNTERS.items():
            if layer not in LABELLED:
                yield from (counted(layer, name, samples) for name in names if (layer, name) not in GAUGES)
        yield from gauges(samples)


def labels(samples: Samples) -> Iterator[tuple[list[str], int]]:
    """Each worker's labels, and the number of its sample."""
    for inode, it in samples.items():
        yield [str(it.worker.pid), str(it.facts["interface"])], inode


def about(samples: Samples) -> Iterator[Metric]:
    """The workers themselves."""
    workers = GaugeMetricFamily("underpass_worker", "A worker that runs: always 1",
                                labels=[*WORKER, "command"])
    cpu = CounterMetricFamily("underpass_cpu_seconds", "Processor time of the worker's process",
                              labels=WORKER)
    states = GaugeMetricFamily("underpass_connections", "Connections by state", labels=[*WORKER, "state"])
    age = GaugeMetricFamily("underpass_kernel_counters_age_seconds",
                            "How old the counters of XDP and of the sockets are", labels=WORKER)
    for worker, inode in labels(samples):
        it = samples[inode]
        workers.add_metric([*worker, it.worker.command], 1)
        cpu.add_metric(worker, it.cpu_s)
        if it.facts["kernel_ns"]:
            age.add_metric(worker, max(it.at_ns - int(it.facts["kernel_ns"]), 0) / 1e9)
        for state, count in it.states.items():
            states.add_metric([*worker, state.lower()], count)
    yield from (workers, cpu, states, age)


def labelled(layer: str, samples: Samples) -> Metric:
    """A layer whose counters differ in a label alone."""
    name, label, what = LABELLED[layer]
    family = CounterMetricFamily(name, what, labels=[*WORKER, label])
    for worker, inode in labels(samples):
        for counter, value in samples[inode].stats.get(layer, {}).items():
            family.add_metric([*worker, counter], value)
    return family


def counted(layer: str, name: str, samples: Samples) -> Metric:
    """One counter."""
    family = CounterMetricFamily(f"underpass_{layer}_{name}", f"The counter {name} of the layer {layer}",
                                 labels=WORKER)
    for worker, inode in labels(samples):
        if name in samples[inode].stats.get(layer, {}):
            family.add_metric(worker, samples[inode].stats[layer][name])
    return family


def gauges(samples: Samples) -> Iterator[Metric]:
    """Frames and half-open connections."""
    for (layer, name), metric in GAUGE_NAMES.items():
        family = GaugeMetricFamily(metric, f"The gauge {name} of the layer {layer}", labels=WORKER)
        for worker, inode in labels(samples):
            if name in samples[inode].stats.get(layer, {}):
                family.add_metric(worker, samples[inode].stats[layer][name])
        yield family
