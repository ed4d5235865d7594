"""`underpass restart`: workers go on in new processes, with the program that is installed now, and so does
their supervisor.
"""

import argparse
import os
import signal
import time

from underpass.cli import Failure
from underpass.cli.common import positive
from underpass.workers.adoption import Serving, serving

LOOK_S = 0.1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--pid", type=int, metavar="PID", help="the supervisor, where there are several")
    parser.add_argument("--timeout", type=positive, default=60, metavar="S",
                        help="how long it may take (default: 60)")
    parser.epilog = ("Connections are kept where the new program can take them over, and drained where not;\n"
                     "the supervisor says which, and then becomes the new program as well, as the same\n"
                     "process.\n\n"
                     "examples:\n"
                     "  pip install --upgrade underpass && underpass restart")


def run(options: argparse.Namespace) -> int:
    """Ask the supervisor, and wait until it has become the new program, and each worker another process."""
    supervisor = chosen(serving(), options.pid)
    before = workers_of(supervisor)
    try:
        os.kill(supervisor, signal.SIGHUP)
    except PermissionError:
        raise Failure(f"process {supervisor} is another user's: run this as root") from None
    end = time.monotonic() + options.timeout
    while not is_done(before, after := workers_of(supervisor)):
        if time.monotonic() > end:
            raise Failure(f"after {options.timeout:g} s not every worker of process {supervisor} is a new"
                          " one, and the supervisor with them: see what it says")
        time.sleep(LOOK_S)
    print(f"supervisor {supervisor}: workers {listed(before)} go on as {listed(after)}")
    return 0


def is_done(before: list[Serving], after: list[Serving]) -> bool:
    """Whether nobody is there who was there before, and all have a supervisor that came after them, where
    theirs becomes another one.
    """
    old = {it.pid for it in before}
    return len(after) >= len(before) and not any(
        it.pid in old or (it.renews and it.adoptions == 0) for it in after)


def workers_of(supervisor: int) -> list[Serving]:
    """Its workers."""
    return [it for it in serving() if it.supervisor == supervisor]


def chosen(there: list[Serving], pid: int | None) -> int:
    """The supervisor that is meant. Raises Failure where there is none, or more than one to choose from."""
    pids = sorted({it.supervisor for it in there if it.supervisor})
    alone = [it.pid for it in there if not it.supervisor]
    if pid is not None:
        if pid not in pids:
            here = ", ".join(map(str, pids)) or "none"
            raise Failure(f"process {pid} supervises no worker; supervisors here: {here}")
        return pid
    if len(pids) == 1:
        return pids[0]
    if pids:
        raise Failure(f"name one of the supervisors by --pid: {', '.join(map(str, pids))}")
    if alone:
        raise Failure(f"the supervisor of workers {', '.join(map(str, alone))} is gone: start `underpass"
                      " serve --workers` as before, which takes them over")
    raise Failure("no supervisor runs here: `underpass serve --workers` starts one")


def listed(workers: list[Serving]) -> str:
    """Pids for a line."""
    return ", ".join(str(it.pid) for it in workers)
