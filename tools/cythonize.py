"""Translate one .pyx file to C, and fail on any of Cython's warnings or performance hints.

A performance hint on the packet path means an exception check that takes the GIL: 34 ns instead of 1 a call.

Usage: cythonize.py INPUT.pyx OUTPUT.c SOURCE_ROOT
"""

import subprocess
import sys

DIRECTIVES = ["boundscheck=False", "wraparound=False", "cdivision=True", "initializedcheck=False", "language_level=3"]


def main(source: str, output: str, root: str) -> int:
    """Run Cython; print what it said and return non-zero where it said anything that costs time or hides a fault."""
    command = [sys.executable, "-m", "cython", "-3", "-M", "--line-directives", "-Wextra", "-I", root, source, "-o", output]
    for directive in DIRECTIVES:
        command += ["-X", directive]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    said = run.stdout + run.stderr
    sys.stderr.write(said)
    return run.returncode or int("performance hint" in said)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
