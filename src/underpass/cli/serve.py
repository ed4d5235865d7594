"""`underpass serve`: a directory over HTTP, from the user-space stack."""

import argparse
import sys
from typing import Any

from underpass.cli.common import add_interface, add_link_options, check_root, count, port, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("directory", metavar="DIR", help="what is served; no path leads out of it")
    add_interface(parser)
    parser.add_argument("--address", action="append", metavar="A",
                        help="address to serve on, may be repeated (default: all of the interface's)")
    parser.add_argument("--port", type=port, default=80, help="port to serve on (default: 80)")
    parser.add_argument("--access-log", metavar="FILE", help="log every request there; - for stdout")
    parser.add_argument("--connections", type=count, metavar="N", help="most connections at a time")
    parser.add_argument("--congestion", metavar="NAME", choices=("cubic", "reno", "dctcp", "bbr"),
                        help="congestion control: cubic (default), reno, dctcp, or bbr")
    add_link_options(parser)
    parser.add_argument("--json", action="store_true", help="print counters as JSON at the end")
    parser.epilog = ("examples:\n"
                     "  underpass serve site -i eth0\n"
                     "  underpass serve . -i eth0 --port 8080 --busy-poll")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, which let the answers in work be finished."""
    from underpass.apps.runner import serve

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
