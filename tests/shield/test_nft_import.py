"""nftables rules as rules of a policy."""

import ipaddress
from typing import Any

from underpass.linux.nft_rules import Rule
from underpass.shield import policy_file
from underpass.shield.nft_import import policy_text

NETWORK = ipaddress.ip_network


def rule(handle: int, verdict: str, **asks: Any) -> Rule:
    return Rule("inet", "filter", "input", handle, "input", f"rule {handle}", verdict, **asks)


def test_simple_rules_become_rules_and_the_rest_comments() -> None:
    text = policy_text([
        rule(1, "drop", sources=(NETWORK("192.0.2.0/24"), NETWORK("198.51.100.1"))),
        rule(2, "accept", rest=("ct state",)),
        rule(3, "accept", ports=((80, 80), (8000, 8010)), version=4),
        rule(4, "drop", ports=((22, 22),), excluded=frozenset({"ports"})),
        rule(5, "drop", interfaces=("wlan0",)),
        rule(6, "drop", is_tcp=False),
        rule(7, "reject"),
        rule(0, "drop"),
    ], "eth0")
    policy = policy_file.parse(text)
    assert policy.interface is None
    assert policy.services.default == "drop"
    assert [(it.name, it.action) for it in policy.services.rules] == [
        ("inet filter input 1", "drop"), ("inet filter input 3", "pass")]
    first, second = policy.services.rules
    assert first.sources == (NETWORK("192.0.2.0/24"), NETWORK("198.51.100.1/32"))
    assert (second.ports, second.version, second.protocol) == (((80, 80), (8000, 8010)), 4, 6)
    left = [line for line in text.splitlines() if line.startswith("# not imported")]
    assert [line.partition("): ")[2] for line in left] == [
        "rule 2: ct state cannot be asked in XDP", "rule 4: ports with != cannot be asked",
        "rule 7: its verdict is reject"]


def test_each_rule_has_a_name_of_its_own() -> None:
    """The tables of iptables have the same names and handles for both versions; names have an end."""
    long = "a" * 80
    rules = [Rule(family, "filter", chain, handle, "input", "", "drop") for family in ("ip", "ip6")
             for chain, handle in (("INPUT", 5), (long, 6), (long, 7))]
    policy = policy_file.parse(policy_text(rules, "eth0"))
    assert len({it.name for it in policy.services.rules}) == 6


def test_what_needs_too_many_places_is_said() -> None:
    many = tuple(NETWORK((0x0A000000 + at, 32)) for at in range(65))
    text = policy_text([rule(1, "drop", sources=many)], "eth0")
    assert "more than 64 places are needed" in text
    assert policy_file.parse(text).services.rules == ()
