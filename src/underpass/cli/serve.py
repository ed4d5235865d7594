"""`underpass serve`: a directory over HTTP, from the user-space stack."""

import argparse
import os
import sys
from typing import Any

from underpass.apps.sites import Site
from underpass.cli import settings
from underpass.cli.common import (
    add_interface,
    add_io,
    add_link_options,
    add_log_format,
    check_root,
    cores,
    count,
    port,
    print_json,
)
from underpass.log import Event, Log


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
    parser.add_argument("--syn-cookies", metavar="WHEN", choices=settings.SYN_COOKIES,
                        help="have the XDP program answer SYNs by cookies: off (default; the stack does so"
                             " when it must), auto (under a flood), always")
    parser.add_argument("--syn-rate", type=count, metavar="N",
                        help="SYNs a second that are a flood for auto (default: 20000)")
    parser.add_argument("--admission", action=argparse.BooleanOptionalAction,
                        help="have the XDP program refuse what is new while a worker is overloaded")
    parser.add_argument("--workers", type=count, metavar="N",
                        help="so many unprivileged processes, each with its share of the queues, under a"
                             " supervisor (default: this process alone)")
    parser.add_argument("--cores", type=cores, metavar="LIST",
                        help="where the workers run, such as 1,2 or 0-3")
    parser.add_argument("--user", metavar="NAME", help="whom the workers become (default: nobody)")
    parser.add_argument("--shield", metavar="FILE",
                        help="protect the interface by this policy (see `underpass shield check`)")
    add_link_options(parser)
    add_log_format(parser)
    add_io(parser)
    parser.add_argument("--json", action="store_true", help="print counters as JSON at the end")
    # None: not given, so that the file's setting counts, and then the default
    parser.set_defaults(mode=None, busy_poll=None, log_format=None, complain=parser.error)
    parser.epilog = ("examples:\n"
                     "  underpass serve site -i eth0\n"
                     "  underpass serve . -i eth0 --port 8080 --busy-poll\n"
                     "  underpass serve --config /etc/underpass/site.toml")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, which let the answers in work be finished."""
    from underpass.apps.runner import serve, serve_by_workers
    from underpass.linux.admission import AdmissionPlan

    if not _settled(options):
        return 1
    if options.io == "dpdk" and options.workers is not None:
        options.complain("--io dpdk serves in one process, without --workers")

    say = Log(options.log_format)
    chosen = {"connections": options.connections, "congestion": options.congestion}
    check_root("attaching to an interface")
    common: dict[str, Any] = {
        "limits": {name: value for name, value in chosen.items() if value is not None}, "mode": options.mode,
        "busy_poll": options.busy_poll, "shield": options.shield, "checksum": options.checksum, "say": say,
        "admission": AdmissionPlan(options.syn_cookies, options.admission, options.syn_rate)}
    if options.workers is None:
        counters = serve(options.sites, options.interface, **common, io=options.io,
                         ready=lambda nic: _began(options, say, nic.summary()))
    else:
        counters = serve_by_workers(
            options.sites, options.interface, **common, workers=options.workers, cores=options.cores,
            user=options.user, log_format=options.log_format, again=sys.orig_argv[1:],
            ready=lambda supervisor: _began(options, say, supervisor.summary()))
    say("ended", Event.ENDED, interface=options.interface, counters=counters)
    if options.json:
        print_json(counters)
    return 0


def _began(options: argparse.Namespace, say: Log, summary: list[str]) -> None:
    """Say which path is active, and what is served: on stdout for people, as events for programs."""
    active, *why_not = summary
    if say.form == "text":
        out = sys.stderr if options.json else sys.stdout
        print(f"path: {active}", *(f"      {line}" for line in why_not), sep="\n", file=out)
        print(*(_served(options, site)[0] for site in options.sites), sep="\n", file=out, flush=True)
        return
    say(f"path: {active}", Event.STARTED, interface=options.interface, pid=os.getpid(), path=active,
        why_not=why_not)
    for site in options.sites:
        line, workers = _served(options, site)
        say(line, Event.SERVING, interface=options.interface, directory=site.directory,
            addresses=list(site.addresses), port=site.port, workers=workers)


def _served(options: argparse.Namespace, site: Site) -> tuple[str, int | None]:
    """The line that says so, and by how many workers, if there are such."""
    if options.workers is None:
        return f"serving {site}", None
    shared: int = options.workers - sum(it.own_workers for it in options.sites)
    return f"serving {site} by {site.own_workers or shared} workers", site.own_workers or shared


def _settled(options: argparse.Namespace) -> bool:
    """Complete the options from the file and the defaults; False where the file's faults have been named."""
    found, faults = settings.read(options.config) if options.config else ({}, [])
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return False
    try:
        lacking = settings.complete(options, found)
    except ValueError as error:
        options.complain(str(error))
    if lacking:
        names = {"directory": "DIR", "interface": "--interface/-i"}
        options.complain("the following arguments are required: "
                         + ", ".join(names.get(name, f"--{name}") for name in lacking))
    return True
