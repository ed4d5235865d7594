"""`underpass bench`: Underpass beside other servers, beside Linux's TCP, and alone on the virtual network."""

import argparse
import json
import sys
from typing import Any

from underpass.cli import evaluation
from underpass.cli.common import check_root, count, picture_file, positive, print_json
from underpass.cli.evaluation import STDOUT, json_file


def arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands, each with its options."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    peers = kinds.add_parser("peers", help="Underpass and nginx in turns: speed, latency, CPU, memory")
    peers.add_argument("--seconds", type=positive, default=3, help="length of each measurement (default: 3)")
    recovery = kinds.add_parser(
        "recovery", help="Underpass and Linux's TCP in turns, on paths that lose, delay, queue and reorder")
    virtual = kinds.add_parser(
        "virtual", help="congestion controls on the virtual network: goodput, completion times, queue")
    workers = kinds.add_parser(
        "workers", help="what a request costs with 1, 2 and 4 workers, and a model of more cores")
    workers.add_argument("--seconds", type=positive, default=3,
                         help="length of each measurement (default: 3)")
    shield = kinds.add_parser(
        "shield", help="what the shield costs a packet, by test runs of the XDP program")
    evaluation.arguments(kinds)
    python = kinds.add_parser(
        "asyncio", help="Python servers on our event loop, uvloop and asyncio in turns (extra `programs`)")
    python.add_argument("--seconds", type=positive, default=3, help="length of each measurement (default: 3)")
    for kind in (peers, recovery, virtual, workers, python):
        kind.add_argument("--json", metavar="FILE", type=json_file,
                          help="also write everything as JSON; - for stdout instead")
        kind.add_argument("--plot", metavar="FILE.png", type=picture_file,
                          help="also draw it; needs matplotlib")
    shield.add_argument("--json", metavar="FILE", type=json_file,
                        help="also write it as JSON; - for stdout instead")
    shield.add_argument("--rounds", type=count, default=5, help="how often each row is measured (default: 5)")
    for kind in (peers, recovery, workers, python):
        kind.add_argument("--rounds", type=count, default=3,
                          help="how often each row is measured (default: 3)")
    for kind in (peers, recovery, workers, python):
        kind.add_argument("--only", action="append", default=[], metavar="ROW",
                          help="only this row; may be repeated")
        kind.add_argument("--rows", action="store_true", help="list the rows and exit")


def run(options: argparse.Namespace) -> int:
    """Measure, show, write. 0 also where goals are missed; 1 where a measurement failed."""
    if getattr(options, "plot", None):
        from underpass.observe import plotting
        plotting.check()
    if options.kind in evaluation.KINDS:
        return evaluation.run(options)
    if options.kind == "virtual":
        return run_virtual(options)
    if options.kind == "shield":
        return run_shield(options)
    if options.rows:
        return list_rows(options.kind)
    if options.kind == "workers":
        return run_workers(options)
    report = {"recovery": run_recovery, "asyncio": run_asyncio, "peers": run_peers}[options.kind](options)
    return deliver(report, options)


def list_rows(kind: str) -> int:
    """The rows of one kind, one a line."""
    from underpass.apps.bench import paths, python_rows, rows, workers

    found = {"recovery": [(row.name, f"{row.what} ({row.path})") for row in paths.PATHS],
             "peers": [(row.name, f"{row.what} ({row.placement})") for row in rows.ROWS],
             "asyncio": [(row.name, f"{row.what} ({row.placement})") for row in python_rows.ROWS],
             "workers": [(row.name, f"{row.what} ({', '.join(it.name for it in row.layouts)})")
                         for row in workers.ROWS]}
    for name, what in found[kind]:
        print(f"{name:24} {what}")
    return 0


def run_peers(options: argparse.Namespace) -> dict[str, Any]:
    """Beside nginx."""
    from underpass.apps.bench import peers

    rows = peers.chosen(options.only)
    check_root("making the namespaces to measure in")
    results = peers.measure(rows, options.rounds, options.seconds, say)
    return peers.report(results, options.rounds, options.seconds)


def run_asyncio(options: argparse.Namespace) -> dict[str, Any]:
    """Beside uvloop and asyncio."""
    from underpass.apps.bench import peers, python_rows

    rows = python_rows.chosen(options.only)
    check_root("making the namespaces to measure in")
    results = peers.measure(list(rows), options.rounds, options.seconds, say)
    return python_rows.report(results, options.rounds, options.seconds)


def run_recovery(options: argparse.Namespace) -> dict[str, Any]:
    """Beside Linux's TCP."""
    from underpass.apps.bench import recovery

    rows = recovery.chosen(options.only)
    check_root("making the namespaces to measure in")
    return recovery.report(recovery.measure(rows, options.rounds, say), options.rounds)


def run_workers(options: argparse.Namespace) -> int:
    """Several workers on one interface."""
    from underpass.apps.bench import peers, workers

    rows = peers.by_name(workers.ROWS, options.only)
    check_root("making the namespaces to measure in")
    results = workers.measure(rows, options.rounds, options.seconds, say)
    report = workers.report(results, options.rounds, options.seconds)
    status = deliver(report, options)
    if options.json != STDOUT:
        print(workers.model_text(report))
    return status


def run_shield(options: argparse.Namespace) -> int:
    """What the XDP program costs, and what it drops."""
    from underpass.apps.bench import drop_rate, shield_cost
    from underpass.cli.common import columns

    check_root("loading the XDP program")
    report = shield_cost.measure(options.rounds, say)
    report["end_to_end"] = drop_rate.measure(options.rounds, say)
    if options.json == STDOUT:
        print_json(report)
        return 0
    columns(shield_cost.cells(report), right=(1, 2))
    print(f"{shield_cost.HOW}\n")
    columns(shield_cost.load_cells(report), right=(1, 2))
    print()
    columns(drop_rate.cells(report["end_to_end"]), right=(1, 2, 3, 4))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def run_virtual(options: argparse.Namespace) -> int:
    """On the virtual network, which needs no rights and no interface."""
    from underpass.testing import figures, figures_plot

    report = figures.measure(say)
    if options.json == STDOUT:
        print_json(report)
    else:
        print("\n".join(figures.table(report)))
    if options.json and options.json != STDOUT:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        figures_plot.plot(report, options.plot)
    return 0


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


def deliver(report: dict[str, Any], options: argparse.Namespace) -> int:
    """The report in every form that was asked for; the exit status."""
    from rich.console import Console

    from underpass.apps.bench import present

    if options.json == STDOUT:
        print_json(report)
    else:
        present.show(report, Console(width=None if sys.stdout.isatty() else 130))
    if options.json and options.json != STDOUT:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        present.plot(report, options.plot)
    return int(any(one["failures"] for row in report["rows"] for one in row["servers"].values()))
