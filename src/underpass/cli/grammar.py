"""The command line as data, read off the argparse parsers: what completion and the manual page are made
of."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FILES, FOLDERS, INTERFACES = "files", "folders", "interfaces"

# What an argument's name in the help says about its values.
KINDS = {"FILE": FILES, "FILE.png": FILES, "FILE.pcapng": FILES, "DIR": FOLDERS, "IF": INTERFACES}
# Words that help where the parser takes any.
SUGGESTIONS = {
    ("underpass ss", "filter"): (
        "state", "exclude", "sport", "dport", "src", "dst", "and", "or", "not", "established", "syn-sent",
        "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait", "close-wait", "last-ack", "listening", "closing",
        "all", "connected", "synchronized", "bucket", "big"),
    ("underpass stats", "filter"): ("xdp", "socket", "link", "refused", "tcp", "pool", "loop"),
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: an option by its `flags`, or a positional one without any.

    `value` names what it takes, "" where it takes nothing; `words` are values that it may have, and `kind` is
    FILES, FOLDERS or INTERFACES where they are found on the machine.
    """

    flags: tuple[str, ...]
    value: str
    words: tuple[str, ...]
    kind: str
    help: str
    repeated: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `path` is its name from "underpass" on."""

    path: str
    purpose: str
    usage: str
    epilog: str
    arguments: tuple[Argument, ...]
    commands: tuple["Command", ...]

    @property
    def options(self) -> tuple[Argument, ...]:
        """The arguments that have flags."""
        return tuple(it for it in self.arguments if it.flags)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """Those that have none."""
        return tuple(it for it in self.arguments if not it.flags)

    def walk(self) -> Iterator["Command"]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def read(parser: argparse.ArgumentParser, path: str = "underpass", purpose: str = "") -> Command:
    """A parser, and those of its subcommands."""
    arguments, commands = [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            purposes = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [read(sub, f"{path} {name}", purposes.get(name, ""))
                         for name, sub in action.choices.items()]
        elif action.help != argparse.SUPPRESS:
            arguments.append(argument(parser, path, action))
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return Command(path, purpose or parser.description or "", usage, parser.epilog or "", tuple(arguments),
                   tuple(commands))


def argument(parser: argparse.ArgumentParser, path: str, action: argparse.Action) -> Argument:
    """One action."""
    formatter = parser._get_formatter()
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    words = [str(word) for word in action.choices or SUGGESTIONS.get((path, action.dest), ())]
    value = "" if action.nargs == 0 else ",".join(map(str, action.choices)) if action.choices else metavar
    return Argument(tuple(action.option_strings), value, tuple(words), KINDS.get(metavar, ""),
                    formatter._expand_help(action) if action.help else "", action.nargs in ("*", "+"),
                    bool(action.required))


def flags(arguments: Sequence[Argument]) -> list[str]:
    """Every flag of some options."""
    return [flag for one in arguments for flag in one.flags]
