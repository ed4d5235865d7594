"""`underpass bench load | cpu`: figures of the paper, measured on this machine."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underpass.cli.common import check_root, columns, count, output_file, positive, print_json

if TYPE_CHECKING:
    from underpass.apps.bench.figure import Figure

STDOUT = Path("-")
KINDS = {"load": "figure 3: the server core's processor time against offered load",
         "cpu": "figure 4: a CPU-bound application on each packet I/O, in one thread and in two"}


def json_file(text: str) -> Path:
    """argparse type: a file to write, or "-"."""
    return STDOUT if text == "-" else output_file(text)


def arguments(kinds: Any) -> None:
    """Subcommands of `underpass bench`, each with its options."""
    for name, what in KINDS.items():
        kind: argparse.ArgumentParser = kinds.add_parser(name, help=what)
        kind.add_argument("--rounds", type=count, default=5,
                          help="how often each configuration is measured (default: 5)")
        kind.add_argument("--seconds", type=positive, default=3,
                          help="length of each measurement (default: 3)")
        kind.add_argument("--json", metavar="FILE", type=json_file,
                          help="also write everything as JSON; - for stdout instead")
        kind.add_argument("--add", action="store_true", help="add the rounds to those in the --json FILE")
        kind.add_argument("--plot", metavar="FILE.png", type=output_file,
                          help="also draw it; needs matplotlib")
        kind.set_defaults(complain=kind.error)


def figure(kind: str) -> "Figure":
    """The figure by the command's name."""
    from underpass.apps.bench import offered, primes_figure

    return {"load": offered.FIGURE, "cpu": primes_figure.FIGURE}[kind]


def run(options: argparse.Namespace) -> int:
    """Measure, show, write. 1 where a measurement failed or was interrupted."""
    from underpass.apps.bench.figure import Results, measure, plot

    if options.add and options.json in (None, STDOUT):
        options.complain("--add adds to a file: --json FILE says which")
    check_root("making the namespaces to measure in")
    results = Results(figure(options.kind), options.seconds)
    if options.add and options.json.exists():
        results.take_up(options.json)
    measure(results, options.rounds, say)
    report = results.report()
    if options.json == STDOUT:
        print_json(report)
    else:
        show(report)
    if options.json and options.json != STDOUT:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        plot(report, results.figure.plots, options.plot)
    return 1 if results.failures or results.interrupted else 0


def show(report: dict[str, Any]) -> None:
    """The table, and what every number depends on."""
    from underpass.apps.bench.figure import table

    print(f"{report['what']}: mean +- standard error")
    columns(table(report))
    facts = report["machine"]
    print(f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']};"
          f" {report['seconds']:g} s each")
    for name, one in report["configurations"].items():
        print(f"path of {name}: {one['path'] or 'never ran'}",
              *(f"  failed: {text}" for text in one["failures"]), sep="\n")


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)
