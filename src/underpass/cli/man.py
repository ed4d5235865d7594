"""`underpass man`: the manual page, made of the commands' own parsers."""

import argparse
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib.metadata import version

from underpass.cli import COMMANDS
from underpass.cli.grammar import Argument, Command, read

DESCRIPTION = (
    "Underpass is a user-space TCP stack on AF_XDP. It takes the packets of the ports that it serves out of "
    "a network interface; everything else stays with Linux.",
    "Times are seconds. An error is one line on standard error.",
)
EXIT = (("0", "It did what it was asked for."), ("1", "It failed; the one line on standard error says why."),
        ("2", "The command line is wrong."), ("128+N", "Signal N ended it."))
SEE = "ss(8), tcpdump(8), ip(8), bpf(2), systemd.unit(5)"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("command", nargs="?", choices=tuple(COMMANDS), metavar="COMMAND",
                        help="the page of this command alone; without it, of all")
    parser.epilog = ("examples:\n"
                     "  underpass man | man -l -\n"
                     "  underpass man > /usr/local/share/man/man1/underpass.1")


def run(options: argparse.Namespace) -> int:
    """Print it, for man(1)."""
    from underpass.cli import whole_parser

    whole = read(whole_parser())
    chosen = next((one for one in whole.commands if one.path == f"underpass {options.command}"), whole)
    sys.stdout.writelines(f"{line}\n" for line in page(chosen))
    return 0


def page(command: Command) -> Iterator[str]:
    """The page of a command and of those below it."""
    name = command.path.replace(" ", "-")
    yield f'.TH {name.upper()} 1 "{date()}" "underpass {version("underpass")}" "User Commands"'
    yield from (".SH NAME", f"{escape(name)} \\- {escape(command.purpose.rstrip('.'))}")
    yield ".SH SYNOPSIS"
    yield from synopsis(command)
    yield ".SH DESCRIPTION"
    for at, paragraph in enumerate(DESCRIPTION):
        yield from ([".PP"] if at else []) + text(paragraph)
    yield ".SH OPTIONS"
    yield from body(command)
    if command.commands:
        yield ".SH COMMANDS"
    for one in command.commands:
        yield from section(one)
    yield ".SH EXIT STATUS"
    for status, what in EXIT:
        yield from (".TP", f"\\fB{status}\\fR", *text(what))
    yield from (".SH SEE ALSO", escape(SEE))


def synopsis(command: Command) -> Iterator[str]:
    """How it is called, the command in bold."""
    yield f"\\fB{escape(command.path)}\\fR"
    yield from text(command.usage.removeprefix(command.path).strip())


def section(command: Command) -> Iterator[str]:
    """One command's part, and those of the commands below it."""
    yield f".SS {quoted(command.path)}"
    yield from text(command.purpose[:1].upper() + command.purpose[1:].rstrip(".") + ".")
    yield ".PP"
    yield from synopsis(command)
    yield from body(command)
    for one in command.commands:
        yield from section(one)


def body(command: Command) -> Iterator[str]:
    """Arguments, and what else its help says."""
    for one in command.arguments:
        if "--help" in one.flags:
            continue                                        # it is the same in all
        yield from (".TP", heading(one), *(text(one.help) or ["\\&"]))
    for block in re.split(r"\n\n", command.epilog.strip()) if command.epilog else ():
        yield from (".PP", ".nf", *map(escape, block.splitlines()), ".fi")


def heading(one: Argument) -> str:
    """Its flags in bold, its value in italics."""
    value = f"\\fI{escape(one.value)}\\fR" if one.value else ""
    if not one.flags:
        return value
    return ", ".join(f"\\fB{escape(flag)}\\fR" for flag in one.flags) + (f" {value}" if value else "")


def date() -> str:
    """Today, or what SOURCE_DATE_EPOCH says, so that a build can be repeated."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    return time.strftime("%Y-%m-%d", time.gmtime(int(said) if said.isdecimal() else None))


def text(words: str) -> list[str]:
    """A paragraph in lines that one can read."""
    return [escape(line) for line in textwrap.wrap(words, 72, break_long_words=False, break_on_hyphens=False)]


def escape(words: str) -> str:
    """As roff prints it: no requests, hyphens that can be copied."""
    words = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{words}" if words[:1] in (".", "'") else words


def quoted(words: str) -> str:
    """As an argument of a macro."""
    return '"' + escape(words).replace('"', "\\(dq") + '"'
