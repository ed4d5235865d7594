"""What several commands share: kinds of arguments, checks before anything is touched, and output."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from underpass.cli import Failure
from underpass.log import FORMATS

PICTURES = (".png", ".svg", ".pdf")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json, for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """--log-format, for commands that run on."""
    parser.add_argument("--log-format", choices=FORMATS, default="text",
                        help="what happens, on stderr: a line for people, or a JSON object (default: text)")


def add_interface(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """--interface."""
    parser.add_argument("--interface", "-i", required=required, metavar="IF",
                        help="network interface to work on")


def add_link_options(parser: argparse.ArgumentParser) -> None:
    """How the interface is used."""
    parser.add_argument("--mode", choices=("auto", "native", "generic"), default="auto",
                        help="how XDP is attached; auto: native where the driver can, but generic for a veth"
                             " of one queue without NAPI threads (default: auto)")
    parser.add_argument("--busy-poll", action="store_true",
                        help="poll the interface instead of sleeping: lower latency, a busy core")


def add_io(parser: argparse.ArgumentParser) -> None:
    """What moves the packets."""
    parser.add_argument("--io", choices=("afxdp", "dpdk"), default="afxdp",
                        help="what moves packets; dpdk, which never sleeps, to compare with (default: afxdp)")
    parser.add_argument("--no-checksum-offload", dest="checksum", action="store_false",
                        help="compute the checksums of what is sent here, to compare with")


def check_root(what: str) -> None:
    """Fail in one line where the command cannot work without privileges."""
    if os.geteuid() != 0:
        raise Failure(f"{what} needs root; run it with sudo")


def positive(text: str) -> float:
    """argparse type: a number above zero."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def number(text: str) -> float:
    """argparse type: a number, with k and M for thousands and millions."""
    scale = {"k": 1e3, "K": 1e3, "M": 1e6}.get(text[-1:], 1)
    try:
        value = float(text[:-1] if scale != 1 else text) * scale
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < 1e15:
        raise argparse.ArgumentTypeError(f"{text} is out of range")
    return value


def count(text: str) -> int:
    """argparse type: a whole number above zero, with k and M for thousands and millions."""
    value = positive(text)
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(value)


def port(text: str) -> int:
    """argparse type: a TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1 to 65535")
    return int(text)


def cores(text: str) -> list[int]:
    """argparse type: processor cores, 1,2 or 0-3."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) < int(first):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of cores, such as 1,2 or 0-3")
        found += range(int(first), int(last or first) + 1)
    return found


def output_file(text: str) -> Path:
    """argparse type: a file that can be written, known before the work whose result it is to hold."""
    path = Path(text)
    if why := unwritable(path):
        raise argparse.ArgumentTypeError(why)
    return path


def picture_file(text: str) -> Path:
    """argparse type: the same for a picture, whose name says of which kind it is."""
    path = output_file(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} is no picture's name: it ends in {', '.join(PICTURES)}")
    return path


def unwritable(path: Path) -> str:
    """Why a file cannot be written; "" where it can."""
    folder = path.parent
    why = ""
    if path.is_dir():
        why = "it is a folder"
    elif not folder.is_dir():
        why = f"there is no folder {folder}"
    elif not (os.access(path, os.W_OK) if path.exists() else os.access(folder, os.W_OK | os.X_OK)):
        why = f"{path if path.exists() else folder} does not let this user"
    return why and f"{str(path)!r} cannot be written: {why}"


def check_worker(pid: int | None, running: Iterable[int]) -> None:
    """Fail where one worker was asked for that does not run."""
    pids = sorted(set(running))
    if pid is not None and pid not in pids:
        there = f"; workers here: {', '.join(map(str, pids))}" if pids else f"; {nobody()}"
        raise Failure(f"process {pid} is no worker of Underpass{there}")


def nobody() -> str:
    """What to say where no worker was found."""
    where = "" if os.geteuid() == 0 else " that this user may look at; root sees all"
    return f"no worker is running{where}"


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def duration(ns: float) -> str:
    """Nanoseconds in the unit that reads best: 870 ns, 41.3 us, 2.10 ms, 1.50 s."""
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= scale:
            return f"{ns / scale:#.3g} {unit}".replace(". ", " ")
    return f"{ns:.0f} ns"


def size(octets: float) -> str:
    """Octets in the unit that reads best: 512 B, 1.50 KiB, 64.0 MiB."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if octets >= scale:
            return f"{octets / scale:#.3g} {unit}".replace(". ", " ")
    return f"{octets:.0f} B"


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows of cells, each column as wide as its widest cell; those in `right` to the right."""
    if not rows:
        return
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) if at in right else cell.ljust(width)
                 for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())
