"""Hold the layer order: a module imports only what its layer may, for `import` and `cimport` alike.

The packet's way is xdp, link, wire, ip, tcp, stack; each layer uses what lies before it on the way, nothing
behind it. What stands off the path (linux, shield, observe) is never imported from it. MAY is the whole rule.

Usage: check_imports.py [PACKAGE_FOLDER]
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "underpass"

PATH = {"xdp", "link", "wire", "ip", "tcp", "stack"}
CONTROL = {"linux", "shield", "log", "closing"}

# What the modules of a layer may import, besides their own; a layer is a folder of the package or a module at
# its top, and "" is the package's own public names.
MAY: dict[str, set[str]] = {
    "xdp": {"closing"},
    "link": {"xdp"},
    "wire": set(),
    "ip": {"link", "wire"},
    "tcp": {"link", "wire", "ip"},
    "stack": {"link", "wire", "ip", "tcp"},
    "log": set(),
    "closing": set(),
    "linux": PATH | {"log", "closing"},
    "shield": {"xdp", "linux", "log"},
    "nic": PATH | CONTROL,
    "workers": PATH | CONTROL | {"nic"},
    "observe": PATH | CONTROL | {"nic"},
    "aio": PATH | CONTROL | {"nic", "workers"},
    "socket": {"aio", "closing"},
    "nf": PATH,
    "": {"linux", "stack", "nic", "aio"},
    "apps": PATH | CONTROL | {"nic", "workers", "observe", "aio", "nf", ""},
    "cli": PATH | CONTROL | {"nic", "workers", "observe", "aio", "nf", "", "apps"},
    "__main__": {"cli"},
}
# The test tools import what they like; of the other layers only the commands import them.
MAY["testing"] = set(MAY)
MAY["cli"] |= {"testing"}

NOT_CODE = re.compile(
    r"(\"\"\"|''')(?:\\.|.)*?\1|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*|\\\n", re.DOTALL
)
STATEMENT = re.compile(
    r"(?:^|[:;])[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+c?import[ \t]*(?P<names>\([^)]*\)|[^\n;]*)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)


def imported(text: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that the text of a module imports, names after `from` included."""
    code = NOT_CODE.sub(lambda found: "\n" * found[0].count("\n"), text)
    for found in STATEMENT.finditer(code):
        line = code.count("\n", 0, found.start()) + 1
        modules, source = found["modules"], found["source"]
        if modules:
            yield from ((line, module.split()[0]) for module in modules.split(",") if module.strip())
        else:
            names = found["names"].strip("() \t\n").split(",")
            prefix = source if source.endswith(".") else f"{source}."
            yield from ((line, prefix + name.split()[0]) for name in names if name.strip())


def layer(name: str, module: tuple[str, ...], layers: set[str]) -> str | None:
    """The layer that a dotted name, perhaps a relative one, belongs to; None for other packages."""
    dots = len(name) - len(name.lstrip("."))
    parts = name.lstrip(".").split(".")
    if dots:
        parts = [*module[: len(module) - dots], *parts]
    if parts[0] != "underpass":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in layers else ""


def check_module(path: Path, package: Path, layers: set[str]) -> Iterator[str]:
    """One line for each import that the rule does not allow."""
    inside = path.relative_to(package)
    own = inside.parts[0] if len(inside.parts) > 1 else inside.stem.replace("__init__", "")
    module = ("underpass", *inside.with_suffix("").parts)
    if own not in MAY:
        yield f"{path}: layer {own!r} has no rule; give it one in {Path(__file__).name}"
        return
    for line, name in imported(path.read_text()):
        other = layer(name, module, layers)
        if other not in {None, own, *MAY[own]}:
            allowed = ", ".join(sorted(may or "underpass" for may in MAY[own])) or "no other layer"
            yield f"{path}:{line}: {name}: {own or 'underpass'} may import {allowed}"


def main(package: Path = PACKAGE) -> int:
    """Check every module under the package's folder; 1 where something was found."""
    layers = {path.stem for path in package.iterdir() if path.is_dir() or path.suffix in {".py", ".pyx"}}
    files = (path for path in sorted(package.rglob("*")) if path.suffix in {".py", ".pyi", ".pyx", ".pxd"})
    said = [message for path in files for message in check_module(path, package, layers)]
    print("\n".join(said), end="\n" if said else "")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
