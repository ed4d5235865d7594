"""Print requirements from pyproject.toml, one a line, for `pip install -r`.

Usage: requirements.py GROUP...

A group is `build`, `run`, or the name of an extra.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(group: str, pyproject: Path = PYPROJECT) -> list[str]:
    """What a group asks for. Raises KeyError where pyproject.toml has no such extra."""
    table = tomllib.loads(pyproject.read_text())
    project = table["project"]
    if group == "build":
        return [*table["build-system"]["requires"], "meson>=1.3", "ninja"]
    if group == "run":
        return list(project["dependencies"])
    return list(project["optional-dependencies"][group])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print("\n".join(requirements(name)))
