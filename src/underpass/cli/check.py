"""`underpass check`: whether a service's settings are right, before it is started with them."""

import argparse
import sys

from underpass.cli.common import add_json, print_json
from underpass.cli.settings import FIELDS, SITE_FIELDS, missing, read


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("file", metavar="FILE", help="TOML file that `underpass serve --config` is to read")
    add_json(parser)
    keys = "\n".join(f"  {field.name:<12} {field.right}{'; required' if field.required else ''}"
                     for field in FIELDS.values())
    its = ", ".join(SITE_FIELDS)
    parser.epilog = (
        f"settings, each as the option of `underpass serve` with its name:\n{keys}\n\n"
        f"Where several directories are served, {its}\nstand in a table [[site]] for each instead.\n\n"
        "example:\n  underpass check /etc/underpass/site.toml")


def run(options: argparse.Namespace) -> int:
    """One line for each fault, all of them; 1 where there is one."""
    settings, faults = read(options.file)
    faults += missing(options.file, settings, faults)
    if options.json:
        print_json([{"file": fault.file, "key": fault.key, "wrong": fault.wrong} for fault in faults])
    elif faults:
        print(*faults, sep="\n", file=sys.stderr)
    else:
        print(f"{options.file}: right")
    return 1 if faults else 0
