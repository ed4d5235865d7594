"""The shield's tallies as Prometheus takes them: of every interface of this namespace that has a policy."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from underpass.shield.shield import open_shield
from underpass.xdp.attachment import is_steered

Stats = dict[str, dict[str, Any]]


def all_shields() -> Stats:
    """`Shield.stats()` by interface; what we may not look at, or goes meanwhile, is left out."""
    found = {}
    for index, name in socket.if_nameindex():
        with suppress(OSError, ValueError, KeyError):
            if is_steered(index):
                with open_shield(name) as shield:
                    found[name] = shield.stats()
    return {name: stats for name, stats in found.items() if stats}


class ShieldCollector(Collector):
    """Reads the maps when it is asked."""

    def __init__(self, look: Callable[[], Stats] = all_shields) -> None:
        self._look = look

    def describe(self) -> Iterator[Metric]:
        """The metrics without samples."""
        return self._metrics({})

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        return self._metrics(self._look())

    def _metrics(self, found: Stats) -> Iterator[Metric]:
        for key, what in (("dropped", "dropped"), ("would_drop", "that a dry run would have dropped")):
            labels = ["interface", "section", "reason"]
            packets = CounterMetricFamily(f"underpass_shield_{key}_packets", f"Packets {what}", labels=labels)
            octets = CounterMetricFamily(f"underpass_shield_{key}_bytes", f"Bytes {what}", labels=labels)
            for name, stats in found.items():
                for section, reasons in stats[key].items():
                    for reason, it in reasons.items():
                        where = [name, section, reason.removeprefix("dropped_")]
                        packets.add_metric(where, it.packets)
                        octets.add_metric(where, it.octets)
            yield from (packets, octets)
        for key in ("rules", "lists"):
            family = CounterMetricFamily(f"underpass_shield_{key[:-1]}_packets",
                                         f"Packets by one of the {key}", labels=["interface", key[:-1]])
            for name, stats in found.items():
                for which, it in stats[key].items():
                    family.add_metric([name, which], it.packets)
            yield family
        blocks = GaugeMetricFamily("underpass_shield_blocks", "Blocks and allowances in force",
                                   labels=["interface"])
        for name, stats in found.items():
            blocks.add_metric([name], stats["blocks"])
        yield blocks
        heavy = CounterMetricFamily("underpass_shield_heavy", "Heavy sources by what detection did with them",
                                    labels=["interface", "outcome"])
        for name, stats in found.items():
            for outcome, count in stats.get("detection", {}).items():
                heavy.add_metric([name, outcome], count)
        yield heavy
