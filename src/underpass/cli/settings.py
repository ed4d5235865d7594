"""The settings of a service: a TOML file whose keys are named as the options of `underpass serve`.

A setting is one line of FIELDS; reading, checking, the nearest known name and the defaults follow from it.
Those of a site stand at the top, or, where several directories are served, in a table [[site]] for each.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underpass.apps.sites import EVERY_ADDRESS, MOST_SITES, Site, clashes
from underpass.log import FORMATS
from underpass.workers.plan import left_over

CONGESTION = ("cubic", "reno", "dctcp", "bbr")
SYN_COOKIES = ("off", "auto", "always")
MODES = ("auto", "native", "generic")
NAME_BYTES = 15                     # IFNAMSIZ - 1


@dataclass(frozen=True, slots=True)
class Field:
    """One setting: `right` says in words which values `accepts` takes; all of them are of type `kind`.
    `of_site`: it may stand in a table of its own for each site.
    """

    name: str
    kind: type
    accepts: Callable[[Any], bool]
    right: str
    default: Any = None
    required: bool = False
    of_site: bool = False


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
    Field("directory", str, _is_path, 'an absolute path, such as "/srv/www"', required=True, of_site=True),
    Field("interface", str, _is_interface, 'the name of a network interface, such as "eth0"', required=True),
    Field("address", list, lambda them: bool(them) and all(map(_is_address, them)),
          'a list of IPv4 and IPv6 addresses, such as ["192.0.2.1", "2001:db8::1"]', of_site=True),
    Field("port", int, lambda port: 1 <= port <= 65535, "a whole number from 1 to 65535", 80, of_site=True),
    Field("access-log", str, lambda text: text == "-" or _is_path(text),
          'an absolute path, or "-" for stdout', of_site=True),
    Field("connections", int, lambda count: count > 0, "a whole number above zero"),
    Field("congestion", str, *_one_of(CONGESTION)),
    Field("workers", int, lambda count: 1 <= count <= 64, "a whole number from 1 to 64"),
    Field("cores", list, lambda them: bool(them) and all(type(core) is int and core >= 0 for core in them),
          "a list of processor cores, such as [1, 2]"),
    Field("user", str, lambda name: bool(name) and not any(c.isspace() for c in name),
          'the name of a user, such as "nobody"', "nobody"),
    Field("shield", str, _is_path, 'an absolute path, such as "/etc/underpass/shield.toml"'),
    Field("syn-cookies", str, *_one_of(SYN_COOKIES), "off"),
    Field("syn-rate", int, lambda rate: 1 <= rate <= 10**9, "a whole number from 1 to 1000000000", 20000),
    Field("admission", bool, lambda _: True, "true or false", False),
    Field("mode", str, *_one_of(MODES), "auto"),
    Field("busy-poll", bool, lambda _: True, "true or false", False),
    Field("log-format", str, *_one_of(FORMATS), "text"),
)}

OF_SITE = {name: field for name, field in FIELDS.items() if field.of_site}
SITE_FIELDS = OF_SITE | {"own-workers": Field(
    "own-workers", int, lambda count: 1 <= count <= 64, "a whole number from 1 to 64")}


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
    sites, site_faults = _sites(file, table.pop("site", None), {key for key in table if key in OF_SITE})
    found, faults = _checked(file, table, FIELDS, "")
    faults += site_faults
    if sites is not None:
        faults += _divided(file, found.get("workers"), [site_of(it) for it in sites])
        found["site"] = sites
    return found, faults


def _checked(file: str, table: Mapping[str, Any], fields: Mapping[str, Field],
             where: str) -> tuple[dict[str, Any], list[Fault]]:
    """The valid settings of a table, and a fault for each other one; `where` stands before their names."""
    wrong = {key: _wrong(key, value, fields) for key, value in table.items()}
    faults = [Fault(file, where + ascii(key)[1:-1], text) for key, text in wrong.items() if text]
    return {key: value for key, value in table.items() if not wrong[key]}, faults


def _sites(file: str, tables: Any, at_the_top: set[str]) -> tuple[list[dict[str, Any]] | None, list[Fault]]:
    """The tables [[site]], None where there are none, and what is wrong with them and between them."""
    if tables is None:
        return None, []
    if not isinstance(tables, list) or not tables or not all(isinstance(it, dict) for it in tables):
        return None, [Fault(file, "site", f"{_shown(tables)} is no list of tables, each begun by [[site]]")]
    faults = [Fault(file, key, "stands in each [[site]], where there are such") for key in sorted(at_the_top)]
    if len(tables) > MOST_SITES:
        faults.append(Fault(file, "site", f"{len(tables)} sites are more than {MOST_SITES}"))
    found = []
    for number, table in enumerate(tables, 1):
        settings, wrong = _checked(file, table, SITE_FIELDS, f"site {number}: ")
        if "directory" not in table:
            wrong.append(Fault(file, f"site {number}: directory",
                               f"missing; it must be {FIELDS['directory'].right}"))
        found.append(settings)
        faults += wrong
    faults += [Fault(file, f"site {later + 1}", f"{what} is site {earlier + 1}'s already")
               for later, earlier, what in clashes([site_of(it) for it in found])]
    return found, faults


def _divided(file: str, workers: int | None, sites: list[Site]) -> list[Fault]:
    """What is wrong with the workers that sites have of their own; the command line may yet say how many are
    there.
    """
    own = [it.own_workers for it in sites if it.own_workers]
    if workers is None or not own:
        return []
    try:
        left_over(workers, own, len(own) < len(sites))
    except ValueError as error:
        return [Fault(file, "workers", str(error))]
    return []


def site_of(settings: Mapping[str, Any]) -> Site:
    """A site by its settings, with the defaults."""
    return Site(settings.get("directory", ""), settings.get("address") or EVERY_ADDRESS,
                settings.get("port") or FIELDS["port"].default, settings.get("access-log"),
                settings.get("own-workers") or 0)


def missing(file: str, settings: Mapping[str, Any], faults: list[Fault]) -> list[Fault]:
    """The settings that a file must have to stand alone and has not, not even with a wrong value."""
    there = {*settings, *(fault.key for fault in faults)}
    if any(not fault.key for fault in faults):
        return []
    if "site" in there:
        there |= OF_SITE.keys()
    return [Fault(file, field.name, f"missing; it must be {field.right}")
            for field in FIELDS.values() if field.required and field.name not in there]


def _wrong(key: str, value: Any, fields: Mapping[str, Field]) -> str:
    """What is wrong with a setting, "" where nothing is."""
    field = fields.get(key)
    if field is None:
        near = difflib.get_close_matches(key.lower().replace("_", "-"), fields, 1)
        known = f"did you mean {near[0]}?" if near else f"known are {', '.join(fields)}"
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
    """Fill in what the command line left open (None), by the file or the default; returns what is missing.

    `options.sites` are the sites then. Raises ValueError where the file has several and an option is one's,
    and where sites have workers of their own and there are none.
    """
    given = [field for field in OF_SITE if getattr(options, _attribute(field)) is not None]
    if "site" in settings and given:
        raise ValueError(f"{', '.join(given)}: the file has several sites, and the command line"
                         " cannot say which is meant")
    for field in FIELDS.values():
        if getattr(options, _attribute(field.name)) is None:
            setattr(options, _attribute(field.name), settings.get(field.name, field.default))
    its = {name: getattr(options, _attribute(name)) for name in OF_SITE}
    options.sites = [site_of(it) for it in settings.get("site", [its])]
    if options.workers is None and any(it.own_workers for it in options.sites):
        raise ValueError("own-workers of a site are some of --workers N, of all sites together")
    needed = [field.name for field in FIELDS.values()
              if field.required and not (field.of_site and "site" in settings)]
    return [name for name in needed if getattr(options, _attribute(name)) is None]


def _attribute(name: str) -> str:
    """What argparse calls the option of a setting."""
    return name.replace("-", "_")
