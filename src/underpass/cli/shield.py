"""`underpass shield`: the policy that protects an interface, blocks, and what is dropped."""

import argparse
import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from underpass.cli import Failure, one_line
from underpass.cli.common import add_json, check_root, columns, count, positive, print_json

if TYPE_CHECKING:
    from underpass.shield.drops import Drop
    from underpass.shield.policy import Network, Policy
    from underpass.shield.shield import Block, Heavy, Shield

ACTIONS = {
    "show": "what is loaded: the policy as it was written, and the blocks",
    "check": "check a policy without loading it; every fault with its line",
    "load": "make a policy the one in force, all of it at once",
    "unload": "filter nothing any more",
    "block": "drop what comes from addresses or prefixes",
    "allow": "let addresses or prefixes in, whatever the policy says",
    "unblock": "take blocks and allowances off",
    "top": "sources that send most, and what; needs [detection] in the policy",
    "drops": "some of the packets that were dropped lately; needs samples = true in the policy",
    "stats": "what was dropped, by section, reason, rule and list",
}
WHERE = ("show", "load", "unload", "block", "allow", "unblock", "top", "drops", "stats")


FOLLOW_S = 0.1          # 128 samples of a processor come in half a second at the least


def arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands, each with its options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    subs = {name: actions.add_parser(name, help=purpose) for name, purpose in ACTIONS.items()}
    for name in ("check", "load"):
        subs[name].add_argument("policy", metavar="FILE", help="a policy (docs/shield.md)")
    for name in ("block", "allow", "unblock"):
        subs[name].add_argument("network", metavar="ADDR", nargs="+", type=network,
                                help="an address or a prefix, such as 192.0.2.0/24")
    for name in ("block", "allow"):
        subs[name].add_argument("--for", metavar="TIME", dest="for_s", type=span,
                                help='how long: 90, 10m, 2h, 1d (default: until it is taken off)')
    for name in WHERE:
        subs[name].add_argument("--interface", "-i", metavar="IF",
                                help="which one (default: the one that Underpass serves)")
    subs["top"].add_argument("--interval", type=positive, metavar="S", help="again and again")
    subs["top"].add_argument("--count", type=count, metavar="N", default=0,
                             help="so often (with --interval)")
    subs["top"].add_argument("--lines", "-n", type=count, metavar="N", default=20,
                             help="so many sources (default: 20)")
    subs["drops"].add_argument("-w", dest="file", metavar="FILE.pcapng",
                               help="write them into a capture file; - for stdout")
    subs["drops"].add_argument("--follow", "-f", action="store_true",
                               help="and those that come, until Ctrl-C")
    for name in ("show", "check", "top", "drops", "stats"):
        add_json(subs[name])
    parser.epilog = ("examples:\n"
                     "  underpass shield check shield.toml && underpass shield load shield.toml\n"
                     "  underpass shield block 192.0.2.7 --for 10m\n"
                     "  underpass shield stats")


def network(text: str) -> "Network":
    """argparse type: an address or a prefix."""
    from underpass.shield.fields import network as read

    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"takes {error}") from None


def span(text: str) -> float:
    """argparse type: a span of time."""
    from underpass.shield.fields import span as read

    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from None


def run(options: argparse.Namespace) -> int:
    """Do it. 1 where a policy has faults, which are named one a line."""
    from underpass.shield.policy_file import PolicyError

    act: Callable[[argparse.Namespace], int] = globals()[f"run_{options.action}"]
    try:
        return act(options)
    except PolicyError as error:
        print(*map(one_line, error.faults), sep="\n", file=sys.stderr)
        return 1


@contextmanager
def opened(options: argparse.Namespace) -> Iterator["Shield"]:
    """The shield of the interface that is meant."""
    from underpass.shield.shield import open_shield

    check_root("reaching the shield of a running server")
    with open_shield(options.interface or only_interface()) as shield:
        yield shield


def only_interface() -> str:
    """The interface that Underpass serves. Raises Failure where there is none, or more than one."""
    from underpass.xdp.attachment import is_steered

    found = [name for index, name in socket.if_nameindex() if is_steered(index)]
    if len(found) != 1:
        there = f"Underpass serves {', '.join(found)}: say which by -i" if found else \
            "Underpass serves no interface here; load a policy while a server runs, or by `serve --shield`"
        raise Failure(there)
    return found[0]


def run_check(options: argparse.Namespace) -> int:
    """Read it and everything that it names."""
    from underpass.shield import policy_file
    from underpass.shield.shield import prepare

    policy = policy_file.read(options.policy)
    sizes = prepare(policy).sizes
    if options.json:
        print_json({"policy": options.policy, "lists": sizes})
    else:
        print(f"{options.policy}: right; {described(policy, sizes)}")
    return 0


def described(policy: "Policy", sizes: dict[str, int]) -> str:
    """What it has, in a few words."""
    own = [it.section.name for it in policy.service]
    sections = ["interface"] * (policy.interface is not None) + ["services", *own]
    lists = "".join(f", list {name} of {count:,} prefixes" for name, count in sizes.items())
    return f"sections {', '.join(sections)}{lists}"


def run_load(options: argparse.Namespace) -> int:
    """Load it."""
    from underpass.shield import policy_file

    policy = policy_file.read(options.policy)
    with opened(options) as shield:
        sizes = shield.load(policy)
        for name, why in shield.left_out.items():
            print(f"the kernel refuses {name}, all the rest is in force: {why}", file=sys.stderr)
    print(f"{options.policy} is in force: {described(policy, sizes)}")
    return 0


def run_unload(options: argparse.Namespace) -> int:
    """Take it out of force."""
    with opened(options) as shield:
        shield.unload()
    return 0


def run_block(options: argparse.Namespace) -> int:
    """Block, one after the other."""
    with opened(options) as shield:
        for it in options.network:
            shield.block(it, options.for_s)
    return 0


def run_allow(options: argparse.Namespace) -> int:
    """Let in."""
    with opened(options) as shield:
        for it in options.network:
            shield.allow(it, options.for_s)
    return 0


def run_unblock(options: argparse.Namespace) -> int:
    """Take off; 1 where one was not there."""
    with opened(options) as shield:
        missing = [it for it in options.network if not shield.unblock(it)]
    if missing:
        raise Failure(f"{', '.join(map(str, missing))}: neither blocked nor allowed")
    return 0


def run_show(options: argparse.Namespace) -> int:
    """The policy and the blocks."""
    with opened(options) as shield:
        policy, blocks = shield.policy(), shield.blocks()
    if options.json:
        print_json({"policy": policy and policy.text, "folder": policy and policy.folder,
                    "blocks": [dataclasses.asdict(it) | {"network": str(it.network)} for it in blocks]})
        return 0
    print(policy.text.rstrip() if policy else "no policy is loaded")
    if blocks:
        print()
        columns([("PREFIX", "WHAT", "LEFT", "PACKETS"), *map(block_cells, blocks)], right=(2, 3))
    return 0


def block_cells(it: "Block") -> tuple[str, str, str, str]:
    """One block in words."""
    words = {"block": "blocked", "heavy": "blocked as heavy", "allow": "allowed"}
    left = "" if it.left_s is None else f"{it.left_s:.0f} s"
    return str(it.network), words[it.kind], left, f"{it.packets:,}"


def run_top(options: argparse.Namespace) -> int:
    """The heaviest sources, once or every interval."""
    turn = 0
    with opened(options) as shield:
        policy = shield.policy()
        if policy is None or policy.detection is None:
            raise Failure("the policy has no [detection], without which nobody looks who sends most")
        while True:
            show_top(shield.top()[: options.lines], options.json)
            turn += 1
            if not options.interval or turn == options.count:
                return 0
            time.sleep(options.interval)


def show_top(rows: "list[Heavy]", as_json: bool) -> None:
    """One look."""
    if as_json:
        print_json([dataclasses.asdict(it) | {"network": str(it.network)} for it in rows])
        return
    columns([("SOURCE", "PACKETS/S", "PACKETS", "LAST"), *(
        (str(it.network), f"{it.packets_ps:,}", f"{it.packets:,}", signature(it)) for it in rows)],
        right=(1, 2))
    sys.stdout.flush()


def signature(it: "Heavy") -> str:
    """What kind of packet: protocol, port, flags."""
    from underpass.shield.policy import PROTOCOLS, TCP_FLAGS

    name = next((name for name, number in PROTOCOLS.items() if number == it.protocol), str(it.protocol))
    flags = "+".join(flag for flag, bit in TCP_FLAGS.items() if it.flags & bit)
    return " ".join(part for part in (name, f"port {it.port}" if it.port else "", flags) if part)


def run_drops(options: argparse.Namespace) -> int:
    """What was kept, and with --follow what comes."""
    with opened(options) as shield, ExitStack() as undo:
        drops = undo.enter_context(shield.drops())
        tell = undo.enter_context(drops_told(options))
        with suppress(KeyboardInterrupt):
            tell(drops.read())
            while options.follow:
                time.sleep(FOLLOW_S)
                tell(drops.read())
    return 0


@contextmanager
def drops_told(options: argparse.Namespace) -> "Iterator[Callable[[list[Drop]], None]]":
    """Where they go: a capture file, lines of JSON, or lines."""
    from underpass.link.pcapng import interface_description, received_packet, section_header

    def capture(rows: "list[Drop]") -> bytes:
        return b"".join(received_packet(0, it.at_ns, it.frame, it.octets, drop_reason(it)) for it in rows)

    def write(rows: "list[Drop]") -> None:
        file.write(capture(rows))
        file.flush()

    def show(rows: "list[Drop]") -> None:
        for drop, packet in zip(rows, packets(capture(rows)), strict=True):
            at = datetime.fromtimestamp(drop.at_ns / 1e9)
            print(json.dumps(drop_fields(drop) | row(packet)) if options.json else
                  f"{at:%H:%M:%S.%f} {line(row(packet))} ({packet.comment})")
        sys.stdout.flush()

    if options.file is None:
        from underpass.observe.dissect import line, row
        from underpass.observe.pcapng_blocks import packets

        yield show
        return
    with open(options.file, "wb") if options.file != "-" else os.fdopen(os.dup(1), "wb") as file:
        file.write(section_header() + interface_description(options.interface or only_interface()))
        yield write


def drop_reason(it: "Drop") -> str:
    """In words, as a packet's comment."""
    return f"{'would be ' if it.dry_run else ''}{it.reason.replace('_', ': ', 1)} in {it.section}"


def drop_fields(it: "Drop") -> dict[str, Any]:
    """For programs, beside what the packet's headers say."""
    return {"time_ns": it.at_ns, "reason": it.reason, "section": it.section, "dry_run": it.dry_run}


def run_stats(options: argparse.Namespace) -> int:
    """Tallies."""
    with opened(options) as shield:
        found = shield.stats()
    if options.json:
        print_json(plain(found))
        return 0
    rows = [(kind, section, reason, it) for kind in ("dropped", "would_drop")
            for section, reasons in found.get(kind, {}).items() for reason, it in reasons.items()]
    rows += [(kind[:-1], name, "", it) for kind in ("rules", "lists")
             for name, it in found.get(kind, {}).items()]
    if not found:
        print("no policy is loaded")
        return 0
    columns([("WHAT", "WHERE", "REASON", "PACKETS", "BYTES"),
             *((kind.replace("_", " "), where, reason.removeprefix("dropped_"), f"{it.packets:,}",
                f"{it.octets:,}")
               for kind, where, reason, it in rows)], right=(3, 4))
    print(f"{found['blocks']} blocks and allowances")
    if "detection" in found:
        print("detection: {blocked:,} blocked, {would_block:,} would be (dry run), {refused:,} refused (no "
              "room)".format(**found["detection"]))
    return 0


def plain(value: Any) -> Any:
    """Tallies as JSON has them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return {key: plain(it) for key, it in value.items()} if isinstance(value, dict) else value
