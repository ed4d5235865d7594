"""A policy out of a TOML file. Every fault is found, with line and key, and nothing is taken that has one."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underpass.shield import fields
from underpass.shield.policy import (
    ACTIONS,
    BOGONS,
    FRAGMENTS,
    LIST_ACTIONS,
    ORDER,
    Detection,
    Policy,
    PrefixList,
    Rate,
    Rule,
    Section,
    Service,
)
from underpass.shield.policy_image import TEXT_BYTES
from underpass.shield.toml_lines import lines_of

LISTS_MAX, SERVICES_MAX, RULES_MAX, SECTION_RULES_MAX, RATES_MAX = 62, 14, 256, 64, 4
COUNT_MAX, CONNECTIONS_MAX = 2**40, 2**24 - 1
COUNTED_MAX = 2                         # different pairs of lengths for which connections are counted
MANY_DIGITS = re.compile(r"[0-9_]{4301}")    # more than int() takes

PORTS = fields.list_of(fields.ports, "ports")
NAMES = fields.list_of(fields.text, "names of lists")
# In a rule an empty list would mean any.
SOME_PORTS = fields.list_of(fields.ports, "ports", some=True)
SOME_NETWORKS = fields.list_of(fields.network, "prefixes", some=True)
SOME_NAMES = fields.list_of(fields.text, "names of lists", some=True)
PER_SECOND = fields.integer(1, COUNT_MAX)

Where = tuple[str | int, ...]           # keys, and the numbers of elements of arrays

# Key in the file: the attribute that it sets, and how its value is read.
Fields = Mapping[str, tuple[str, fields.Reader]]
TOP: Fields = {"dry-run": ("dry_run", fields.boolean), "samples": ("samples", fields.boolean),
               "sources": ("sources", fields.integer(256, 1 << 22))}
LIST: Fields = {
    "action": ("action", fields.one_of(LIST_ACTIONS)), "file": ("file", fields.file_name),
    "prefixes": ("prefixes", fields.list_of(fields.network, "prefixes"))}
SECTION: Fields = {
    "order": ("order", fields.list_of(fields.one_of(ORDER), "its words", some=True)),
    "default": ("default", fields.one_of(("pass", "drop"))),
    "allow": ("allow", NAMES), "deny": ("deny", NAMES),
    "bogons": ("bogons", fields.one_of(BOGONS)), "tcp-flags": ("tcp_flags", fields.boolean),
    "lengths": ("lengths", fields.boolean), "checksums": ("checksums", fields.boolean),
    "fragments": ("fragments", fields.one_of(FRAGMENTS)), "dry-run": ("dry_run", fields.boolean),
    "vlans": ("vlans", fields.list_of(fields.integer(0, 4094), "VLANs", some=True))}
INTERFACE: Fields = {
    **SECTION,
    "drop": ("drop", fields.list_of(fields.protocol, "protocols")),
    "udp-ports": ("udp_ports", PORTS), "udp-replies": ("udp_replies", fields.boolean),
    "tcp-ports": ("tcp_ports", PORTS),
    "closed-tcp-ports": ("closed_tcp_ports", PORTS), "closed-udp-ports": ("closed_udp_ports", PORTS)}
SERVICE: Fields = {
    **SECTION, "port": ("port", fields.integer(1, 65535)), "address": ("address", fields.address)}
RULE: Fields = {
    "name": ("name", fields.text), "action": ("action", fields.one_of(ACTIONS)),
    "protocol": ("protocol", fields.protocol), "version": ("version", fields.one_of(("4", "6"))),
    "from": ("sources", SOME_NETWORKS), "from-lists": ("source_lists", SOME_NAMES),
    "to": ("destinations", SOME_NETWORKS),
    "from-ports": ("source_ports", SOME_PORTS), "to-ports": ("ports", SOME_PORTS),
    "vlan": ("vlan", fields.integer(0, 4094)), "flags": ("flags", fields.tcp_flags)}
RATE: Fields = {
    "per": ("per", fields.one_of(("source", "service"))),
    "v4": ("v4", fields.integer(8, 32)), "v6": ("v6", fields.integer(16, 128)),
    "packets": ("packets", PER_SECOND), "syns": ("syns", PER_SECOND), "bytes": ("octets", PER_SECOND),
    "new-connections": ("new", PER_SECOND),
    "connections": ("connections", fields.integer(1, CONNECTIONS_MAX)),
    "burst": ("burst", fields.span_up_to(1))}
DETECTION: Fields = {
    "packets": ("packets", PER_SECOND), "block-for": ("block_s", fields.span),
    "blocks": ("blocks", fields.integer(1, 65536)), "v4": ("v4", fields.integer(8, 32)),
    "v6": ("v6", fields.integer(16, 128)), "dry-run": ("dry_run", fields.boolean)}
# What a section of services has from the interface's, where it says nothing itself.
INHERITED = ("order", "allow", "deny", "bogons", "tcp-flags", "lengths", "checksums", "fragments", "vlans",
             "dry-run")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, where, and what would be right."""

    file: str
    line: int | None
    key: str
    wrong: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.wrong) if part)


class PolicyError(ValueError):
    """The faults of a file, one a line."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def read(file: str) -> Policy:
    """The policy of a file. Raises OSError, and PolicyError with all its faults."""
    path = Path(file)
    try:
        with path.open("rb") as stream:
            content = stream.read(TEXT_BYTES + 1)
    except OSError as error:
        raise OSError(error.errno, f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > TEXT_BYTES:
        wrong = f"has more than {TEXT_BYTES} octets: put prefixes into files of their own"
        raise PolicyError([Fault(file, None, "", wrong)])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PolicyError([Fault(file, line, "", "is not UTF-8")]) from None
    return parse(text, file, str(path.resolve().parent))


def parse(text: str, file: str = "policy", folder: str = "/") -> Policy:
    """The policy of a text; files that it names are relative to `folder`. Raises PolicyError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([Fault(file, None, "", f"is not TOML: {error}")]) from None
    except RecursionError:
        wrong = "has values within values, deeper than can be read"
        raise PolicyError([Fault(file, None, "", wrong)]) from None
    except ValueError:
        found = MANY_DIGITS.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else None
        raise PolicyError([Fault(file, line, "", "has a number of too many digits")]) from None
    reader = _Reader(file, text, folder)
    policy = reader.policy(table)
    if reader.faults:
        raise PolicyError(sorted(reader.faults, key=lambda it: it.line or 0))
    return policy


@dataclass(frozen=True, slots=True)
class _Above:
    """What a section has from outside: values of keys that it leaves out, the lists there are, rules."""

    defaults: Mapping[str, Any]
    names: set[str]
    rules: tuple[Rule, ...] = ()


class _Reader:
    """Turns tables into what they mean, and collects the faults."""

    def __init__(self, file: str, text: str, folder: str) -> None:
        self.file, self.text, self.folder = file, text, folder
        self.lines = lines_of(text)
        self.faults: list[Fault] = []
        self.rules = 0
        self.names: dict[str, tuple[Where, bool]] = {}      # of rules: where, and whether it was given
        self.lengths: set[tuple[int, int]] = set()

    def fault(self, path: Where, wrong: str) -> None:
        """Note one."""
        self.faults.append(Fault(self.file, self.line(path), path_text(path), wrong))

    def line(self, path: Where) -> int | None:
        """That of a key, of the first of an array, or of the next table around it."""
        around = [path, (*path, 0), *(path[:n] for n in range(len(path) - 1, 0, -1))]
        return next((self.lines[it] for it in around if it in self.lines), None)

    def table(self, value: Any, path: Where, known: Fields, others: tuple[str, ...] = ()
              ) -> dict[str, Any]:
        """The attributes that a table sets; faults are noted and left out."""
        if not isinstance(value, dict):
            one = isinstance(value, list) and not isinstance(path[-1], int)
            self.fault(path, f"is one table: [{path_text(path)}]" if one else "is a table")
            return {}
        found: dict[str, Any] = {}
        for key, it in value.items():
            if key in known:
                attribute, read_value = known[key]
                try:
                    found[attribute] = read_value(it)
                except ValueError as error:
                    self.fault((*path, key), str(error))
            elif key not in others:
                near = difflib.get_close_matches(key, [*known, *others], 1)
                hint = f"; {near[0]} is meant?" if near else f"; known are {', '.join([*known, *others])}"
                self.fault((*path, key), f"is not known here{hint}")
        return found

    def policy(self, table: dict[str, Any]) -> Policy:
        """All of it."""
        top = self.table(table, (), TOP, ("lists", "interface", "services", "service", "detection"))
        lists = self.lists(table.get("lists", {}))
        defaults = {"deny": tuple(it.name for it in lists if it.action == "deny"),
                    "allow": tuple(it.name for it in lists if it.action == "allow"),
                    "dry_run": top.pop("dry_run", False)}
        names = {it.name for it in lists}
        interface = None
        inherited: dict[str, Any] = {}
        rules: tuple[Rule, ...] = ()
        if "interface" in table:
            interface = self.section(table["interface"], ("interface",), INTERFACE, _Above(defaults, names))
            rules = interface.rules
            inherited = {key: table["interface"][key] for key in INHERITED
                         if isinstance(table["interface"], dict) and key in table["interface"]}
        written = table.get("services", {})
        before = len(self.faults)
        above = _Above(defaults, names, rules)
        services = self.section(self._merged(inherited, written), ("services",), SECTION, above)
        if isinstance(written, dict):
            self._forget_inherited(before, "services", inherited.keys() - written.keys())
        above = replace(above, rules=services.rules)
        own = self.services(table, self._merged(inherited, written), above, services)
        return Policy(lists, interface, services, own, self.detection(table), text=self.text,
                      folder=self.folder, file=self.file, **top)

    @staticmethod
    def _merged(inherited: Mapping[str, Any], written: Any) -> Any:
        return {**inherited, **written} if isinstance(written, dict) else written

    def _forget_inherited(self, before: int, section: str, keys: Iterable[str]) -> None:
        """Of the faults from there on leave out those of inherited keys: they were told already."""
        told = {f"{section}.{key}" for key in keys}
        self.faults[before:] = [it for it in self.faults[before:] if it.key not in told]

    def lists(self, tables: Any) -> tuple[PrefixList, ...]:
        """Those that are named."""
        found = []
        if not isinstance(tables, dict):
            self.fault(("lists",), "are tables: [lists.NAME]")
            return ()
        for name, table in tables.items():
            set_to = self.table(table, ("lists", name), LIST)
            if isinstance(table, dict) and "file" not in table and "prefixes" not in table:
                self.fault(("lists", name), 'needs file = "..." or prefixes = [...]')
            if "file" in set_to:
                set_to["file"] = str(Path(self.folder) / set_to["file"])
                set_to["line"] = self.line(("lists", name, "file"))
            found.append(PrefixList(name, **set_to))
        if len(found) > LISTS_MAX:
            self.fault(("lists", found[LISTS_MAX].name), f"{len(found)} lists are more than {LISTS_MAX}")
        return tuple(found)

    def section(self, table: Any, path: Where, known: Fields, above: "_Above") -> Section:
        """One section, with the rules of the one that it inherits from behind its own."""
        set_to = self.table(table, path, known, ("rule", "rate"))
        set_to.pop("port", None)
        set_to.pop("address", None)
        if not isinstance(table, dict):
            return Section(path_text(path))
        title = self._service_name(table) if path[0] == "service" else path_text(path)
        own = [self.rule(it, (*path, "rule", at), above.names, title)
               for at, it in enumerate(self.tables(table, path, "rule"))]
        rates = [self.rate(it, (*path, "rate", at)) for at, it in enumerate(self.tables(table, path, "rate"))]
        for key in ("allow", "deny"):
            for name in set_to.get(key, ()):
                self.known_list(name, (*path, key), above.names)
        if len(set(set_to.get("order", ()))) < len(set_to.get("order", ())):
            self.fault((*path, "order"), "each word stands there once")
        room = max(0, min(SECTION_RULES_MAX - len(above.rules), RULES_MAX - self.rules))
        if len(own) > room:
            self.fault((*path, "rule", room), f"a section has at most {SECTION_RULES_MAX} rules, with those "
                                              f"that it inherits, and all sections {RULES_MAX}")
        self.rules += len(own)
        if len(rates) > RATES_MAX:
            self.fault((*path, "rate", RATES_MAX), f"a section has at most {RATES_MAX} rates")
        return Section(path_text(path), rules=(*(it for it in own if it), *above.rules),
                       rates=tuple(it for it in rates if it), **{**above.defaults, **set_to})

    def known_list(self, name: str, path: Where, names: set[str]) -> None:
        """Note a list that there is not."""
        if name not in names:
            known = f"lists are {', '.join(sorted(names))}" if names else "there are no lists"
            self.fault(path, f"{name!r} is no list; {known}")

    def tables(self, table: Mapping[str, Any], path: Where, key: str) -> list[Any]:
        """An array of tables."""
        value = table.get(key, [])
        if isinstance(value, list):
            return value
        self.fault((*path, key), f"is written [[{path_text((*path, key))}]]")
        return []

    def rule(self, table: Any, path: Where, names: set[str], title: str) -> Rule | None:
        """One rule of the section that is called `title`."""
        set_to = self.table(table, path, RULE)
        for name in set_to.get("source_lists", ()):
            self.known_list(name, (*path, "from-lists"), names)
        if isinstance(table, dict) and "action" not in table:
            self.fault(path, 'needs action = "pass", "drop" or "count"')
        if set_to.get("flags") and set_to.setdefault("protocol", 6) != 6:
            self.fault((*path, "flags"), "are TCP's: leave the protocol out")
        has_ports = set_to.get("ports") or set_to.get("source_ports")
        if has_ports and set_to.get("protocol") not in (6, 17, None):
            self.fault((*path, "protocol"), "has no ports; tcp and udp have")
        set_to["name"] = self._rule_name(set_to.get("name"), path, title)
        if "version" in set_to:
            set_to["version"] = int(set_to["version"])
        prefixes = [set_to[key] for key in ("sources", "destinations") if key in set_to]
        families = [{it.version for it in them} for them in prefixes]
        if not {4, 6}.intersection({set_to.get("version", 4), set_to.get("version", 6)}, *families):
            self.fault(path, "fits no packet: version, from and to have no family of addresses in common")
        return Rule(**set_to) if "action" in set_to else None

    def _rule_name(self, given: str | None, path: Where, title: str) -> str:
        """What its tallies go by: its own name, or section and number."""
        dot = " " if path[0] == "service" else "."
        name = given or f"{title}{dot}rule {int(path[-1]) + 1}"
        first, was_given = self.names.setdefault(name, (path, given is not None))
        if first != path and (given or was_given):
            self.fault((*path, "name"), f"{name!r} is the name of the rule in line {self.line(first)}, too: "
                                        "each needs its own")
        return name

    def rate(self, table: Any, path: Where) -> Rate | None:
        """One rate."""
        set_to = self.table(table, path, RATE)
        if not isinstance(table, dict):
            return None
        if "per" not in table:
            self.fault(path, 'needs per = "source" or "service"')
        limits = ("packets", "syns", "bytes", "new-connections", "connections")
        if "per" in set_to and not any(it in table for it in limits):
            self.fault(path, "limits nothing: give packets, syns, bytes or new-connections, a second, "
                             "or connections")
        if "connections" in table and set_to.get("per") == "service":
            self.fault((*path, "connections"), 'are counted for each source: per = "source"')
        for key in ("new-connections", "connections") if path[0] == "interface" else ():
            if key in table:
                self.fault((*path, key), "are those of the stack: [services] and [[service]] limit them")
        return self.counted(Rate(**set_to), path) if "per" in set_to else None

    def counted(self, rate: Rate, path: Where) -> Rate:
        """The rate, its pair of lengths noted where connections are counted for it."""
        if rate.connections is not None:
            self.lengths.add((rate.v4, rate.v6))
            if len(self.lengths) > COUNTED_MAX:
                self.lengths.discard((rate.v4, rate.v6))
                pairs = " and ".join(f"v4 = {v4}, v6 = {v6}" for v4, v6 in sorted(self.lengths))
                self.fault((*path, "connections"), f"are counted for {COUNTED_MAX} different pairs of "
                                                   f"lengths, and these there are: {pairs}")
        return rate

    def services(self, table: Mapping[str, Any], inherited: Any, above: "_Above",
                 services: Section) -> tuple[Service, ...]:
        """Services with sections of their own, which inherit from [services]."""
        found = []
        theirs = inherited if isinstance(inherited, dict) else {}
        theirs = {key: value for key, value in theirs.items() if key not in ("rule", "rate")}
        written = self.tables(table, (), "service")
        for at, one in enumerate(written):
            path = ("service", at)
            if not isinstance(one, dict):
                self.fault(path, "is a table: [[service]]")
                continue
            before = len(self.faults)
            section = self.section({**theirs, **one}, path, SERVICE, above)
            self._forget_inherited(before, "service", theirs.keys() - one.keys())
            if "port" not in one:
                self.fault(path, "needs port = ...")
                continue
            set_to = self._quietly(one)
            rates = section.rates or services.rates
            found.append(Service(set_to.get("port", 1), set_to.get("address"),
                                 replace(section, name=self._service_name(one), rates=rates)))
        self._distinct(found)
        if len(written) > SERVICES_MAX:
            self.fault(("service", SERVICES_MAX), f"{len(written)} services are more than {SERVICES_MAX}: "
                                                  "what several have in common belongs in [services]")
        return tuple(found)

    def _distinct(self, found: list[Service]) -> None:
        seen = set()
        for at, it in enumerate(found):
            if (it.address, it.port) in seen:
                self.fault(("service", at), f"{it.section.name} stands there twice")
            seen.add((it.address, it.port))

    def _quietly(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Address and port of a service whose faults are told already."""
        before = list(self.faults)
        found = self.table({key: table[key] for key in ("port", "address") if key in table}, (), SERVICE)
        self.faults = before
        return found

    def _service_name(self, table: Mapping[str, Any]) -> str:
        """Of its section: address and port."""
        set_to = self._quietly(table)
        return f"{set_to.get('address', '*')}:{set_to.get('port')}"

    def detection(self, table: Mapping[str, Any]) -> Detection | None:
        """Heavy hitters."""
        if "detection" not in table:
            return None
        set_to = self.table(table["detection"], ("detection",), DETECTION)
        if isinstance(table["detection"], dict) and "packets" not in table["detection"]:
            self.fault(("detection",), "needs packets = ..., a second from one source")
        return Detection(**set_to) if "packets" in set_to else None


def path_text(path: Where) -> str:
    """A path without numbers, for people, in one line whatever the keys are."""
    return ".".join(it if it.isprintable() else ascii(it) for it in path if isinstance(it, str))


