"""`underpass load`: an HTTP load generator, and a fetcher of files, on the user-space stack."""

import argparse
import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from underpass.cli import Failure
from underpass.cli.common import (
    add_interface,
    add_json,
    add_link_options,
    check_root,
    cores,
    count,
    duration,
    positive,
    print_json,
    size,
)
from underpass.log import Log

if TYPE_CHECKING:
    from underpass.apps.load import LoadResults

MAX_SOURCES = 64
MOST_PORTS = 28000                # of the kernel's usual range
MOST_FRAMES = 1 << 18
SPARE = 64                        # connection blocks that still close while others open
QUANTILES = ("min", "p50", "p90", "p99", "p99.9", "max")


class Target(NamedTuple):
    """Where to, and what to ask."""

    host: str
    port: int
    path: str
    authority: str

    def request(self, keep_alive: bool) -> bytes:
        """The request's octets."""
        close = "" if keep_alive else "Connection: close\r\n"
        return (f"GET {self.path} HTTP/1.1\r\nHost: {self.authority}\r\nUser-Agent: underpass\r\n"
                f"Accept: */*\r\n{close}\r\n").encode()


def target(text: str) -> Target:
    """argparse type: an http URL."""
    try:
        url = urlsplit(text if "//" in text else f"http://{text}")
        host, port = url.hostname, url.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL: {error}") from None
    if url.scheme != "http" or not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not an http URL like http://192.0.2.1/index.html")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise argparse.ArgumentTypeError(f"{text!r}: percent-encode what is not plain ASCII")
    return Target(host, port or 80, path, url.netloc.rpartition("@")[2])


def sources(text: str) -> list[str]:
    """argparse type: addresses A,B and ranges A-B."""
    found: list[str] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            begin, end = ip_address(first.strip()), ip_address((last or first).strip())
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if begin.version != end.version or int(begin) > int(end):
            raise argparse.ArgumentTypeError(f"{part} is not a range of addresses")
        if len(found) + int(end) - int(begin) >= MAX_SOURCES:
            raise argparse.ArgumentTypeError(f"more than {MAX_SOURCES} source addresses")
        found += [str(begin + i) for i in range(int(end) - int(begin) + 1)]
    return found


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("url", type=target, metavar="URL", help="http://HOST[:PORT]/PATH")
    add_interface(parser)
    parser.add_argument("-c", "--connections", type=count, default=None,
                        help="at a time (default: 50; 1 with -o)")
    parser.add_argument("-d", "--duration", type=positive, default=None, metavar="S",
                        help="seconds (default: 10; without end with -n)")
    parser.add_argument("-n", "--requests", type=count, default=0, help="end after so many")
    parser.add_argument("--rate", type=positive, default=0, metavar="R",
                        help="open loop: R requests/s on a schedule; latency counts from when each was due")
    parser.add_argument("--no-keepalive", action="store_true", help="a connection for each request")
    parser.add_argument("--source", type=sources, action="extend", default=[], metavar="A,B-C",
                        help="addresses of the interface to connect from, in turn: each has its own ports")
    parser.add_argument("--timeout", type=positive, default=10, metavar="S",
                        help="for each answer (default: 10)")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="write the bodies there (- for stdout); -n 1 -c 1 unless given")
    parser.add_argument("--workers", type=count, metavar="N",
                        help="so many processes, each with its share of queues, connections and rate")
    parser.add_argument("--cores", type=cores, metavar="LIST",
                        help="where the workers run, such as 1,2 or 0-3")
    add_link_options(parser)
    add_json(parser)
    parser.set_defaults(complain=parser.error)
    parser.epilog = ("examples:\n"
                     "  underpass load http://192.0.2.1/ -i eth0 -c 100 -d 30\n"
                     "  underpass load http://192.0.2.1/ -i eth0 --rate 20k --json\n"
                     "  underpass load http://192.0.2.1/ -i eth0 -c 10k --workers 4 --cores 2-5\n"
                     "  underpass load http://192.0.2.1/big.iso -i eth0 -o big.iso")


def run(options: argparse.Namespace) -> int:
    """Load and report; 1 where nothing was answered, or an answer of a fetch failed."""
    if options.workers and (options.requests or options.output):
        options.complain("a load by several --workers ends by its duration (-d), and writes no bodies")
    if options.workers and options.workers > (options.connections or 50):
        options.complain(f"{options.workers} --workers need as many connections (-c)")
    check_root("opening an AF_XDP socket")
    address = resolve(options.url.host)
    fetching = options.output is not None
    with output(options.output) as descriptor:
        result, path = generate(options, address, descriptor, fetching)
    if fetching:
        return fetched(result, options)
    if options.json:
        print_json(result | {"path": path})
    if not result["requests"]:
        raise Failure(f"no answer from {options.url.authority}: {reason(result)}")
    if not options.json:
        print(f"path: {path}")
        show(result)
    return 0


def resolve(host: str) -> str:
    """The host's first address."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        raise Failure(f"no address for {host}: {error.strerror}") from None


@contextlib.contextmanager
def output(name: str | None) -> Iterator[int]:
    """A descriptor to write bodies to; -1 for none."""
    if name is None:
        yield -1
    elif name == "-":
        yield sys.stdout.fileno()
    else:
        with open(name, "wb") as file:
            yield file.fileno()


def generate(options: argparse.Namespace, address: str, descriptor: int,
             fetching: bool) -> tuple["LoadResults", str]:
    """Attach, load, detach. Returns the results and the active path."""
    from underpass import attach
    from underpass.apps.load import LoadClient

    connections = options.connections or (1 if fetching else 50)
    requests = options.requests or (1 if fetching else 0)
    seconds = options.duration or (0 if requests else 10)
    check_sources(options.source, options.interface)
    if options.workers:
        return by_workers(options, address, connections, seconds)
    with attach(options.interface, mode=options.mode, busy_poll=options.busy_poll,
                frames=frames_for(connections),
                source_ports=ports_for(connections, max(len(options.source), 1))) as nic:
        stack = nic.stack(connections=connections + SPARE)
        client = LoadClient(
            stack, address, options.url.port, options.url.request(not options.no_keepalive),
            connections=connections, duration_s=seconds, rate=options.rate,
            keep_alive=not options.no_keepalive, requests=requests, sources=options.source,
            timeout_s=options.timeout, output=descriptor)
        try:
            while not client.over:
                stack.run(0.5)
        except KeyboardInterrupt:
            if not client.results()["requests"]:
                raise
        result = client.results()
        client.close()
        stack.run(0.05)                     # let the last segments go
        return result, nic.summary()[0]


def by_workers(options: argparse.Namespace, address: str, connections: int,
               seconds: float) -> tuple["LoadResults", str]:
    """The same by a process for each share of the queues, each with its share of connections and rate."""
    from underpass.apps.load_worker import load_plan, results_of
    from underpass.workers.supervisor import Supervisor

    each = -(-connections // options.workers)
    plan = load_plan(
        address, options.url.port, options.url.request(not options.no_keepalive), workers=options.workers,
        connections=connections, duration_s=seconds, rate=options.rate, keep_alive=not options.no_keepalive,
        sources=options.source, timeout_s=options.timeout, blocks=each + SPARE, frames=frames_for(each),
        source_ports=ports_for(connections, max(len(options.source), 1)))
    with Supervisor(options.interface, plan, workers=options.workers, cores=options.cores, mode=options.mode,
                    busy_poll=options.busy_poll, say=Log(least="warning")) as supervisor:
        supervisor.wait_ready()
        path, end = supervisor.summary()[0], time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < end:
                supervisor.turn(end - time.monotonic())
        return results_of(supervisor.drain()), path


def frames_for(connections: int) -> int:
    """Packet buffers: two for each connection, and enough for the rings."""
    return min(max(16384, 1 << (2 * connections - 1).bit_length()), MOST_FRAMES)


def ports_for(connections: int, addresses: int) -> int:
    """Source ports to take from the kernel; each serves every address. Some more, for those in TIME_WAIT."""
    wanted = connections // addresses * 5 // 4 + 1
    if wanted > MOST_PORTS:
        needed = -(-connections * 5 // (4 * MOST_PORTS))
        raise Failure(f"{connections} connections need {needed} addresses to connect from (--source)")
    return min(max(wanted, 4096), MOST_PORTS)


def check_sources(wanted: list[str], interface: str) -> None:
    """Fail in one line for a source that is not an address of the interface."""
    from underpass.linux.interface import facts
    from underpass.linux.namespaces import run as command

    facts(interface)
    if not wanted:
        return
    said = json.loads(command("ip", "-j", "addr", "show", "dev", interface).stdout)
    there = [entry["local"] for link in said for entry in link["addr_info"]]
    for address in wanted:
        if address not in there:
            raise Failure(f"{address} is not an address of {interface}, which has {', '.join(there)}")


def reason(result: "LoadResults") -> str:
    """Why requests failed."""
    kinds = ", ".join(f"{number} {kind}" for kind, number in result["errors"].items())
    if result["last_error"]:
        return f"{kinds} ({result['last_error']})"
    return kinds or "no connection came about"


def fetched(result: "LoadResults", options: argparse.Namespace) -> int:
    """Say what was fetched, on stderr; 1 where it was no success."""
    if result["errors"] or not result["requests"]:
        raise Failure(f"{options.url.authority}{options.url.path}: {reason(result)}")
    if "2xx" not in result["status"]:
        said = ", ".join(result["status"])
        raise Failure(f"{options.url.authority}{options.url.path}: the server answers {said}")
    rate = result["bytes"] / result["seconds"] if result["seconds"] else 0
    print(f"{size(result['bytes'])} in {result['seconds']:.3f} s, {size(rate)}/s", file=sys.stderr)
    if options.json and options.output != "-":
        print_json(result)
    return 0


def show(result: "LoadResults") -> None:
    """The results for people."""
    print(f"{result['requests']:,} requests in {result['seconds']:.2f} s over {result['connections']:,} "
          f"connections, {size(result['bytes'])}")
    print(f"{result['requests_per_s']:,.0f} requests/s")
    latency = result["latency_ns"]
    print("latency   " + "  ".join(f"{name} {duration(latency[name])}" for name in QUANTILES))
    connect = result["connect_ns"]
    print("connect   " + "  ".join(f"{name} {duration(connect[name])}" for name in QUANTILES))
    statuses = {name: number for name, number in result["status"].items() if name != "2xx"}
    if statuses:
        print("status    " + "  ".join(f"{name} {number:,}" for name, number in statuses.items()))
    if result["errors"]:
        print("errors    " + "  ".join(f"{kind} {number:,}" for kind, number in result["errors"].items()))
