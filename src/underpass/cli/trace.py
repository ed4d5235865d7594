"""`underpass trace`: one connection's life, as text, JSON or a picture."""

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from underpass.cli import Failure
from underpass.cli.common import add_json, add_log_format, picture_file, port, positive
from underpass.log import Event, Log

if TYPE_CHECKING:
    from underpass.apps.runner import Stopping
    from underpass.observe.capture import Capture

MOST_ROWS = 1_000_000               # that a plot keeps


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("peer", metavar="ADDR:PORT", nargs="?",
                        help="the remote end, as `underpass ss` shows it; :PORT or ADDR alone will do")
    parser.add_argument("--local-port", type=port, metavar="PORT", help="our port")
    parser.add_argument("--interface", "-i", metavar="IF", help="only the worker on this interface")
    parser.add_argument("--pid", type=int, help="only this worker")
    parser.add_argument("-d", dest="seconds", type=positive, metavar="SECONDS", help="end after so long")
    parser.add_argument("--plot", type=picture_file, metavar="FILE.png", help="draw it, too")
    add_json(parser)
    add_log_format(parser)
    parser.epilog = ("With the peer's port a connection is followed that is there, else the next that fits.\n"
                     "It ends with the connection.\n\n"
                     "examples:\n"
                     "  underpass trace 192.0.2.7:40312\n"
                     "  underpass trace --local-port 80 -d 30\n"
                     "  underpass trace 192.0.2.7 --plot trace.png")


def peer_of(text: str | None) -> tuple[str | None, int]:
    """Address, None for any, and port, 0 for any. Raises ValueError."""
    from underpass.observe.filters import split

    if text is None:
        return None, 0
    network, found = split(text)
    if network is not None and network.prefixlen != network.max_prefixlen:
        raise ValueError(f"{text!r} is many addresses; a trace follows one connection")
    return (str(network.network_address) if network else None), found or 0


def run(options: argparse.Namespace) -> int:
    """Tell what the connection does until it ends, SECONDS have passed, or a signal comes."""
    from underpass.apps.runner import Stopping
    from underpass.observe import trace

    if options.plot:
        from underpass.observe import plotting
        plotting.check()
    remote, remote_port = peer_of(options.peer)
    with ExitStack() as undo:
        traces = trace.start(undo, remote, remote_port, options.local_port or 0, pid=options.pid,
                             interface=options.interface)
        if not traces:
            raise Failure("no worker of yours runs that is meant; `underpass stats` lists those that run")
        log = Log(options.log_format)
        log("following the connection, or waiting for it", Event.CAPTURE_BEGAN, peer=options.peer)
        stopping = undo.enter_context(Stopping())
        end = time.monotonic() + (options.seconds or math.inf)
        kept: list[dict[str, Any]] = []
        tell(followed(traces, stopping, end, kept if options.plot else None), options.json)
        summary(traces, log)
    if options.plot:
        plot(kept, str(options.plot))
    return 0


def followed(traces: "list[Capture]", stopping: "Stopping", end: float,
             kept: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    """The rows up to the connection's end, or ours; up to MOST_ROWS of them are kept as well."""
    from underpass.observe import capture, trace

    while True:
        if stopping.signals or time.monotonic() >= end:
            capture.stop(traces)            # what has come till now is still read
        over = all(it.over for it in traces)
        row = None
        for row in trace.rows(traces):
            if kept is not None and len(kept) < MOST_ROWS:
                kept.append(row)
            yield row
        if (row is None and over) or (row and row["event"] == "ended"):
            return


def tell(rows: Iterator[dict[str, Any]], as_json: bool) -> None:
    """A line for each thing that happened, or a JSON object for each row."""
    from underpass.observe.trace_text import lines

    for line in map(json.dumps, rows) if as_json else lines(rows):
        print(line, flush=True)


def summary(traces: "list[Capture]", log: Log) -> None:
    """The counts, on stderr."""
    counts = [it.reader.counts() for it in traces]
    passed, dropped = (sum(one[name] for one in counts) for name in ("passed", "dropped"))
    log(f"{passed} records, {dropped} dropped because this program was too slow", Event.CAPTURE_COUNTS,
        passed=passed, dropped=dropped)
    for it in traces:
        if it.ended:
            log(f"worker {it.pid} on {it.interface} ended", Event.CAPTURE_ENDED, interface=it.interface,
                pid=it.pid)


def plot(rows: list[dict[str, Any]], path: str) -> None:
    """Draw what was kept."""
    from underpass.observe.trace_plot import draw

    if not rows:
        raise Failure("there is nothing to draw: no such connection came")
    draw(rows, path)
