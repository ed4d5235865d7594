"""`underpass completion`: what makes a shell complete the commands, made of the commands' own parsers."""

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator

from underpass.cli.grammar import FILES, FOLDERS, INTERFACES, Argument, Command, flags, read

BASH_HEAD = """\
# bash completion for underpass: source it, or put it into /usr/share/bash-completion/completions/underpass
_underpass() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path=underpass words= kind= at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case "$path ${COMP_WORDS[at]}" in
"""
BASH_MIDDLE = """\
    esac
  done
  case "$path" in
"""
BASH_TAIL = """\
  esac
  case $kind in
    files) COMPREPLY=($(compgen -f -- "$cur")) ;;
    folders) COMPREPLY=($(compgen -d -- "$cur")) ;;
    interfaces) COMPREPLY=($(compgen -W "$(command ls /sys/class/net 2>/dev/null)" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
  esac
}
complete -o filenames -F _underpass underpass
"""
ZSH_HEAD = """\
#compdef underpass
# zsh completion for underpass: save it as _underpass in a folder of $fpath
"""
ZSH_KINDS = {FILES: "_files", FOLDERS: "_files -/", INTERFACES: "_net_interfaces"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="for which shell")
    parser.epilog = ("examples:\n"
                     "  underpass completion bash > /usr/share/bash-completion/completions/underpass\n"
                     "  underpass completion zsh > /usr/share/zsh/vendor-completions/_underpass")


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from underpass.cli import whole_parser

    command = read(whole_parser())
    sys.stdout.writelines(f"{line}\n" for line in (bash if options.shell == "bash" else zsh)(command))
    return 0


# ---- bash

def bash(command: Command) -> Iterator[str]:
    """The script: first which command the words before the cursor name, then what may follow."""
    yield BASH_HEAD.rstrip("\n")
    for one in command.walk():
        if one is not command:
            yield f'      "{one.path}") path="{one.path}" ;;'
    yield BASH_MIDDLE.rstrip("\n")
    for one in command.walk():
        yield f'    "{one.path}")'
        yield from (f"      {line}" for line in bash_command(one))
        yield "      ;;"
    yield BASH_TAIL.rstrip("\n")


def bash_command(command: Command) -> Iterator[str]:
    """What may stand at the cursor: an option's value, an option, a command, or an argument."""
    yield 'case "$prev" in'
    for option in command.options:
        if option.value:
            yield f"  {'|'.join(option.flags)}) {bash_values([option])} ;;"
    yield "  *)"
    yield f'    if [[ $cur == -* ]]; then words="{" ".join(flags(command.options))}"'
    names = " ".join(one.path.split()[-1] for one in command.commands)
    rest = f'words="{names}"' if names else bash_values(command.positionals)
    yield f"    else {rest}; fi ;;"
    yield "esac"


def bash_values(arguments: Iterable[Argument]) -> str:
    """Assignments that say which values there are."""
    found = list(arguments)
    kinds = {one.kind for one in found if one.kind}
    words = " ".join(word for one in found for word in one.words)
    return f"kind={kinds.pop()}" if kinds and not words else f"words={shlex.quote(words)}"


# ---- zsh

def zsh(command: Command) -> Iterator[str]:
    """One function for each command; a command hands over to those below it."""
    yield ZSH_HEAD.rstrip("\n")
    for one in command.walk():
        yield f"_{one.path.replace(' ', '_')}() {{"
        yield from (f"  {line}" for line in zsh_command(one))
        yield "}"
    yield '_underpass "$@"'


def zsh_command(command: Command) -> Iterator[str]:
    """The body of its function."""
    specs = [zsh_option(option) for option in command.options]
    if not command.commands:
        specs += [zsh_positional(one) for one in command.positionals]
        yield f"_arguments -s {zsh_joined(specs)}"
        return
    yield "local line state"
    yield "local -a commands"
    yield "commands=("
    for one in command.commands:
        yield f"  {shlex.quote(one.path.split()[-1] + ':' + one.purpose)}"
    yield ")"
    handing = ["'1:command:->command'", "'*::argument:->argument'"]
    yield f"_arguments -C {zsh_joined(specs + handing)}"
    yield "case $state in"
    yield "  command) _describe command commands ;;"
    yield "  argument) case $line[1] in"
    for one in command.commands:
        yield f"    {one.path.split()[-1]}) _{one.path.replace(' ', '_')} ;;"
    yield "  esac ;;"
    yield "esac"


def zsh_joined(specs: list[str]) -> str:
    """Specifications, one a line."""
    return " \\\n    ".join(["", *specs]).lstrip()


def zsh_text(text: str) -> str:
    """As it may stand in a specification."""
    for special in "\\[]:":
        text = text.replace(special, "\\" + special)
    return text.replace("\n", " ")


def zsh_values(one: Argument) -> str:
    """The part of a specification that says which values there are."""
    action = ZSH_KINDS.get(one.kind, f"({' '.join(one.words)})" if one.words else "")
    return f":{zsh_text(one.value if not one.words else 'value')}:{action}"


def zsh_option(option: Argument) -> str:
    """An option by each of its flags; one may be given again only where it is said to be so."""
    what = f"[{zsh_text(option.help)}]" + (zsh_values(option) if option.value else "")
    return " ".join(shlex.quote(flag + what) for flag in option.flags)


def zsh_positional(one: Argument) -> str:
    """An argument by its place."""
    return shlex.quote(("*" if one.repeated else "") + zsh_values(one))
