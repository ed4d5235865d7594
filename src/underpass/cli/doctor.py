"""`underpass doctor`: what this machine and an interface can do, what will be used, and why not better."""

import argparse
import ipaddress

from underpass.cli import Failure
from underpass.cli.common import add_json, columns, port, print_json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--interface", "-i", metavar="IF", help="examine this interface too")
    parser.add_argument("--address", metavar="ADDR", action="append", type=address, default=[],
                        help="what is to be served, for the host's filters that no longer see it "
                             "(default: all addresses of the interface)")
    parser.add_argument("--port", type=port, help="the port that is to be served (default: any)")
    parser.add_argument("--import", dest="imports", action="store_true",
                        help="print the host's simple nftables rules as a policy for `underpass shield`")
    add_json(parser)
    parser.epilog = ("examples:\n"
                     "  underpass doctor\n"
                     "  underpass doctor -i eth0 --address 192.0.2.1 --port 80\n"
                     "  underpass doctor -i eth0 --import > shield.toml")


def address(text: str) -> str:
    """argparse type: an IPv4 or IPv6 address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address") from None


def run(options: argparse.Namespace) -> int:
    """Examine and say; 1 where something makes Underpass impossible."""
    from underpass.linux.doctor import examine

    if (options.address or options.port) and not options.interface:
        raise Failure("--address and --port are for an interface: give it by -i")
    if options.imports:
        return run_import(options)
    findings = examine(options.interface, options.address, options.port)
    if options.json:
        print_json([finding.as_dict() for finding in findings])
    else:
        rows: list[tuple[str, str, str]] = []
        for finding in findings:
            rows.append((finding.status, finding.name, finding.detail))
            if finding.better:
                rows.append(("", "", f"better: {finding.better}"))
        columns(rows)
    return int(any(finding.status == "fail" for finding in findings))


def run_import(options: argparse.Namespace) -> int:
    """The rules as a policy, on stdout."""
    from underpass.linux.nft_rules import host_rules
    from underpass.shield.nft_import import policy_text

    if not options.interface:
        raise Failure("--import is for an interface: give it by -i")
    print(policy_text(host_rules(), options.interface), end="")
    return 0
