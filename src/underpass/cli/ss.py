"""`underpass ss`: the connections of running workers, in the manner of ss(8)."""

import argparse
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underpass.cli.common import add_json, check_worker, print_json

if TYPE_CHECKING:
    from underpass.observe.filters import Filter

FLAGS = (
    ("-H", "--no-header", "no header line"),
    ("-O", "--oneline", "everything about a connection on one line"),
    ("-n", "--numeric", "ports and rates as numbers"),
    ("-a", "--all", "all states, listeners included"),
    ("-l", "--listening", "only listeners"),
    ("-t", "--tcp", "TCP, which is all there is"),
    ("-4", "--ipv4", "only IPv4"),
    ("-6", "--ipv6", "only IPv6"),
    ("-p", "--processes", "which process each belongs to"),
    ("-o", "--options", "the timer that each waits for"),
    ("-e", "--extended", "timer, user, and place in the worker's pool"),
    ("-m", "--memory", "frames and octets that each holds"),
    ("-i", "--info", "congestion control, round trip, windows, sums, recovery"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options, named as ss names them."""
    for short, long, what in FLAGS:
        parser.add_argument(short, long, action="store_true", help=what)
    parser.add_argument("--pid", type=int, help="only this worker's")
    add_json(parser)
    parser.add_argument("filter", nargs="*", metavar="FILTER",
                        help="states and conditions that connections must meet, as in ss(8)")
    parser.epilog = ("without FILTER, -a or -l: connections that are neither half-open nor in TIME-WAIT\n"
                     "filter: { state NAME | exclude NAME } [ CONDITION { and | or | not | ( ) } ]\n"
                     "conditions: sport OP :PORT, dport OP :PORT, src ADDRESS[/LEN][:PORT], dst likewise\n\n"
                     "examples:\n"
                     "  underpass ss -tanp\n"
                     "  underpass ss -ti state established dst 10.0.0.0/8\n"
                     "  underpass ss -n 'sport = :443 and not dst [fd00::1]'")


def run(options: argparse.Namespace) -> int:
    """List them."""
    from underpass.observe.filters import ALL, DEFAULT, parse
    from underpass.observe.ss_text import Show, lines
    from underpass.observe.workers import discover

    states = ALL if options.all else frozenset({"LISTEN"}) if options.listening else DEFAULT
    chosen = parse(options.filter, states)
    check_worker(options.pid, (worker.pid for worker in discover()))
    found = list(rows(options, chosen))
    if options.json:
        print_json(found)
        return 0
    show = Show(numeric=options.numeric, processes=options.processes, timers=options.options,
                extended=options.extended, memory=options.memory, info=options.info,
                one_line=options.oneline, header=not options.no_header)
    for line in lines(found, show):
        print(line)
    return 0


def rows(options: argparse.Namespace, chosen: "Filter") -> Iterator[dict[str, Any]]:
    """What is to be shown, each with its process's name and user."""
    from underpass.observe.workers import connections

    families = {family for family in (4, 6) if getattr(options, f"ipv{family}")} or {4, 6}
    owners: dict[int, dict[str, Any]] = {}
    for row in connections(options.pid, "TIME-WAIT" in chosen.states):
        if (6 if ":" in str(row["local"]) else 4) in families and chosen.accepts(row):
            pid = int(str(row["pid"]))
            yield {**row, **owners.setdefault(pid, owner(pid))}


def owner(pid: int) -> dict[str, Any]:
    """The process's name and the user that it runs as; nothing of one that has ended."""
    from underpass.observe.reader import printable

    with suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        return {"process": printable(name), "uid": os.stat(f"/proc/{pid}").st_uid}
    return {}
