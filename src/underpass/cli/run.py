"""`underpass run`: an unmodified asyncio program, its TCP on the user-space stack."""

import argparse
import sys
import traceback

from underpass.cli.common import add_interface, add_link_options, count


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options, then the program and its own."""
    add_interface(parser)
    add_link_options(parser)
    parser.add_argument("--connections", type=count, metavar="N", help="most connections at a time")
    parser.add_argument("--fallback", choices=("kernel",),
                        help="where the interface cannot be had, say so and go on with the kernel's TCP")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...",
                        help="python -m MODULE, a script, or a command that a package has installed")
    parser.set_defaults(complain=parser.error)
    parser.epilog = ("examples:\n"
                     "  underpass run -i eth0 -- uvicorn app:app --host 0.0.0.0\n"
                     "  underpass run -i eth0 -- python -m aiohttp.web app:make -P 80\n"
                     "  underpass run -i eth0 --fallback kernel -- python server.py")


def run(options: argparse.Namespace) -> int:
    """Run it in this process; its status is ours."""
    from underpass.aio.launch import program_of, take_over

    words = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not words:
        options.complain("the following arguments are required: PROGRAM")
    limits: dict[str, int | str] = {"connections": options.connections} if options.connections else {}
    program = program_of(words)
    take_over(options.interface, {"fallback": options.fallback, "limits": limits, "mode": options.mode,
                                  "busy_poll": options.busy_poll})
    try:
        program()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()           # the program's own error, as Python would show it
        return 1
    return 0
