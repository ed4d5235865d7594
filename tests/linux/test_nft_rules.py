"""What is understood of nftables' rules, and which may concern what is served."""

import ipaddress
from typing import Any

import pytest

from underpass.linux.nft_rules import Rule, Ruleset

V4, V6 = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")
OTHER = ipaddress.ip_address("198.51.100.1")
CHAIN = {"family": "inet", "table": "t", "name": "in", "handle": 1, "type": "filter", "hook": "input",
         "prio": 0, "policy": "accept"}


def match(protocol: str, field: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def rules(*expressions: list[dict[str, Any]], chain: dict[str, Any] | None = None,
          sets: dict[str, list[Any]] | None = None) -> list[Rule]:
    items: list[dict[str, Any]] = [{"metainfo": {"json_schema_version": 1}}, {"chain": CHAIN | (chain or {})}]
    items += [{"set": {"family": "inet", "table": "t", "name": name, "elem": elements}}
              for name, elements in (sets or {}).items()]
    family = (chain or CHAIN).get("family", "inet")
    items += [{"rule": {"family": family, "table": "t", "chain": "in", "handle": 10 + n, "expr": expression}}
              for n, expression in enumerate(expressions)]
    return Ruleset({"nftables": items}).rules()


def concerned(rule: Rule, *addresses: Any, port: int | None = 80, interface: str = "eth0") -> bool:
    return rule.concerns(interface, addresses or (V4, V6), port)


@pytest.mark.parametrize(("expression", "hits", "simple"), [
    ([match("tcp", "dport", 80), {"drop": None}], True, True),
    ([match("tcp", "dport", 81), {"drop": None}], False, True),
    ([match("tcp", "dport", {"set": [22, {"range": [80, 90]}]}), {"accept": None}], True, True),
    ([match("tcp", "dport", {"range": [81, 90]}), {"accept": None}], False, True),
    ([match("th", "dport", 80), {"drop": None}], True, True),
    ([match("tcp", "dport", 80, "!="), {"drop": None}], False, False),
    ([match("tcp", "dport", 81, "!="), {"drop": None}], True, False),
    ([match("tcp", "sport", 1024), {"drop": None}], True, True),
    ([match("ip", "daddr", "192.0.2.1"), {"drop": None}], True, True),
    ([match("ip", "daddr", {"prefix": {"addr": "192.0.2.0", "len": 24}}), {"drop": None}], True, True),
    ([match("ip", "daddr", "198.51.100.1"), {"drop": None}], False, True),
    ([match("ip", "daddr", {"range": ["192.0.2.0", "192.0.2.9"]}), {"drop": None}], True, True),
    ([match("ip6", "daddr", "2001:db8::1"), match("ip6", "saddr", "fd00::1"), {"drop": None}], True, True),
    ([match("ip", "saddr", "@listed"), {"counter": {"packets": 3, "bytes": 9}}, {"drop": None}], True, True),
    ([match("ip", "daddr", "@listed"), {"drop": None}], False, True),
    ([match("tcp", "dport", "@ports"), {"drop": None}], True, True),
    ([match("ip", "daddr", "@unknown"), {"drop": None}], True, False),
    ([match("udp", "dport", 80), {"drop": None}], False, True),
    ([match("icmp", "type", "echo-request"), {"accept": None}], False, True),
    ([meta("l4proto", "tcp"), {"drop": None}], True, True),
    ([meta("l4proto", {"set": ["icmp", "udp"]}), {"drop": None}], False, True),
    ([meta("l4proto", "tcp", "!="), {"drop": None}], False, True),
    ([match("ip", "protocol", 6), {"drop": None}], True, True),
    ([match("ip6", "nexthdr", 17), {"drop": None}], False, True),
    ([meta("iifname", "eth0"), {"drop": None}], True, True),
    ([meta("iifname", "eth*"), {"drop": None}], True, True),
    ([meta("iif", "lo"), {"accept": None}], False, True),
    ([meta("iifname", "eth0", "!="), {"drop": None}], False, False),
    ([meta("nfproto", "ipv6"), {"drop": None}], True, True),
    ([{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established"]}},
      {"accept": None}], True, False),
    ([match("tcp", "flags", "syn", "in"), {"drop": None}], True, False),
    ([match("tcp", "dport", 80), {"limit": {"rate": 5, "per": "second"}}, {"accept": None}], True, False),
    ([match("tcp", "dport", 80), {"reject": {"type": "tcp reset"}}], True, False),
    ([match("tcp", "dport", 80), {"dnat": {"addr": "10.0.0.9"}}], True, False),
    ([{"match": {"op": "==", "left": {"concat": []}, "right": {"concat": ["192.0.2.1", 80]}}},
      {"drop": None}], True, False),
    ([{"counter": None}], True, False),
    ([{"xt": {"type": "match", "name": "tcp"}}, {"drop": None}], True, False),
    ([match("tcp", "dport", 80), match("tcp", "dport", 81), {"drop": None}], True, False),
    ([match("ip", "daddr", 7), {"drop": None}], True, False),
], ids=lambda value: "")
def test_a_rule_is_understood(expression: list[dict[str, Any]], hits: bool, simple: bool) -> None:
    (rule,) = rules(expression, sets={
        "listed": ["203.0.113.7", {"elem": {"val": "203.0.113.8", "timeout": 60}},
                   {"prefix": {"addr": "10.0.0.0", "len": 8}}],
        "ports": [{"range": [79, 81]}]})
    assert (concerned(rule), rule.simple) == (hits, simple), rule


def test_the_parsed_form_can_be_used_for_more() -> None:
    (rule,) = rules([match("ip", "saddr", "@some"), match("tcp", "dport", {"set": [80, {"range": [1, 9]}]}),
                     {"drop": None}], sets={"some": ["10.0.0.1", {"range": ["10.0.0.4", "10.0.0.7"]}]})
    assert rule.sources == (ipaddress.ip_network("10.0.0.1"), ipaddress.ip_network("10.0.0.4/30"))
    assert rule.ports == ((80, 80), (1, 9)) and rule.verdict == "drop" and rule.version == 4


def test_only_chains_on_the_way_in_count_and_those_that_they_lead_to() -> None:
    drop: list[dict[str, Any]] = [{"drop": None}]
    assert rules(drop, chain={"hook": "output"}) == rules(drop, chain={"hook": "forward"}) == []
    assert len(rules(drop, chain={"hook": "prerouting"})) == 1
    chains: list[dict[str, Any]] = [
        CHAIN, *({"family": "inet", "table": "t", "name": name} for name in "abc")]
    leads = [("in", {"jump": {"target": "a"}}),
             ("a", {"vmap": {"key": 1, "data": {"set": [[80, {"goto": {"target": "b"}}]]}}}),
             ("b", {"drop": None}), ("c", {"drop": None})]
    found = Ruleset({"nftables": [{"chain": it} for it in chains] + [
        {"rule": {"family": "inet", "table": "t", "chain": chain, "handle": n, "expr": [statement]}}
        for n, (chain, statement) in enumerate(leads)]}).rules()
    assert [(rule.chain, rule.hook, rule.verdict) for rule in found] == [
        ("in", "input", "jump"), ("a", "input", "vmap"), ("b", "input", "drop")]


def test_a_policy_that_drops_is_a_rule_and_one_of_the_other_family_is_none_of_ours() -> None:
    (policy,) = rules(chain={"policy": "drop"})
    assert (policy.text, policy.simple, concerned(policy)) == ("policy drop", True, True)
    (v6_only,) = rules(chain={"policy": "drop", "family": "ip6"})
    assert concerned(v6_only, V6) and not concerned(v6_only, V4)
    for device in rules([{"drop": None}], chain={"policy": "drop", "family": "netdev", "hook": "ingress",
                                                 "dev": "eth1"}):
        assert not concerned(device) and concerned(device, interface="eth1")


def test_one_of_several_addresses_is_enough() -> None:
    (rule,) = rules([match("ip", "daddr", "192.0.2.1"), {"drop": None}])
    assert concerned(rule, OTHER, V4) and not concerned(rule, OTHER)
    (rule,) = rules([match("ip", "daddr", "192.0.2.1", "!="), {"drop": None}])
    assert concerned(rule, OTHER, V4) and not concerned(rule, V4)
    assert concerned(rule, OTHER, port=None)


def test_nothing_and_nonsense_are_no_error() -> None:
    assert Ruleset({}).rules() == [] and Ruleset({"nftables": []}, "nonsense # handle x").rules() == []
    (rule,) = rules([{"match": {"op": "==", "left": None, "right": None}}, {"mangle": {}}])
    assert concerned(rule) and not rule.simple
