"""The command `underpass`: a small module for each subcommand, imported when it is the one asked for."""

import argparse
import importlib
import os
import sys
from collections.abc import Collection, Sequence
from importlib.metadata import version
from typing import NoReturn

from underpass.log import Event, Log

COMMANDS = {
    "demo": "show the whole path on this machine in half a minute",
    "serve": "serve a directory over HTTP from the user-space stack",
    "check": "check the settings of a service, for `underpass serve --config`",
    "restart": "have workers go on in new processes, with every connection",
    "run": "run an asyncio program, unmodified, with its TCP on the user-space stack",
    "load": "load an HTTP server and measure its latency, or fetch a file",
    "ss": "list connections of running workers",
    "stats": "show the counters of running workers, by layer and reason",
    "top": "show live what running workers do, and which connections carry most",
    "metrics": "offer the counters of running workers to Prometheus",
    "dump": "show or write the packets of running workers, both ways, with why one was refused",
    "trace": "follow one connection: its states, retransmissions, windows and round trips",
    "shield": "protect services: policies, blocks, and what is dropped",
    "doctor": "say what this machine and interface can do, what will be used, and why not better",
    "bench": "measure Underpass beside other servers",
    "completion": "print what makes bash or zsh complete these commands",
    "man": "print the manual page",
}


class Failure(Exception):
    """A foreseeable error: its one line is all that the user sees."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, too."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and where to read what would be right; exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser_for(words: Sequence[str]) -> Parser:
    """The parser: complete for the subcommand among `words`, of the others only the name and what they do."""
    asked = next((word for word in words if not word.startswith("-")), None)
    return parser_with([name for name in COMMANDS if name == asked])


def whole_parser() -> Parser:
    """The parser, complete for every subcommand."""
    return parser_with(COMMANDS)


def parser_with(complete: Collection[str]) -> Parser:
    """The parser, complete for these subcommands."""
    parser = Parser(
        prog="underpass", description="A user-space TCP stack on AF_XDP, beside Linux.",
        epilog="`underpass COMMAND --help` says more about each.")
    parser.add_argument("--version", action="version", version=f"underpass {version('underpass')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        sub = commands.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".",
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in complete:
            module = importlib.import_module(f"underpass.cli.{name}")
            module.arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status. Errors that can be foreseen are one line on stderr."""
    words = sys.argv[1:] if words is None else words
    arguments = parser_for(words).parse_args(words)
    return guarded(arguments)


def guarded(arguments: argparse.Namespace) -> int:
    """Run the subcommand; 1 for an error, 128 + the signal's number when one ended it."""
    from underpass.linux.namespaces import Interrupted, signals_as_exceptions

    try:
        with signals_as_exceptions():
            status: int = arguments.run(arguments)
            sys.stdout.flush()
            return status
    except Interrupted as signal:
        return 128 + signal.number
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left: that is no error; keep Python from finding it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Failure, OSError, ValueError, ImportError) as error:
        if os.environ.get("UNDERPASS_TRACEBACK"):
            raise
        for it in getattr(error, "faults", None) or [error]:
            complain(one_line(it), arguments)
        return 1


def complain(why: str, arguments: argparse.Namespace) -> None:
    """One line on stderr, in the form of the command's log."""
    if getattr(arguments, "log_format", None) == "json":
        Log("json")(why, Event.FAILED, command=arguments.command, reason=why)
    else:
        print(f"underpass: {why}", file=sys.stderr)


def one_line(error: object) -> str:
    """What the error says, without Python's decoration."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(text.split()) or type(error).__name__
