"""Translate one .pyx file to C, and fail on Cython's warnings and performance hints alike.

A performance hint means an exception check that takes the GIL, 34 ns instead of 1 a call, or a Python object
where none was meant. A warning means unreachable code or a variable that is never used: a fault more often
than not. Whether a variable is set before it is read is left to the C compiler: memcpy sets one unseen.

Usage: cythonize.py INPUT.pyx OUTPUT.c SOURCE_ROOT
"""

import re
import subprocess
import sys
from pathlib import Path

DIRECTIVES = (
    "boundscheck=False",
    "wraparound=False",
    "cdivision=True",
    "initializedcheck=False",
    "language_level=3",
    "warn.unreachable=True",
    "warn.unused=True",
)
COMPLAINT = re.compile(r"^(warning|performance hint): ", re.MULTILINE)


def translate(source: str, output: str, root: str) -> subprocess.CompletedProcess[str]:
    """Run Cython with the package's directives; `-M` writes the dependencies for ninja beside the output."""
    # -P: ninja runs this in the build folder, where a module of ours may be called like one of Python's own.
    command = [sys.executable, "-P", "-m", "cython", "-3", "-M", "--line-directives", "-I", root]
    for directive in DIRECTIVES:
        command += ["-X", directive]
    return subprocess.run([*command, source, "-o", output], capture_output=True, text=True, check=False)


def main(source: str, output: str, root: str) -> int:
    """Print what Cython said; non-zero, and no output file, where that costs time or hides a fault."""
    run = translate(source, output, root)
    said = run.stdout + run.stderr
    sys.stderr.write(said)
    if run.returncode or COMPLAINT.search(said):
        Path(output).unlink(missing_ok=True)
        return run.returncode or 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
