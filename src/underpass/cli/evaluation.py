"""`underpass bench cores | load | cpu | ddos | paper`: the paper's figures, measured on this machine."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underpass.cli.common import (
    check_root,
    columns,
    count,
    number,
    output_file,
    picture_file,
    positive,
    print_json,
    unwritable,
)

if TYPE_CHECKING:
    from underpass.apps.bench.figure import Figure, Results

STDOUT = Path("-")
FLOODS = ("udp", "syn", "ack", "requests")
KINDS = {"cores": "figure 2: requests/s, and per core-second, by number of queues on each packet I/O",
         "load": "figure 3: the server core's processor time against offered load",
         "cpu": "figure 4: a CPU-bound application on each packet I/O, in one thread and in two",
         "ddos": "figure 5: what clients get while a flood rises, with and without protection",
         "paper": "all figures of the paper"}


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
        kind.add_argument("--json", metavar="FILE", type=Path,
                          help="also write everything as JSON; - for stdout instead")
        kind.add_argument("--add", action="store_true",
                          help="add the rounds to those in the --json FILE, beside its other figures")
        kind.add_argument("--show", action="store_true",
                          help="measure nothing: show what the --json FILE has")
        kind.add_argument("--plot", metavar="FILE.png", type=picture_file,
                          help="also draw it, several figures as FILE-NAME.png; needs matplotlib")
        kind.add_argument("--markdown", metavar="FILE.md", type=output_file,
                          help="also write the tables there: between their marks, where the file has such")
        if name != "paper":
            kind.add_argument("--only", action="append", default=[], metavar="NAME",
                              help="only this configuration; may be repeated")
            kind.add_argument("--at", action="append", type=number, default=[], metavar="X",
                              help="only at this place of the x axis; may be repeated")
        if name == "ddos":
            kind.add_argument("--flood", action="append", choices=FLOODS, default=[],
                              help="only this flood; may be repeated")
        kind.set_defaults(complain=kind.error)


def figures(options: argparse.Namespace) -> "list[Figure]":
    """What the command is to measure."""
    from underpass.apps.bench import cores_figure, ddos_figure, offered, primes_figure

    single = {"cores": cores_figure.FIGURE, "load": offered.FIGURE, "cpu": primes_figure.FIGURE}
    if options.kind in single:
        return [single[options.kind].part(options.only, options.at)]
    if options.kind == "paper":
        return [*single.values(), *ddos_figure.FIGURES.values()]
    return [ddos_figure.FIGURES[flood].part(options.only, options.at) for flood in options.flood or FLOODS]


def run(options: argparse.Namespace) -> int:
    """Measure, show, write. 1 where a measurement failed or was interrupted."""
    from underpass.apps.bench import figure_file

    if (options.add or options.show) and options.json in (None, STDOUT):
        options.complain(f"--{'add' if options.add else 'show'} needs a file: --json FILE says which")
    try:
        wanted = figures(options)
        check_files(wanted, options)
        if options.show:
            return deliver(kept(options.json, wanted), wanted, options)
        earlier = figure_file.read(options.json) if options.add and options.json.exists() else {}
        check_root("making the namespaces to measure in")
        runs = [begin(one, options, earlier) for one in wanted]
    except ValueError as error:
        options.complain(str(error))
    for one in runs:
        measure_one(one, options.rounds)
        earlier[one.figure.name] = one.report()
        if options.json and options.json != STDOUT:
            options.json.write_text(json.dumps({"figures": earlier}, indent=1) + "\n")
        if one.interrupted:
            break
    deliver([earlier[one.figure.name] for one in runs if one.figure.name in earlier], wanted, options)
    return 1 if any(one.failed or one.interrupted for one in runs) else 0


def pictures(wanted: "list[Figure]", file: Path) -> dict[str, Path]:
    """Where each figure is drawn: several into files of their own."""
    if len(wanted) == 1:
        return {wanted[0].name: file}
    return {one.name: file.with_stem(f"{file.stem}-{one.name}") for one in wanted}


def check_files(wanted: "list[Figure]", options: argparse.Namespace) -> None:
    """Raise ValueError where a file cannot be written, before anything is measured that it is to hold."""
    files = list(pictures(wanted, options.plot).values()) if options.plot else []
    if options.json and options.json != STDOUT and not options.show:
        files.append(options.json)
    for why in filter(None, map(unwritable, files)):
        raise ValueError(why)


def kept(file: Path, wanted: "list[Figure]") -> list[dict[str, Any]]:
    """What the file has of what is wanted; what it has not is said. Raises ValueError where that is all."""
    from underpass.apps.bench import figure_file

    found = figure_file.read(file)
    missing = [one.name for one in wanted if one.name not in found]
    if len(missing) == len(wanted):
        others = f"but of: {', '.join(found)}" if found else "nor of any other figure"
        raise ValueError(f"{file} has nothing of {', '.join(missing)}, {others}")
    if missing:
        say(f"{file} has nothing of {', '.join(missing)}")
    return [found[one.name] for one in wanted if one.name in found]


def begin(figure: "Figure", options: argparse.Namespace, earlier: dict[str, Any]) -> "Results":
    """Where the rounds of a figure are to go."""
    from underpass.apps.bench.figure import Results

    results = Results(figure, options.seconds)
    if figure.name in earlier:
        results.take_up(earlier[figure.name])
    return results


def measure_one(results: "Results", rounds: int) -> None:
    """A figure's rounds, each said."""
    from underpass.apps.bench.figure import measure

    say(results.figure.what)
    measure(results, rounds, say)


def deliver(reports: list[dict[str, Any]], wanted: "list[Figure]", options: argparse.Namespace) -> int:
    """Everything in every form that was asked for."""
    from underpass.apps.bench.figure import plot
    from underpass.apps.bench.figure_text import write

    if options.json == STDOUT:
        print_json({"figures": {report["figure"]: report for report in reports}})
    else:
        for report in reports:
            show(report)
    if options.markdown:
        write(reports, options.markdown)
    plots = {one.name: one.plots for one in wanted}
    files = pictures(wanted, options.plot) if options.plot else {}
    for report in reports if files else ():
        plot(report, plots[report["figure"]], files[report["figure"]])
    return 0


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
    print()


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)
