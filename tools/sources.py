"""Print the package's source files for meson.build, one a line: `pyx` the modules to compile, `data` what is installed as it is."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "underpass"


def main(kind: str) -> None:
    """The folder tree is the list: a new file needs no entry anywhere."""
    suffixes = {"pyx": {".pyx"}, "data": {".py", ".pyi", ".pxd", ".typed", ".h"}}[kind]
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in suffixes or path.name in suffixes or (path.name == "py.typed" and kind == "data"):
            print(path.relative_to(PACKAGE.parent))


if __name__ == "__main__":
    main(sys.argv[1])
