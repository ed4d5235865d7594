"""The file that keeps figures: what `underpass bench paper --json FILE` writes, and reads again."""

import json
from pathlib import Path
from typing import Any

KINDS = {dict: "an object", list: "a list", str: "a text", float: "a number"}
RIGHT = "`underpass bench paper --json FILE` writes such a file, as do cores, load, cpu, ddos"

# A report, as far as it is read again. An object's members by name, of which "*" stands for every other one;
# the items of a list; or a key of KINDS.
REPORT = {
    "figure": str, "what": str, "seconds": float, "units": {"*": str},
    "machine": {"processor": str, "cores": str, "kernel": str},
    "configurations": {"*": {
        "path": str, "failures": [str],
        "places": {"*": {"rounds": [{"*": float}], "values": {"*": {"mean": float, "*": float}}}},
    }},
}


def read(file: Path) -> dict[str, Any]:
    """The reports of a file by figure. Raises ValueError where it is not there or of another kind."""
    if not file.exists():
        raise ValueError(f"{file} does not exist; {RIGHT}")
    try:
        found = json.loads(file.read_text())
        check(found, {"figures": {"*": REPORT}}, "")
        for name, report in found["figures"].items():
            check_names(name, report)
    except ValueError as error:
        raise ValueError(f"{file} holds no figures: {error}; {RIGHT}") from None
    reports: dict[str, Any] = found["figures"]
    return reports


def check(value: Any, form: Any, where: str) -> None:
    """Raise ValueError, which says where, unless a part of the document has its form."""
    kind = form if isinstance(form, type) else type(form)
    numeric = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(value, kind) and not numeric:
        raise ValueError(f"{where or 'the whole'} is not {KINDS[kind]}")
    if isinstance(form, list):
        for at, item in enumerate(value):
            check(item, form[0], f"{where}[{at}]")
    elif isinstance(form, dict):
        for name in form:
            if name != "*" and name not in value:
                raise ValueError(f"{where or 'the whole'} has no {name!r}")
        for name, member in value.items():
            if name in form or "*" in form:
                check(member, form.get(name, form.get("*")), f"{where}.{name}".lstrip("."))


def check_names(name: str, report: dict[str, Any]) -> None:
    """Raise ValueError unless the report is that of the figure, and its places are numbers."""
    if report["figure"] != name:
        raise ValueError(f"figures.{name} is of figure {report['figure']!r}")
    for configuration, one in report["configurations"].items():
        for place in one["places"]:
            try:
                float(place)
            except ValueError:
                raise ValueError(f"place {place!r} of {configuration!r} in figures.{name} is not a"
                                 " number") from None
