"""`underpass top`: what the workers do, live in the terminal, or as text or JSON once an interval."""

import argparse
import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from underpass.cli.common import add_json, check_worker, columns, duration, nobody, positive, print_json, size

if TYPE_CHECKING:
    from rich.console import Group

    from underpass.observe.top import Pace, Picture, Talker

WORKERS = ("pid", "interface", "core", "cpu", "rx pps", "tx pps", "rx bit/s", "tx bit/s", "conns",
           "half-open", "new/s", "retrans/s", "time-wait", "frames free", "refused/s")
TALKERS = ("pid", "local", "remote", "state", "sent/s", "received/s", "rtt")
REMOTES = ("pid", "remote address", "conns", "sent/s", "received/s")
LEFT = {"interface", "local", "remote", "state", "remote address", "refused/s"}
# Columns that a terminal too narrow for all does without, the first one first.
SPARE = ("time-wait", "core", "half-open", "frames free", "state", "rtt", "retrans/s", "interface", "new/s",
         "pid")
GAP = 2
KEYS = "q quit   s sort"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--interval", type=positive, default=1.0, metavar="S",
                        help="seconds between two looks (default: 1)")
    parser.add_argument("--once", action="store_true", help="print one interval as text and end")
    parser.add_argument("--pid", type=int, help="only this worker")
    add_json(parser)
    parser.epilog = ("keys: q quits, s sorts talkers by all octets, those sent, or those received\n"
                     "where the output is no terminal: text each interval, with --json a document a line\n\n"
                     "examples:\n  underpass top\n  underpass top --once --json --interval 5")


def run(options: argparse.Namespace) -> int:
    """Show it until q, Ctrl-C, or for one interval."""
    from underpass.observe.workers import discover

    check_worker(options.pid, (worker.pid for worker in discover()))
    if sys.stdout.isatty() and not options.once and not options.json:
        return live(options)
    for shown in pictures(options):
        if options.json and options.once:
            print_json(shown.as_json())
        elif options.json:
            print(json.dumps(shown.as_json()))
        else:
            print_text(shown)
        sys.stdout.flush()
        if options.once:
            return 0
    return 0


def pictures(options: argparse.Namespace) -> "Iterator[Picture]":
    """One picture an interval."""
    from underpass.observe.sample import take, ticks
    from underpass.observe.top import picture

    before = take(options.pid, traffic=True)
    for _ in ticks(options.interval):
        after = take(options.pid, traffic=True)
        yield picture(before, after)
        before = after


# ---- cells

def si(value: float) -> str:
    """A number in the unit that reads best: 950, 12.3k, 1.23M, 2.50G."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:#.3g}".rstrip(".") + unit
    return f"{value:.0f}"


def worker_cells(it: "Pace") -> tuple[str, ...]:
    """One worker's."""
    free = "" if it.frames_free is None else f"{it.frames_free:,}/{it.frames:,}"
    refused = "  ".join(f"{name} {si(rate)}" for name, rate in it.refusals) or "-"
    return (str(it.pid), it.interface, str(it.core), f"{it.cpu_percent:.0f}%", si(it.rx_pps), si(it.tx_pps),
            si(it.rx_bps), si(it.tx_bps), f"{it.connections:,}", f"{it.half_open:,}", si(it.new_per_s),
            si(it.retransmits_per_s), f"{it.time_waits:,}", free, refused)


def talker_cells(it: "Talker") -> tuple[str, ...]:
    """One connection's."""
    def end(address: str, port: int) -> str:
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    return (str(it.pid), end(it.local, it.local_port), end(it.remote, it.remote_port), it.state,
            size(it.sent_per_s), size(it.received_per_s), duration(it.rtt_us * 1000))


def remote_cells(it: "Talker") -> tuple[str, ...]:
    """One remote address's."""
    return (str(it.pid), it.remote, f"{it.connections:,}", size(it.sent_per_s), size(it.received_per_s))


def tables(shown: "Picture") -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Head and rows of the three tables."""
    return [(WORKERS, [worker_cells(it) for it in shown.workers]),
            (TALKERS, [talker_cells(it) for it in shown.talkers]),
            (REMOTES, [remote_cells(it) for it in shown.remotes])]


# ---- as text

def print_text(shown: "Picture") -> None:
    """The tables, those that have rows, each behind an empty line."""
    if not shown.workers:
        print(nobody())
    for head, rows in tables(shown):
        if rows:
            columns([head, *rows], right=[at for at, name in enumerate(head) if name not in LEFT])
            print()


# ---- in the terminal

@contextmanager
def keyboard() -> Iterator[int | None]:
    """The descriptor to read single keys from, None where there is no keyboard; put back afterwards."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def key(descriptor: int | None, until_s: float) -> str:
    """The key that is pressed before that time, or ""."""
    left = max(until_s - time.monotonic(), 0)
    if descriptor is None:
        time.sleep(left)
        return ""
    ready, _, _ = select.select([descriptor], [], [], left)
    return (os.read(descriptor, 1).decode("ascii", "replace") or "q") if ready else ""


def live(options: argparse.Namespace) -> int:
    """The screen, until q."""
    from rich.console import Console
    from rich.live import Live

    from underpass.observe.sample import take
    from underpass.observe.top import ORDERS, picture

    console = Console()
    order = 0
    early = before = take(options.pid, traffic=True)
    with keyboard() as keys, Live(console=console, screen=True, auto_refresh=False) as display:
        due = time.monotonic()
        while True:
            shown = picture(early, before, ORDERS[order])
            display.update(screen(shown, ORDERS[order], console.width, console.height), refresh=True)
            pressed = key(keys, due + options.interval)
            if pressed == "q":
                return 0
            if pressed == "s":
                order = (order + 1) % len(ORDERS)
            elif not pressed:
                due = max(due + options.interval, time.monotonic())
                early, before = before, take(options.pid, traffic=True)


def fitting(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Which columns to show so that they fit, by their places."""
    widths = [max(len(line[at]) for line in (head, *rows)) + GAP for at in range(len(head))]
    places = list(range(len(head)))
    for name in SPARE:
        if sum(widths[at] for at in places) > width and name in head:
            places.remove(head.index(name))
    return places


def screen(shown: "Picture", order: str, width: int, height: int) -> "Group":
    """The tables, cut to the terminal: remote addresses have at most a third of the lines that are left."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    workers, connections, remotes = tables(shown)
    left = max(height - len(workers[1]) - 7, 2)
    few = min(len(remotes[1]), max(left // 3, 1))
    parts: list[Table | Text] = []
    for (head, rows), most in ((workers, len(workers[1])), (connections, left - few), (remotes, few)):
        table = Table(box=None, padding=(0, 1), header_style="bold")
        places = fitting(head, rows[:most], width)
        for name in (head[at] for at in places):
            table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True,
                             overflow="ellipsis")
        for row in rows[:most]:
            table.add_row(*(Text(row[at]) for at in places))
        parts += [table, Text("")]
    title = f"underpass top   {time.strftime('%H:%M:%S')}   talkers by {order}   {KEYS}"
    return Group(Text(title, style="bold reverse"), *parts)
