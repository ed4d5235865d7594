"""`underpass demo`: the whole path on this machine, each step checked."""

import argparse
import os
import sys

from underpass.cli.common import add_json, check_root, positive, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--seconds", type=positive, default=6, help="length of each load (default: 6)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; 1 where a step failed."""
    from rich.console import Console

    from underpass.apps.demo import closing, demo

    check_root("making network namespaces")
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else 100)
    outcome = demo(console, options.seconds, len(os.sched_getaffinity(0)))
    closing(outcome, console)
    if options.json:
        print_json(outcome.report())
    return int(bool(outcome.failed))
