"""The host's nftables rules that see what comes in by TCP, as far as they can be understood.

    nft -j list ruleset --> Ruleset --> Rule: networks, ports, interfaces, verdict --> concerns(...)

A rule is *simple* where addresses, ports, protocol and interface, sets of them included, are all its
conditions, and it drops or accepts: what a packet filter without state can say as well. What else it has is
named in `rest`, and taken to match: a rule is left out only where it is sure that the traffic in question is
none of its.
"""

import ipaddress
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Ports = tuple[int, int]                 # first and last
Key = tuple[str, str, str]              # family, table, name

HOOKS = ("ingress", "prerouting", "input")
LEGACY = ("ip_tables_names", "ip6_tables_names")
TIMEOUT_S = 10.0
TCP_NAMES = {"tcp", 6}
OTHER_PROTOCOLS = {"udp", "udplite", "icmp", "icmpv6", "sctp", "dccp"}
VERSIONS = {"ip": 4, "ip6": 6}
IP_NAMES = {"ipv4": 4, "ipv6": 6, **VERSIONS}
HARMLESS = {"counter", "comment"}       # statements that decide nothing
HANDLE = re.compile(r"# handle (\d+)$")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one rule asks, and what it does. None is "any"; `excluded` holds the names of fields with `!=`."""

    family: str
    table: str
    chain: str
    handle: int                         # 0: the chain's policy
    hook: str                           # of the chain that leads to it
    text: str                           # as nft shows it
    verdict: str
    version: int | None = None          # of IP
    sources: tuple[Network, ...] | None = None
    destinations: tuple[Network, ...] | None = None
    source_ports: tuple[Ports, ...] | None = None
    ports: tuple[Ports, ...] | None = None
    interfaces: tuple[str, ...] | None = None
    excluded: frozenset[str] = frozenset()
    rest: tuple[str, ...] = ()
    is_tcp: bool = True                 # false: it asks for another protocol

    @property
    def simple(self) -> bool:
        """Whether addresses, ports and a verdict are all there is."""
        return not self.rest and not self.excluded and self.verdict in ("drop", "accept")

    def concerns(self, interface: str, addresses: Sequence[Address], port: int | None = None) -> bool:
        """Whether TCP to one of the addresses, and this port (None: any), may come to it by the interface."""
        versions = {it.version for it in addresses}
        if not self.is_tcp or (self.version and versions and self.version not in versions):
            return False
        if not self._fits("interfaces", [any(_named(interface, it) for it in self.interfaces or ())]):
            return False
        if addresses and not self._fits("destinations", [
                any(it in network for network in self.destinations or ()) for it in addresses]):
            return False
        return port is None or self._fits("ports", [
            any(first <= port <= last for first, last in self.ports or ())])

    def _fits(self, name: str, found: Sequence[bool]) -> bool:
        """Whether a condition may hold, for any of the candidates that are found in it or not."""
        if getattr(self, name) is None:
            return True
        return not all(found) if name in self.excluded else any(found)

    def line(self) -> str:
        """The rule on one line."""
        return f"{self.family} {self.table} {self.chain} ({self.hook}): {self.text}"


def _named(interface: str, pattern: str) -> bool:
    return interface.startswith(pattern[:-1]) if pattern.endswith("*") else interface == pattern


def host_rules() -> list[Rule]:
    """The rules of this network namespace on the way in, chains that they jump to included.

    Raises OSError: nft is not installed, or says why it tells nothing.
    """
    return Ruleset(json.loads(_nft("-j", "list", "ruleset")), _nft("-a", "list", "ruleset")).rules()


def legacy_tables() -> list[str]:
    """Tables of the older iptables, which nft does not show."""
    return sorted({name for file in LEGACY for name in _words(Path("/proc/net") / file)})


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _nft(*words: str) -> str:
    try:
        done = subprocess.run(["nft", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"nft says nothing within {TIMEOUT_S:g} s") from None
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or [f"nft ended with {done.returncode}"])[-1])
    return done.stdout


@dataclass
class Ruleset:
    """What `nft -j list ruleset` says, and the words of each rule from `nft -a list ruleset`."""

    shown: Mapping[str, Any]
    listing: str = ""
    sets: dict[Key, list[Any]] = field(default_factory=dict)

    def rules(self) -> list[Rule]:
        """Those that a packet on its way in may come to, in nft's order; policies that drop stand last."""
        found: dict[str, list[dict[str, Any]]] = {"chain": [], "rule": [], "set": []}
        for item in self.shown.get("nftables", ()):
            for kind, value in item.items():
                found.setdefault(kind, []).append(value)
        self.sets = {_key(it): it.get("elem", []) for it in found["set"]}
        hooks = self._hooks(found["chain"], found["rule"])
        devices = {_key(it): _device(it) for it in found["chain"]}
        texts = dict(_texts(self.listing))
        rules = [self._rule(it, hooks[_key(it, "chain")], devices.get(_key(it, "chain")), texts)
                 for it in found["rule"] if _key(it, "chain") in hooks]
        return rules + [_policy(it) for it in found["chain"]
                        if it.get("hook") in HOOKS and it.get("policy") == "drop"]

    @staticmethod
    def _hooks(chains: list[dict[str, Any]], rules: list[dict[str, Any]]) -> dict[Key, str]:
        """The hook that leads to each chain, by jumps or at once."""
        hooks = {_key(it): str(it["hook"]) for it in chains if it.get("hook") in HOOKS}
        grown = True
        while grown:
            before = len(hooks)
            for it in rules:
                if _key(it, "chain") in hooks:
                    for target in _targets(it.get("expr", ())):
                        hooks.setdefault((it["family"], it["table"], target), hooks[_key(it, "chain")])
            grown = len(hooks) > before
        return hooks

    def _rule(self, it: dict[str, Any], hook: str, device: tuple[str, ...] | None,
              texts: Mapping[tuple[str, str, int], str]) -> Rule:
        handle = int(it.get("handle", 0))
        statements = it.get("expr", [])
        verdict = next((name for statement in reversed(statements) for name in statement
                        if name not in HARMLESS | {"match"}), "")
        text = texts.get((it["family"], it["table"], handle), json.dumps(statements))
        rule = Rule(it["family"], it["table"], it["chain"], handle, hook, text, verdict,
                    version=VERSIONS.get(it["family"]), interfaces=device)
        for statement in statements:
            for name, value in statement.items():
                if name == "match":
                    rule = self._match(rule, value)
                elif name not in HARMLESS | {"drop", "accept"}:
                    rule = replace(rule, rest=(*rule.rest, name))
        return rule

    def _match(self, rule: Rule, match: dict[str, Any]) -> Rule:
        """The rule with one more condition, or with the name of what is not understood."""
        name, subject = _subject(match.get("left"))
        if name in OTHER_PROTOCOLS:
            return replace(rule, is_tcp=False)
        values = self._values(rule, match.get("right"))
        try:
            return _narrowed(rule, name, subject, match.get("op", "=="), values)
        except (ValueError, TypeError, KeyError):
            return replace(rule, rest=(*rule.rest, f"{name} {subject}".strip()))

    def _values(self, rule: Rule, right: Any) -> list[Any]:
        """The right side of a comparison as a list; of a named set its elements."""
        if isinstance(right, str) and right.startswith("@"):
            right = self.sets.get((rule.family, rule.table, right[1:]), [None])
        elif isinstance(right, dict) and "set" in right:
            right = right["set"]
        values = right if isinstance(right, list) else [right]
        return [it["elem"].get("val") if isinstance(it, dict) and "elem" in it else it for it in values]


def _narrowed(rule: Rule, name: str, subject: str, operation: str, values: list[Any]) -> Rule:
    """With one condition more. Raises ValueError, TypeError or KeyError for one that is not understood."""
    if operation not in ("==", "!=", "in"):
        raise ValueError
    if (name, subject) in PROTOCOL:
        is_tcp = any(it in TCP_NAMES for it in values) == (operation != "!=")
        return replace(rule, is_tcp=rule.is_tcp and is_tcp)
    if (name, subject) in FAMILY:
        (version,) = {IP_NAMES[it] for it in values}
        return replace(rule, version=version if operation != "!=" else {4: 6, 6: 4}[version])
    which, read = FIELDS[name, subject]
    if getattr(rule, which) is not None:
        raise ValueError                                # a second condition on the same field
    narrower: dict[str, Any] = {which: tuple(it for value in values for it in read(value))}
    if operation == "!=":
        narrower["excluded"] = rule.excluded | {which}
    return replace(rule, version=VERSIONS.get(name, rule.version), **narrower)


def _subject(left: Any) -> tuple[str, str]:
    """What is compared: protocol and field of a header, or what nft knows of the packet and its name."""
    if isinstance(left, dict) and len(left) == 1:
        ((name, value),) = left.items()
        if name == "payload" and isinstance(value, dict):
            return str(value.get("protocol", "payload")), str(value.get("field", ""))
        return str(name), str(value.get("key", "")) if isinstance(value, dict) else ""
    return "an expression", ""


def _networks(value: Any) -> list[Network]:
    """An address, prefix or range as networks. Raises ValueError, TypeError, KeyError for what is none."""
    if isinstance(value, dict) and "range" in value:
        first, last = (ipaddress.ip_address(it) for it in value["range"])
        return list(ipaddress.summarize_address_range(first, last))
    if isinstance(value, dict):
        return [ipaddress.ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}", strict=False)]
    if not isinstance(value, str):
        raise TypeError
    return [ipaddress.ip_network(value)]


def _ports(value: Any) -> list[Ports]:
    """A port or a range. Raises ValueError, TypeError, KeyError for what is none."""
    first, last = value["range"] if isinstance(value, dict) else (value, value)
    return [(int(first), int(last))]


PROTOCOL = {("meta", "l4proto"), ("ip", "protocol"), ("ip6", "nexthdr")}
FAMILY = {("meta", "nfproto"), ("meta", "protocol")}
# What is compared: the field of Rule that holds it, and how a value is read.
FIELDS: dict[tuple[str, str], tuple[str, Callable[[Any], list[Any]]]] = {
    **{(ip, "saddr"): ("sources", _networks) for ip in VERSIONS},
    **{(ip, "daddr"): ("destinations", _networks) for ip in VERSIONS},
    **{(tcp, "sport"): ("source_ports", _ports) for tcp in ("tcp", "th")},
    **{(tcp, "dport"): ("ports", _ports) for tcp in ("tcp", "th")},
    **{("meta", key): ("interfaces", lambda value: [str(value)]) for key in ("iif", "iifname")},
}


def _targets(expression: Any) -> Iterator[str]:
    """The chains that an expression may go on in, those in verdict maps included."""
    if isinstance(expression, dict):
        for name, value in expression.items():
            if name in ("jump", "goto") and isinstance(value, dict):
                yield str(value.get("target"))
            else:
                yield from _targets(value)
    elif isinstance(expression, list):
        for it in expression:
            yield from _targets(it)


def _policy(chain: dict[str, Any]) -> Rule:
    return Rule(chain["family"], chain["table"], chain["name"], 0, str(chain["hook"]), "policy drop", "drop",
                version=VERSIONS.get(chain["family"]),
                interfaces=_device(chain))


def _device(chain: dict[str, Any]) -> tuple[str, ...] | None:
    """The devices of a chain of the family netdev; None: all."""
    devices = chain.get("dev")
    return None if devices is None else tuple(devices) if isinstance(devices, list) else (str(devices),)


def _key(item: Mapping[str, Any], name: str = "name") -> Key:
    return str(item["family"]), str(item["table"]), str(item[name])


def _texts(listing: str) -> Iterator[tuple[tuple[str, str, int], str]]:
    """The words of each rule by family, table and handle."""
    family = table = ""
    for line in map(str.strip, listing.splitlines()):
        found = HANDLE.search(line)
        if line.startswith("table ") and "{" in line:
            _, family, table, *_ = line.split()
        elif found and not line.startswith(("chain ", "set ", "map ", "flowtable ")):
            yield (family, table, int(found[1])), line[: found.start()].strip()
