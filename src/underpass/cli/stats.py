"""`underpass stats`: the counters of running workers, by layer and reason, and how fast they count."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from underpass.cli import Failure
from underpass.cli.common import add_json, check_worker, columns, count, nobody, positive, print_json

if TYPE_CHECKING:
    from underpass.observe.sample import Sample, Samples

LAYERS = ("xdp", "socket", "link", "refused", "tcp", "pool", "loop")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("filter", nargs="*", metavar="FILTER",
                        help=f"only these layers ({', '.join(LAYERS)}) or counters; * stands for anything")
    parser.add_argument("--pid", type=int, help="only this worker's")
    parser.add_argument("-a", "--all", action="store_true", help="also the counters that are zero")
    parser.add_argument("--interval", type=positive, metavar="S",
                        help="show every S seconds what was counted a second")
    parser.add_argument("--count", type=count, metavar="N", help="so many times, then end")
    add_json(parser)
    parser.set_defaults(complain=parser.error)
    parser.epilog = ("with --json, --interval prints one JSON document a line\n\n"
                     "examples:\n"
                     "  underpass stats tcp link\n"
                     "  underpass stats 'retrans*' --interval 1\n"
                     "  underpass stats refused --all --json")


def run(options: argparse.Namespace) -> int:
    """Show them, once or again and again. As JSON, zeros too."""
    if options.count and not options.interval:
        options.complain("--count needs --interval")
    check_filter(options.filter)
    return watch(options) if options.interval else once(options)


def matches(layer: str, name: str, wanted: Sequence[str]) -> bool:
    """Whether a counter is one of those asked for: by its layer, its name, or both joined by a dot."""
    return not wanted or any(layer == pattern if pattern in LAYERS
                             else fnmatchcase(name, pattern) or fnmatchcase(f"{layer}.{name}", pattern)
                             for pattern in wanted)


def check_filter(wanted: Sequence[str]) -> None:
    """Fail for a pattern that no counter of any layer matches, whether or not a worker runs."""
    from underpass.observe.names import COUNTERS

    for pattern in wanted:
        if not any(matches(layer, name, [pattern]) for layer, names in COUNTERS.items() for name in names):
            raise Failure(f"no counter is named {pattern}; layers are {', '.join(LAYERS)}, and "
                          "`underpass stats --all` lists all counters")


def once(options: argparse.Namespace) -> int:
    """The counters as they stand."""
    from underpass.observe.sample import take
    from underpass.observe.workers import workers

    there = workers()
    check_worker(options.pid, (int(str(worker["pid"])) for worker in there))
    samples = take(options.pid).values()
    if options.json:
        counters = [row for it in samples for row in rows(it, options.filter)]
        print_json({"workers": there, "counters": counters})
        return 0
    if not there:
        print(nobody())
    for worker in there:
        if "error" in worker and options.pid in (None, worker["pid"]):
            print(title(worker))
    for it in samples:
        print(title(it.facts | {"pid": it.worker.pid, "command": it.worker.command}))
        columns([(row["layer"], row["name"], f"{row['value']:,}") for row in rows(it, options.filter)
                 if options.all or row["value"]], right=(2,))
    return 0


def rows(sample: "Sample", wanted: Sequence[str]) -> list[dict[str, Any]]:
    """One row for each counter that was asked for."""
    return [{"pid": sample.worker.pid, "interface": sample.facts["interface"], "layer": layer, "name": name,
             "value": value}
            for layer, counters in sample.stats.items() for name, value in counters.items()
            if matches(layer, name, wanted)]


def title(worker: Mapping[str, Any]) -> str:
    """The line above a worker's counters."""
    said = str(worker.get("error", worker["command"]))
    return f"{worker['pid']}  {worker.get('interface', '')}  {said if len(said) <= 90 else said[:87] + '...'}"


def watch(options: argparse.Namespace) -> int:
    """What is counted a second, every interval."""
    from underpass.observe.sample import take, ticks
    from underpass.observe.workers import discover

    check_worker(options.pid, (worker.pid for worker in discover()))
    before = take(options.pid)
    for _ in ticks(options.interval, options.count):
        after = take(options.pid)
        if options.json:
            json.dump(interval_rows(before, after, options), sys.stdout)
            print()
        else:
            show_interval(before, after, options)
        sys.stdout.flush()
        before = after
    return 0


def interval_rows(before: "Samples", after: "Samples", options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each counter of each worker that was there at both ends."""
    from underpass.observe.sample import rates

    return [{"pid": late.worker.pid, "interface": late.facts["interface"], "layer": layer, "name": name,
             "value": late.stats[layer][name], "per_second": rate if rate is None else round(rate, 3)}
            for inode, late in after.items() if inode in before
            for (layer, name), rate in rates(before[inode], late) if matches(layer, name, options.filter)]


def show_interval(before: "Samples", after: "Samples", options: argparse.Namespace) -> None:
    """The same as text, with the gauges as they stand."""
    if not after:
        print(nobody())
    for inode, late in after.items():
        if inode in before:
            print(title(late.facts | {"pid": late.worker.pid, "command": late.worker.command}))
            columns([(layer, name, value) for layer, name, value in interval_cells(before[inode], late)
                     if matches(layer, name, options.filter) and (options.all or value not in ("0", "0/s"))],
                    right=(2,))


def interval_cells(early: "Sample", late: "Sample") -> list[tuple[str, str, str]]:
    """Layer, name, and the rate; "-" where it is not known yet."""
    from underpass.observe.sample import GAUGES, rates

    found = dict(rates(early, late))
    return [(layer, name, f"{value:,}" if (layer, name) in GAUGES else rate_text(found.get((layer, name))))
            for layer, counters in late.stats.items() for name, value in counters.items()]


def rate_text(rate: float | None) -> str:
    """A rate in as many digits as it is worth."""
    if rate is None:
        return "-"
    digits = 0 if rate >= 1000 or rate == 0 else 1 if rate >= 10 else 2
    return f"{rate:,.{digits}f}/s"
