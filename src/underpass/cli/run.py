"""`underpass run`: an unmodified asyncio program, its TCP on the user-space stack."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from underpass.cli.common import add_interface, add_link_options, add_log_format, check_root, cores, count
from underpass.log import Event, Log

if TYPE_CHECKING:
    from underpass.workers import Supervisor


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options, then the program and its own."""
    add_interface(parser)
    add_link_options(parser)
    parser.add_argument("--connections", type=count, metavar="N", help="most connections at a time")
    parser.add_argument("--fallback", choices=("kernel",),
                        help="where the interface cannot be had, say so and go on with the kernel's TCP")
    parser.add_argument("--workers", type=count, metavar="N",
                        help="run the program so many times, each with its share of the interface's queues,"
                             " under a supervisor (default: once, with all of them)")
    parser.add_argument("--loops", type=count, metavar="N",
                        help="run the program once, under a supervisor, and give a share to each of the N"
                             " event loops that it makes, in processes of its own or in threads")
    parser.add_argument("--cores", type=cores, metavar="LIST",
                        help="where the workers run, such as 1,2 or 0-3 (default: anywhere)")
    parser.add_argument("--user", metavar="NAME",
                        help="whom the workers become before the program begins (default: who starts them)")
    add_log_format(parser)
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...",
                        help="python -m MODULE, a script, or a command that a package has installed")
    parser.set_defaults(complain=parser.error)
    parser.epilog = ("examples:\n"
                     "  underpass run -i eth0 -- uvicorn app:app --host 0.0.0.0\n"
                     "  underpass run -i eth0 -- python -m aiohttp.web app:make -P 80\n"
                     "  underpass run -i eth0 --fallback kernel -- python server.py\n"
                     "  underpass run -i eth0 --workers 4 --user www-data -- uvicorn app:app --port 8000")


def run(options: argparse.Namespace) -> int:
    """Run it in this process, or in workers; its status is ours."""
    from underpass.aio.launch import program_of, run_program, take_over

    words = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not words:
        options.complain("the following arguments are required: PROGRAM")
    limits: dict[str, int | str] = {"connections": options.connections} if options.connections else {}
    program = program_of(words)
    if options.workers is not None and options.loops is not None:
        options.complain("--workers runs the program several times, --loops once: not both")
    if options.workers is not None or options.loops is not None:
        return by_workers(options, words, limits)
    for name in ("cores", "user"):
        if getattr(options, name) is not None:
            options.complain(f"--{name} is of workers: give their number by --workers or --loops")
    take_over(options.interface, {"fallback": options.fallback, "limits": limits, "mode": options.mode,
                                  "busy_poll": options.busy_poll})
    return run_program(program)


def by_workers(options: argparse.Namespace, words: list[str], limits: dict[str, int | str]) -> int:
    """Run it in workers, until each has ended, or a signal ends them; or once, its event loops as workers."""
    from underpass.apps.runner import run_by_workers, run_with_loops

    if options.fallback is not None:
        options.complain("--fallback is for one process: workers need the interface")
    check_root("attaching to an interface")
    say = Log(options.log_format)

    def ready(supervisor: "Supervisor") -> None:
        active, *why_not = supervisor.summary()
        say(f"path: {active}", Event.STARTED, interface=options.interface, path=active, why_not=why_not)

    common: dict[str, Any] = {
        "workers": options.workers or options.loops, "cores": options.cores, "user": options.user,
        "limits": limits, "log_format": options.log_format, "mode": options.mode,
        "busy_poll": options.busy_poll, "say": say, "ready": ready}
    if options.loops is not None:
        return run_with_loops(words, options.interface, **common)
    run_by_workers(words, options.interface, **common, again=sys.orig_argv[1:])
    return 0
