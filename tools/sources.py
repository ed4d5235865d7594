"""Print the package's source files for meson.build, one a line.

Usage: sources.py pyx|data

`pyx` are the modules to compile, `data` what is installed as it is: Python, type stubs, and the .pxd and .h
files that native applications are compiled against. The folder tree is the list: a new file needs no entry.
"""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "underpass"
SUFFIXES = {"pyx": {".pyx"}, "data": {".py", ".pyi", ".pxd", ".typed", ".h"}}


def sources(kind: str, package: Path = PACKAGE) -> list[str]:
    """Paths from the package's parent folder, sorted."""
    found = (path for path in package.rglob("*") if path.suffix in SUFFIXES[kind])
    return sorted(path.relative_to(package.parent).as_posix() for path in found)


if __name__ == "__main__":
    print("\n".join(sources(sys.argv[1])))
