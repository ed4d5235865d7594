"""What runs under the sanitizers: one target, with its seeds in the corpus. Started by run.py.

Usage: process.py TARGET CORPUS [libFuzzer's arguments...]
"""

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import driver  # type: ignore[import-not-found]


def import_by_parts(package: str) -> None:
    """Let modules of the package be imported without all that its __init__ imports: libFuzzer looks
    over the counters of every instrumented module that is loaded, at each input.
    """
    spec = importlib.util.find_spec(package)
    assert spec is not None
    spec.loader = None
    sys.modules[package] = importlib.util.module_from_spec(spec)


def main(name: str, corpus: Path, *arguments: str) -> int:
    """Fuzz until the time given is over, or something is found: then libFuzzer ends the process."""
    os.environ.pop("LD_PRELOAD", None)  # what symbolizes a report is no Python
    import_by_parts("underpass.testing")
    target = importlib.import_module(f"target_{name}")
    for seed in target.SEEDS:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    words = ["fuzz", str(corpus), *arguments]     # what is found goes to the first folder
    mutator = getattr(target, "mutator", None)
    return int(driver.run(target.one, [word.encode() for word in words], mutator))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
