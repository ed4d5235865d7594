"""nftables rules as rules of a policy: XDP takes what is served before nftables sees it.

Taken are rules that only ask for addresses, ports and the interface, and drop or accept. What else there is
stands in the policy as a comment, with the reason, so that nobody believes it is in force.
"""

import json
from collections.abc import Iterable, Sequence

from underpass.linux.nft_rules import Network, Ports, Rule
from underpass.shield.fields import TEXT_MAX

PLACES = 64                             # of a section's rules, each pair of networks and ports one


def policy_text(rules: Iterable[Rule], interface: str) -> str:
    """The policy, in TOML, of the rules that TCP may come to by an interface, in their order."""
    taken: list[str] = []
    left: list[str] = []
    default, places = "", 0
    for rule in rules:
        if not rule.concerns(interface, ()):
            continue
        why = why_not(rule)
        need = product_of(rule)
        if not why and not rule.handle:
            default = f'default = "drop"                # {rule.family} {rule.table} {rule.chain}\n'
        elif why or places + need > PLACES:
            left.append(f"# not imported: {rule.line()}: {why or f'more than {PLACES} places are needed'}")
        else:
            taken.append(rule_text(rule))
            places += need
    head = f"# What nftables says of TCP that comes in by {interface}, for ports that Underpass serves.\n"
    return head + "".join(f"{line}\n" for line in left) + "\n[services]\n" + default + "".join(taken)


def why_not(rule: Rule) -> str:
    """Why a rule cannot be one of a policy; "" where it can."""
    if rule.verdict not in ("drop", "accept"):
        return f"its verdict is {rule.verdict or 'none'}"
    if rule.rest:
        return f"{', '.join(rule.rest)} cannot be asked in XDP"
    if rule.excluded:
        return f"{', '.join(sorted(rule.excluded))} with != cannot be asked"
    return ""


def product_of(rule: Rule) -> int:
    """How many places it takes."""
    total = 1
    for them in (rule.sources, rule.destinations, rule.source_ports, rule.ports):
        total *= max(1, len(them or ()))
    return total


def rule_text(rule: Rule) -> str:
    """One rule in TOML."""
    lines = ["", "[[services.rule]]", f"name = {json.dumps(name_of(rule))}",
             f'action = "{"pass" if rule.verdict == "accept" else "drop"}"']
    if rule.version is not None:
        lines.append(f'version = "{rule.version}"')
    for key, networks in (("from", rule.sources), ("to", rule.destinations)):
        if networks is not None:
            lines.append(f"{key} = {listed(networks)}")
    for key, ports in (("from-ports", rule.source_ports), ("to-ports", rule.ports)):
        if ports is not None:
            lines.append(f"{key} = {ranges(ports)}")
    if rule.ports is not None or rule.source_ports is not None:
        lines.append('protocol = "tcp"')
    return "\n".join(lines) + "\n"


def name_of(rule: Rule) -> str:
    """Table and handle, which are the rule's own, and the chain."""
    handle = f" {rule.handle}"
    return f"{rule.family} {rule.table} {rule.chain}"[: TEXT_MAX - len(handle)] + handle


def listed(networks: Sequence[Network]) -> str:
    """Networks as a TOML array."""
    return json.dumps([str(it) for it in networks])


def ranges(ports: Sequence[Ports]) -> str:
    """Ports as a TOML array."""
    return json.dumps([first if first == last else f"{first}-{last}" for first, last in ports])
