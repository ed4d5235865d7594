"""The settings of a service: a TOML file whose keys are named as the options of `underpass serve`.

A setting is one line of FIELDS; reading, checking, the nearest known name and the defaults follow from it.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONGESTION = ("cubic", "reno", "dctcp", "bbr")
MODES = ("auto", "native", "generic")
NAME_BYTES = 15                     # IFNAMSIZ - 1


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: `right` says in words which values `accepts` takes; all of them are of type `kind`."""

    name: str
    kind: type
    accepts: Callable[[Any], bool]
    right: str
    default: Any = None
    required: bool = False


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        return False
    return True


def _is_interface(name: str) -> bool:
    return 0 < len(name.encode()) <= NAME_BYTES and not any(c.isspace() or c == "/" for c in name)


def _is_path(text: str) -> bool:
    return text.startswith("/") and "\0" not in text


def _one_of(names: tuple[str, ...]) -> tuple[Callable[[Any], bool], str]:
    return names.__contains__, "one of " + ", ".join(f'"{name}"' for name in names)


FIELDS = {field.name: field for field in (
    Field("directory", str, _is_path, 'an absolute path, such as "/srv/www"', required=True),
    Field("interface", str, _is_interface, 'the name of a network interface, such as "eth0"', required=True),
    Field("address", list, lambda them: bool(them) and all(map(_is_address, them)),
          'a list of IPv4 and IPv6 addresses, such as ["192.0.2.1", "2001:db8::1"]'),
    Field("port", int, lambda port: 1 <= port <= 65535, "a whole number from 1 to 65535", 80),
    Field("access-log", str, lambda text: text == "-" or _is_path(text),
          'an absolute path, or "-" for stdout'),
    Field("connections", int, lambda count: count > 0, "a whole number above zero"),
    Field("congestion", str, *_one_of(CONGESTION)),
    Field("workers", int, lambda count: 1 <= count <= 64, "a whole number from 1 to 64"),
    Field("cores", list, lambda them: bool(them) and all(type(core) is int and core >= 0 for core in them),
          "a list of processor cores, such as [1, 2]"),
    Field("user", str, lambda name: bool(name) and not any(c.isspace() for c in name),
          'the name of a user, such as "nobody"', "nobody"),
    Field("shield", str, _is_path, 'an absolute path, such as "/etc/underpass/shield.toml"'),
    Field("mode", str, *_one_of(MODES), "auto"),
    Field("busy-poll", bool, lambda _: True, "true or false", False),
)}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file: at which key ("" for the file itself), and what would be right."""

    file: str
    key: str
    wrong: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.wrong) if part)


def read(file: str) -> tuple[dict[str, Any], list[Fault]]:
    """The valid settings of a file, and every fault in it; missing settings are none."""
    try:
        table = tomllib.loads(Path(file).read_bytes().decode())
    except OSError as error:
        return {}, [Fault(file, "", f"cannot be read: {error.strerror}")]
    except (ValueError, RecursionError) as error:       # tomllib's and the decoder's are both ValueErrors
        return {}, [Fault(file, "", f"not TOML: {' '.join(str(error).split())}")]
    wrong = {key: _wrong(key, value) for key, value in table.items()}
    faults = [Fault(file, ascii(key)[1:-1], text) for key, text in wrong.items() if text]
    return {key: value for key, value in table.items() if not wrong[key]}, faults


def missing(file: str, settings: Mapping[str, Any], faults: list[Fault]) -> list[Fault]:
    """The settings that a file must have to stand alone and has not, not even with a wrong value."""
    there = {*settings, *(fault.key for fault in faults)}
    if any(not fault.key for fault in faults):
        return []
    return [Fault(file, field.name, f"missing; it must be {field.right}")
            for field in FIELDS.values() if field.required and field.name not in there]


def _wrong(key: str, value: Any) -> str:
    """What is wrong with a setting, "" where nothing is."""
    field = FIELDS.get(key)
    if field is None:
        near = difflib.get_close_matches(key.lower().replace("_", "-"), FIELDS, 1)
        known = f"did you mean {near[0]}?" if near else f"known are {', '.join(FIELDS)}"
        return f"unknown key; {known}"
    if type(value) is field.kind and field.accepts(value):      # not isinstance: true is no number here
        return ""
    return f"{_shown(value)} is not {field.right}"


def _shown(value: Any) -> str:
    """A value as it would stand in the file, cut short where it is long."""
    text = str(value).lower() if isinstance(value, bool) else ascii(value)
    if isinstance(value, str):
        text = '"' + text[1:-1] + '"'
    return text if len(text) <= 60 else text[:57] + "..."


def complete(options: Any, settings: Mapping[str, Any]) -> list[str]:
    """Fill in what the command line left open (None), by the file or the default; returns what is missing."""
    for field in FIELDS.values():
        name = field.name.replace("-", "_")
        if getattr(options, name) is None:
            setattr(options, name, settings.get(field.name, field.default))
    return [field.name for field in FIELDS.values()
            if field.required and getattr(options, field.name.replace("-", "_")) is None]
