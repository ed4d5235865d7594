"""Which connections to show: the part of ss(8)'s filter language that says something about TCP.

    FILTER := { state NAME | exclude NAME } [ EXPR ]
    EXPR   := TERM { or TERM }                                  TERM := FACTOR { [and] FACTOR }
    FACTOR := not FACTOR | ( EXPR ) | sport OP PORT | dport OP PORT | src [OP] HOST | dst [OP] HOST
    PORT   := 80 | :80 | :http                                  OP   := = != < > <= >=  (eq ne lt gt le ge)
    HOST   := 10.0.0.2 | 10.0.0.0/8 | 10.0.0.2:80 | :80 | fd00::/8 | [fd00::1]:443 | *:80

As there, `&`, `|` and `!` are `and`, `or` and `not`; HOST is only compared with = and !=. Everything that is
wrong is a ValueError of one line.
"""

import ipaddress
import operator
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Test = Callable[[Row], bool]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# ss's name of each state that a connection here can be in.
STATES = {
    "established": "ESTABLISHED", "syn-sent": "SYN-SENT", "syn-recv": "SYN-RECEIVED",
    "fin-wait-1": "FIN-WAIT-1", "fin-wait-2": "FIN-WAIT-2", "time-wait": "TIME-WAIT",
    "close-wait": "CLOSE-WAIT", "last-ack": "LAST-ACK", "listening": "LISTEN", "closing": "CLOSING",
}
ALL = frozenset(STATES.values())
CONNECTED = ALL - {"LISTEN"}
GROUPS = {
    "all": ALL, "connected": CONNECTED, "synchronized": CONNECTED - {"SYN-SENT"},
    "bucket": frozenset({"SYN-RECEIVED", "TIME-WAIT"}), "big": ALL - {"SYN-RECEIVED", "TIME-WAIT"},
    "listen": frozenset({"LISTEN"}),
}
DEFAULT = CONNECTED - {"SYN-RECEIVED", "TIME-WAIT"}         # what ss shows where nothing else is said

OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le,
    ">=": operator.ge,
}
SPELLINGS = {"==": "=", "eq": "=", "ne": "!=", "neq": "!=", "lt": "<", "gt": ">", "le": "<=", "leq": "<=",
             "ge": ">=", "geq": ">=", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not"}
TOKEN = re.compile(r"[()]|&&?|\|\|?|[<>!=]=|[<>!=]|[^\s()&|<>!=]+")
SIDES = {"sport": "local", "src": "local", "dport": "remote", "dst": "remote"}
DEEPEST = 50                        # parentheses in each other


@dataclass(frozen=True, slots=True)
class Filter:
    """States to show, and what else must hold of a row."""

    states: frozenset[str]
    test: Test

    def accepts(self, row: Row) -> bool:
        """Whether the row is to be shown."""
        return row["state"] in self.states and self.test(row)


def parse(words: Sequence[str], default: frozenset[str] = DEFAULT) -> Filter:
    """The filter that the words spell; `default` are the states where they name none. Raises ValueError."""
    parser = Parser(words)
    states = parser.states(default)
    return Filter(states, parser.everything())


class Parser:
    """Recursive descent over the words' tokens."""

    def __init__(self, words: Iterable[str]) -> None:
        found: list[str] = TOKEN.findall(" ".join(words))
        self._tokens = [SPELLINGS.get(token.lower(), token) for token in found]
        self._at = self._depth = 0

    def _peek(self) -> str:
        """The next token, "" at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self, wanted: str) -> str:
        if not self._peek():
            raise ValueError(f"the filter ends where {wanted} ought to follow")
        self._at += 1
        return self._tokens[self._at - 1]

    def _took(self, *words: str) -> str:
        """The next token where it is one of these, else ""."""
        return self._next("") if self._peek().lower() in words else ""

    def states(self, default: frozenset[str]) -> frozenset[str]:
        """The states in front: named ones are added up, excluded ones taken off."""
        shown: frozenset[str] | None = None
        hidden: frozenset[str] = frozenset()
        while verb := self._took("state", "exclude"):
            name = self._next("the name of a state").lower()
            some = GROUPS.get(name) or frozenset({STATES[name]} if name in STATES else ())
            if not some:
                known = ", ".join([*STATES, *GROUPS])
                raise ValueError(f"{name!r} is no state of a connection; states are {known}")
            if verb.lower() == "state":
                shown = some | (shown or frozenset())
            else:
                hidden |= some
        return (ALL if shown is None and hidden else default if shown is None else shown) - hidden

    def everything(self) -> Test:
        """The expression up to the end, or what is always true."""
        if not self._peek():
            return lambda row: True
        test = self._either()
        if self._peek():
            raise ValueError(f"in the filter, {self._peek()!r} stands where it should end")
        return test

    def _either(self) -> Test:
        tests = [self._all_of()]
        while self._took("or"):
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._took("and") or self._peek().lower() not in ("", "or", ")"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"the filter is nested deeper than {DEEPEST} times")
        try:
            if self._took("not"):
                test = self._one()
                return lambda row: not test(row)
            if self._took("("):
                test = self._either()
                if self._next("')'") != ")":
                    raise ValueError(f"in the filter, {self._tokens[self._at - 1]!r} stands where ')' should")
                return test
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Test:
        subject = self._next("a condition").lower()
        if subject not in SIDES:
            raise ValueError(f"{subject!r} is no condition; conditions are sport, dport, src, dst")
        side, given = SIDES[subject], self._took(*OPERATORS)
        compare = OPERATORS[given or "="]
        if subject in ("sport", "dport"):
            if not given:
                raise ValueError(f"{subject} is compared with a port: `{subject} = :80`")
            return ports(side, compare, port_number(self._next("a port").removeprefix(":")))
        if given not in ("", "=", "!="):
            raise ValueError(f"{subject} is compared by = or !=, not by {given}")
        test = host(side, self._next("an address"))
        return (lambda row: not test(row)) if given == "!=" else test


def ports(side: str, compare: Callable[[int, int], bool], port: int) -> Test:
    """A test of one side's port; a listener's peer has the port 0."""
    key = f"{side}_port"
    return lambda row: compare(int(row.get(key, 0)), port)


def port_number(text: str) -> int:
    """A port by number or service name."""
    if text.isdecimal() and text.isascii() and int(text) <= 65535:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp") if not text.isdecimal() else int("")
    except (OSError, ValueError):
        raise ValueError(f"{text!r} is not a port: 0 to 65535, or the name of a service") from None


def host(side: str, text: str) -> Test:
    """A test of one side's address, or port, or both."""
    network, port = split(text)
    at_port = ports(side, operator.eq, port) if port is not None else None

    def test(row: Row) -> bool:
        if at_port is not None and not at_port(row):
            return False
        if network is None:
            return True
        address = ipaddress.ip_address(row[side]) if side in row else None
        return address is not None and address.version == network.version and address in network

    return test


def split(text: str) -> tuple[Network | None, int | None]:
    """A HOST in its two parts."""
    bracketed = re.fullmatch(r"\[([^]]*)\](/\d+)?(?::(.+))?", text)
    if bracketed:
        at = port_number(bracketed[3]) if bracketed[3] else None
        return network(bracketed[1] + (bracketed[2] or "")), at
    if text.count(":") > 1:                             # IPv6 without brackets has no port
        return network(text), None
    address, colon, port = text.partition(":")
    found = None if address in ("", "*") else network(address)
    return found, port_number(port) if colon and port != "*" else None


def network(text: str) -> Network:
    """An address or a prefix; octets behind the prefix are allowed, as ss allows them."""
    try:
        return ipaddress.ip_network(re.sub(r"%[^/]*", "", text), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address: give one like 10.0.0.2, 10.0.0.0/8, fd00::/8 or "
                         "[fd00::1]:443") from None
