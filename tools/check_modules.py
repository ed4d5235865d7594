"""Hold what the build and mypy need of extension modules: names of their own, and type stubs.

Cython names the C symbols that modules exchange by the last part of a module's name, so no two may share
it. A module of nothing but `cdef` functions has no name that Python could see, and needs no stub.

Usage: check_modules.py [PACKAGE_FOLDER]
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "underpass"
SEEN_BY_PYTHON = re.compile(
    r"^(?:async def|def|cpdef|class|cdef class|[A-Za-z_]\w*(?:: .*)? =)", re.MULTILINE
)


def complaints(package: Path) -> Iterator[str]:
    """One line for each module without a stub, stub without a module, or name used twice."""
    seen: dict[str, Path] = {}
    for path in sorted(package.rglob("*.pyx")):
        if path.stem in seen:
            yield f"{path}: {seen[path.stem]} has the same name; the build needs another"
        seen.setdefault(path.stem, path)
        if not path.with_suffix(".pyi").exists() and SEEN_BY_PYTHON.search(path.read_text()):
            yield f"{path}: no {path.stem}.pyi beside it; mypy cannot see into an extension module"
    for path in sorted(package.rglob("*.pyi")):
        if not path.with_suffix(".pyx").exists() and not path.with_suffix(".py").exists():
            yield f"{path}: a type stub without a module"


def main(package: Path = PACKAGE) -> int:
    """Check the package's folder; 1 where something was found."""
    said = list(complaints(package))
    print("\n".join(said), end="\n" if said else "")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
