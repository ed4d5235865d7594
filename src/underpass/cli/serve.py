"""`underpass serve`: a directory over HTTP, from the user-space stack."""

import argparse
import sys
from typing import Any

from underpass.cli import settings
from underpass.cli.common import add_interface, add_link_options, check_root, count, port, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("directory", metavar="DIR", nargs="?",
                        help="what is served; no path leads out of it")
    parser.add_argument("--config", metavar="FILE",
                        help="TOML file with settings (see `underpass check`); options here win over it")
    add_interface(parser, required=False)
    parser.add_argument("--address", action="append", metavar="A",
                        help="address to serve on, may be repeated (default: all of the interface's)")
    parser.add_argument("--port", type=port, help="port to serve on (default: 80)")
    parser.add_argument("--access-log", metavar="FILE", help="log every request there; - for stdout")
    parser.add_argument("--connections", type=count, metavar="N", help="most connections at a time")
    parser.add_argument("--congestion", metavar="NAME", choices=settings.CONGESTION,
                        help="congestion control: cubic (default), reno, dctcp, or bbr")
    add_link_options(parser)
    parser.add_argument("--json", action="store_true", help="print counters as JSON at the end")
    # None: not given, so that the file's setting counts, and then the default
    parser.set_defaults(mode=None, busy_poll=None, complain=parser.error)
    parser.epilog = ("examples:\n"
                     "  underpass serve site -i eth0\n"
                     "  underpass serve . -i eth0 --port 8080 --busy-poll\n"
                     "  underpass serve --config /etc/underpass/site.toml")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, which let the answers in work be finished."""
    from underpass.apps.runner import serve

    if not _settled(options):
        return 1

    def ready(nic: Any, server: Any) -> None:
        out = sys.stderr if options.json else sys.stdout
        active, *why_not = nic.summary()
        print(f"path: {active}", *(f"      {line}" for line in why_not), sep="\n", file=out)
        print(f"serving {options.directory} on port {options.port}", file=out, flush=True)

    chosen = {"connections": options.connections, "congestion": options.congestion}
    check_root("attaching to an interface")
    counters = serve(options.directory, options.interface, addresses=options.address or ("", "::"),
                     port=options.port, access_log=options.access_log, ready=ready,
                     limits={name: value for name, value in chosen.items() if value is not None},
                     mode=options.mode, busy_poll=options.busy_poll)
    if options.json:
        print_json(counters)
    return 0


def _settled(options: argparse.Namespace) -> bool:
    """Complete the options from the file and the defaults; False where the file's faults have been named."""
    found, faults = settings.read(options.config) if options.config else ({}, [])
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return False
    lacking = settings.complete(options, found)
    if lacking:
        names = {"directory": "DIR", "interface": "--interface/-i"}
        options.complain("the following arguments are required: "
                         + ", ".join(names.get(name, f"--{name}") for name in lacking))
    return True
