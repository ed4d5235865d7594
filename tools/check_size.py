"""Hold the size of files (800 lines) and of functions (60 lines), in Python, Cython and C alike.

A function reads like a paragraph; one that outgrows the limit has two things to say and wants two names.

Usage: check_size.py [FOLDER...]
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tools", "tests", "fuzz", "bench", "examples")
FILE_LINES = 800
FUNCTION_LINES = 60

PYTHON_HEAD = re.compile(r"^(?P<indent> *)(?:async def|def|cdef(?! class)|cpdef)\b[^=#]*?(?P<name>\w+)\(")
C_HEAD = re.compile(r"^(?P<indent>)(?:[A-Za-z_][\w \t*]*[ *])?(?P<name>\w+)\([^;]*$")


def python_functions(lines: list[str]) -> Iterator[tuple[int, str, int]]:
    """First line, name and length of each function of a Python or Cython file; nested ones count too."""
    for start, line in enumerate(lines):
        head = PYTHON_HEAD.match(line)
        if head:
            yield start + 1, head["name"], block_length(lines, start, len(head["indent"]))


def block_length(lines: list[str], start: int, indent: int) -> int:
    """Lines from a function's head to its last statement, up to what stands at its own indentation."""
    last = start
    in_head = True
    for number in range(start, len(lines)):
        line = lines[number]
        body = line.strip()
        if not in_head and body and not body.startswith("#") and len(line) - len(line.lstrip()) <= indent:
            break
        if body:
            last = number
        if in_head and re.search(r":\s*(#.*)?$", line):
            in_head = False
        elif in_head and line.rstrip().endswith((")", "nogil")):
            return number - start + 1                       # a declaration without a body
    return last - start + 1


def c_functions(lines: list[str]) -> Iterator[tuple[int, str, int]]:
    """First line, name and length of each function of a C file: bodies end with a brace in column one."""
    head, start = None, 0
    for number, line in enumerate(lines):
        found = C_HEAD.match(line)
        if found and not line.startswith(("#", "}")):
            head, start = found["name"], number
        if line.startswith("}") and head:
            yield start + 1, head, number - start + 1
            head = None


def check_file(path: Path) -> Iterator[str]:
    """One line for each limit that a file breaks."""
    lines = path.read_text().splitlines()
    if len(lines) > FILE_LINES:
        yield f"{path}: {len(lines)} lines; a file has at most {FILE_LINES}: split it by role"
    functions = c_functions if path.suffix in {".c", ".h"} else python_functions
    for line, name, length in functions(lines):
        if length > FUNCTION_LINES:
            yield f"{path}:{line}: {name} is {length} lines long; a function has at most {FUNCTION_LINES}"


def main(folders: list[Path]) -> int:
    """Check every source file under the folders; 1 where something was found."""
    suffixes = {".py", ".pyi", ".pyx", ".pxd", ".c", ".h"}
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in suffixes)
    said = [message for path in files for message in check_file(path)]
    print("\n".join(said), end="\n" if said else "")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]] or [ROOT / name for name in FOLDERS]))
