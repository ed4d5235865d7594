"""On which line of a TOML file each key stands: `tomllib` tells values only."""

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]

DEPTH_MAX = 8                           # of keys in one line, more than any that is known

PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.|$|=|\])""")
# What may hold brackets that mean nothing: strings and comments.
TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]', re.DOTALL)


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of each table and key by its path, in which elements of arrays have their number."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        if statement.startswith("["):
            table = _placed(_parts(statement.lstrip("[")), counts, statement.startswith("[["))
            found.setdefault(table, line)
        else:
            keys = _parts(statement)
            for depth in range(1, min(len(keys), DEPTH_MAX) + 1):
                found.setdefault((*table, *keys[:depth]), line)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each header and each key with its value; a value may go over several lines."""
    depth, begin, line, first = 0, 0, 1, 1
    is_header = False
    for token in TOKEN.finditer(text):
        word = token[0]
        if word == "\n" and depth == 0:
            statement = text[begin : token.start()].strip()
            if statement and not statement.startswith("#"):
                yield first, statement
            begin, first, is_header = token.end(), line + 1, False
        elif word in ("[", "{"):
            is_header = is_header or not text[begin : token.start()].strip()
            depth += not is_header
        elif word in ("]", "}") and not is_header:
            depth = max(0, depth - 1)
        line += word.count("\n")
    statement = text[begin:].strip()
    if statement and not statement.startswith("#"):
        yield first, statement


def _parts(text: str) -> Path:
    """The parts of a dotted key."""
    parts: list[str] = []
    at = 0
    while found := PART.match(text, at):
        parts.append(next(it for it in found.groups()[:3] if it is not None))
        at = found.end()
        if found[4] != ".":
            break
    return tuple(parts)


def _placed(parts: Path, counts: dict[Path, int], is_array: bool) -> Path:
    """A header's path with the numbers of the array elements that it lies in."""
    path: Path = ()
    for place, part in enumerate(parts):
        path = (*path, part)
        if is_array and place == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path
