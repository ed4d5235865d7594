"""`underpass restart`: workers go on in new processes, with the program that is installed now."""

import argparse
import os
import signal
import time
from pathlib import Path

from underpass.cli import Failure
from underpass.cli.common import positive

WORKER = b"underpass.workers.worker"
LOOK_S = 0.05


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--pid", type=int, metavar="PID", help="the supervisor, where there are several")
    parser.add_argument("--timeout", type=positive, default=60, metavar="S",
                        help="how long it may take (default: 60)")
    parser.epilog = ("Connections are kept where the new program can take them over, and drained where not;\n"
                     "the supervisor says which. The supervisor itself stays.\n\n"
                     "examples:\n"
                     "  pip install --upgrade underpass && underpass restart")


def run(options: argparse.Namespace) -> int:
    """Ask the supervisor, and wait until every worker is another process."""
    supervisor = chosen(supervisors(), options.pid)
    before = workers_of(supervisor)
    try:
        os.kill(supervisor, signal.SIGHUP)
    except PermissionError:
        raise Failure(f"process {supervisor} is another user's: run this as root") from None
    end = time.monotonic() + options.timeout
    while set(before) & set(workers_of(supervisor)) or len(workers_of(supervisor)) < len(before):
        if time.monotonic() > end:
            raise Failure(f"after {options.timeout:g} s not every worker of process {supervisor} is a new"
                          " one: see what the supervisor says")
        time.sleep(LOOK_S)
    print(f"supervisor {supervisor}: workers {listed(before)} go on as {listed(workers_of(supervisor))}")
    return 0


def supervisors() -> list[int]:
    """Processes whose children are workers."""
    return sorted({parent for pid in processes() if is_worker(pid) and (parent := parent_of(pid)) > 1})


def workers_of(supervisor: int) -> list[int]:
    """Its workers' pids."""
    return sorted(pid for pid in processes() if parent_of(pid) == supervisor and is_worker(pid))


def chosen(there: list[int], pid: int | None) -> int:
    """The supervisor that is meant. Raises Failure where there is none, or more than one to choose from."""
    if pid is not None:
        if pid not in there:
            raise Failure(f"process {pid} supervises no worker; supervisors here: {listed(there) or 'none'}")
        return pid
    if len(there) != 1:
        raise Failure(f"name one of the supervisors by --pid: {listed(there)}" if there else
                      "no supervisor runs here: `underpass serve --workers` starts one")
    return there[0]


def processes() -> list[int]:
    """All that there are."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def is_worker(pid: int) -> bool:
    """By its command line."""
    try:
        return WORKER in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def parent_of(pid: int) -> int:
    """0 where the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def listed(pids: list[int]) -> str:
    """Numbers for a line."""
    return ", ".join(map(str, pids))
