"""How single values of a policy file are read. A reader raises ValueError, which says what would be right."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from underpass.shield.policy import PROTOCOLS, TCP_FLAGS, Network, Ports

Reader = Callable[[Any], Any]
TEXT_MAX = 60
SPAN = re.compile(r"(\d+\.?\d*|\.\d+)([smhd]?)", re.ASCII)
RANGE = re.compile(r"(\d{1,5})-(\d{1,5})", re.ASCII)
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
SPAN_MAX_DAYS = 3650


def one_of(words: tuple[str, ...]) -> Reader:
    """One of some words."""
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError("one of " + ", ".join(f'"{word}"' for word in words))
        return str(value)
    return read


def list_of(item: Reader, right: str, some: bool = False) -> Reader:
    """A list; `some`: not an empty one. A value by itself is a list of it."""
    def read(value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, list) else [value]
        if some and not values:
            raise ValueError(f"at least one of {right}")
        return tuple(item(it) for it in values)
    return read


def boolean(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def integer(first: int, last: int) -> Reader:
    """A whole number within bounds."""
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not first <= value <= last:
            raise ValueError(f"a whole number from {first} to {last}")
        return value
    return read


def span_up_to(days: int) -> Reader:
    """Seconds; a text has a unit: 90s, 10m, 2h, 1d."""
    right = f'a span of time above zero, such as 90, "10m", "2h" or "1d", at most "{days}d"'

    def read(value: Any) -> float:
        if isinstance(value, str) and (found := SPAN.fullmatch(value)):
            value = float(found[1]) * UNITS[found[2]]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 < value <= days * UNITS["d"]:
            raise ValueError(right)
        return float(value)
    return read


span: Callable[[Any], float] = span_up_to(SPAN_MAX_DAYS)


def text(value: Any) -> str:
    """A short name."""
    if not isinstance(value, str) or not value or len(value) > TEXT_MAX or not value.isprintable():
        raise ValueError(f"a text of 1 to {TEXT_MAX} printable characters")
    return value


def file_name(value: Any) -> str:
    """A path."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError('a path, such as "blocklist.txt"')
    return value


def network(value: Any) -> Network:
    """A prefix or an address."""
    if not isinstance(value, str):
        raise ValueError('an address or prefix, such as "192.0.2.0/24"')
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f'an address or prefix, such as "192.0.2.0/24", not {value!r}') from None
    raise ValueError(f'a prefix without bits beyond its length: "{meant}", not {value!r}')


def address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """One address."""
    try:
        return ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError('an address, such as "192.0.2.1" or "2001:db8::1"') from None


def ports(value: Any) -> Ports:
    """A port, or a range as a text."""
    first, last = value, value
    if isinstance(value, str) and (found := RANGE.fullmatch(value)):
        first, last = int(found[1]), int(found[2])
    if any(isinstance(it, bool) or not isinstance(it, int) or not 0 <= it <= 65535 for it in (first, last)) \
            or first > last:
        raise ValueError('a port from 0 to 65535, or a range such as "6000-6010"')
    return first, last


def protocol(value: Any) -> int:
    """A protocol of IP by name or number."""
    if isinstance(value, str) and value.lower() in PROTOCOLS:
        return PROTOCOLS[value.lower()]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError("a protocol: a number from 0 to 255, or one of "
                         + ", ".join(f'"{it}"' for it in PROTOCOLS))
    return value


def tcp_flags(value: Any) -> tuple[int, int]:
    """Flags that are set, and with "!" those that are not: mask and value."""
    on = off = 0
    for word in value.lower().replace(",", " ").split() if isinstance(value, str) else ():
        bit = TCP_FLAGS.get(word.removeprefix("!"))
        if bit is None:
            on = off = 0
            break
        on, off = (on, off | bit) if word.startswith("!") else (on | bit, off)
    if not on | off:
        raise ValueError('TCP flags, such as "syn,!ack", of ' + ", ".join(TCP_FLAGS))
    if on & off:
        raise ValueError(f"no flag both set and not set: {value!r} fits no segment")
    return on | off, on
