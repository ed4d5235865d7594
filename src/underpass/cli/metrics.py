"""`underpass metrics`: the workers' counters for Prometheus, on an ordinary socket of Linux's."""

import argparse
import ipaddress
import sys

from underpass.cli import Failure
from underpass.cli.common import add_log_format, port
from underpass.log import Event, Log

DEFAULT = "127.0.0.1:9464"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--listen", type=endpoint, default=endpoint(DEFAULT), metavar="ADDRESS:PORT",
                        help=f"where to be asked (default: {DEFAULT})")
    parser.add_argument("--once", action="store_true", help="print the metrics and end")
    add_log_format(parser)
    parser.epilog = ("needs prometheus-client: pip install 'underpass[metrics]'\n"
                     "share/grafana/underpass.json is a dashboard of these metrics\n\n"
                     "examples:\n"
                     "  underpass metrics --listen 127.0.0.1:9464\n"
                     "  underpass metrics --listen '[::1]:9464'\n"
                     "  underpass metrics --once")


def endpoint(text: str) -> tuple[str, int]:
    """argparse type: address and port, an IPv6 address in brackets."""
    address, colon, number = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        parsed = None
    if not colon or parsed is None or (parsed.version == 6) != (bare != address):
        raise argparse.ArgumentTypeError(f"{text!r} is no ADDRESS:PORT, such as {DEFAULT} or [::1]:9464")
    return bare, port(number)


def run(options: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    try:
        import prometheus_client
    except ImportError:
        raise Failure("metrics need prometheus-client: pip install 'underpass[metrics]'") from None
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    from underpass.observe.exporter import Exporter
    from underpass.observe.prometheus import WorkerCollector
    from underpass.observe.shield_metrics import ShieldCollector

    registry = CollectorRegistry()
    registry.register(WorkerCollector())
    registry.register(ShieldCollector())
    if options.once:
        sys.stdout.write(prometheus_client.generate_latest(registry).decode())
        return 0

    def text(accept: str) -> tuple[str, bytes]:
        encode, kind = choose_encoder(accept)
        return kind, encode(registry)

    try:
        exporter = Exporter(options.listen, text)
    except OSError as error:
        raise Failure(f"cannot listen on {shown(options.listen)}: {error.strerror}") from None
    with exporter:
        said = f"metrics at http://{shown(options.listen)}/metrics"
        log = Log(options.log_format, sys.stdout if options.log_format == "text" else None)
        log(said, Event.LISTENING, address=options.listen[0], port=options.listen[1])
        exporter.serve_forever(poll_interval=60)
    return 0


def shown(listen: tuple[str, int]) -> str:
    """The address as a URL has it."""
    return f"[{listen[0]}]:{listen[1]}" if ":" in listen[0] else f"{listen[0]}:{listen[1]}"
