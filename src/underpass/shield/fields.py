"""How single values of a policy file are read. A reader raises ValueError, which says what would be right."""

import ipaddress
from collections.abc import Callable
from typing import Any

from underpass.shield.policy import PROTOCOLS, TCP_FLAGS, Network, Ports

Reader = Callable[[Any], Any]
TEXT_MAX = 60


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


def span(value: Any) -> float:
    """Seconds; a text has a unit: 90s, 10m, 2h, 1d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if isinstance(value, str) and value[-1:] in units and value[:-1].replace(".", "", 1).isdigit():
        value = float(value[:-1]) * units[value[-1]]
    elif isinstance(value, str) and value.replace(".", "", 1).isdigit():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 10 * 365 * 86400:
        raise ValueError('a span of time above zero, such as 90, "10m", "2h" or "1d"')
    return float(value)


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
    if isinstance(value, str):
        low, dash, high = value.partition("-")
        if low.isdigit() and high.isdigit() and dash:
            first, last = int(low), int(high)
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
    mask = found = 0
    for word in str(value).lower().replace(",", " ").split():
        bit = TCP_FLAGS.get(word.lstrip("!"), 0)
        if not bit:
            mask = 0
            break
        mask |= bit
        found |= 0 if word.startswith("!") else bit
    if not mask or not isinstance(value, str):
        raise ValueError('TCP flags, such as "syn,!ack", of ' + ", ".join(TCP_FLAGS))
    return mask, found
