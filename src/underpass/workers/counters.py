"""Counters of several workers, or of several applications of one, as one."""

from collections.abc import Iterable
from typing import Any


def summed(counters: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Counters by layer and name, of all together; what has another form is none."""
    total: dict[str, dict[str, int]] = {}
    for one in counters:
        for layer, values in one.items() if isinstance(one, dict) else ():
            for name, value in values.items() if isinstance(values, dict) else ():
                if isinstance(value, int):
                    into = total.setdefault(layer, {})
                    into[name] = into.get(name, 0) + value
    return total
