"""`underpass bench`: Underpass beside other servers."""

import argparse
import json
import sys
from pathlib import Path

from underpass.cli.common import check_root, count, positive, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands, each with its options."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    peers = kinds.add_parser("peers", help="Underpass and nginx in turns: speed, latency, CPU, memory")
    peers.add_argument("--rounds", type=count, default=3, help="how often each row is measured (default: 3)")
    peers.add_argument("--seconds", type=positive, default=3, help="length of each measurement (default: 3)")
    peers.add_argument("--only", action="append", default=[], metavar="ROW",
                       help="only this row; may be repeated")
    peers.add_argument("--rows", action="store_true", help="list the rows and exit")
    peers.add_argument("--json", metavar="FILE", help="also write everything as JSON; - for stdout instead")
    peers.add_argument("--plot", metavar="FILE.png", type=Path, help="also draw it; needs matplotlib")


def run(options: argparse.Namespace) -> int:
    """Measure, show, write. 0 also where goals are missed; 1 where a measurement failed."""
    from rich.console import Console

    from underpass.apps.bench import peers, present
    from underpass.apps.bench.rows import ROWS

    if options.rows:
        for row in ROWS:
            print(f"{row.name:24} {row.what} ({row.placement})")
        return 0
    rows = peers.chosen(options.only)
    check_root("making the namespaces to measure in")
    progress = Console(stderr=True, highlight=False, markup=False)
    results = peers.measure(rows, options.rounds, options.seconds, progress.print)
    report = peers.report(results, options.rounds, options.seconds)
    if options.json == "-":
        print_json(report)
    else:
        present.show(report, Console(width=None if sys.stdout.isatty() else 130))
    if options.json and options.json != "-":
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        present.plot(report, options.plot)
    return int(any(series.failures for row in results.values() for series in row.values()))
