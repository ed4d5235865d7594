"""Fuzz every target, or those named, for some seconds each, one on each core.

Usage: run.py SECONDS [TARGET...]

FUZZ_SEED in the environment makes a run repeatable.

What libFuzzer finds interesting stays in build/fuzz/corpus. An input that crashed a target once belongs in
fuzz/corpus/TARGET, where every run tries it first. Exit status 1: something was found; how to repeat it is
printed.
"""

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build

KEPT = build.HERE / "corpus"
OPTIONS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1", "-verbosity=0"]


def environment(libraries: list[Path]) -> dict[str, str]:
    """Without site-packages' .pth files, so that no other build of the package is found first."""
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(map(str, libraries)),
        "PYTHONPATH": os.pathsep.join([str(build.PACKAGE), sysconfig.get_path("purelib")]),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:quarantine_size_mb=16",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def fuzz(target: str, seconds: int, libraries: list[Path]) -> bool:
    """Whether the target survived."""
    corpus, found = build.OUT / "corpus" / target, build.OUT / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    kept = [str(KEPT / target)] if (KEPT / target).is_dir() else []
    command = [sys.executable, "-S", str(build.HERE / "process.py"), target, str(corpus)]
    command += [f"-max_total_time={seconds}", f"-artifact_prefix={found}/{target}-", *OPTIONS, *kept]
    if seed := os.environ.get("FUZZ_SEED"):
        command.append(f"-seed={seed}")
    done = subprocess.run(
        command, env=environment(libraries), text=True, errors="replace", stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        print(f"{done.stderr}\nFAILED  {target}: to repeat it, copy the input named above to")
        print(f"        fuzz/corpus/{target}/ and run: python fuzz/run.py 1 {target}")
        return False
    stats = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units:")]
    print(f"ok      {target}: {int(stats[0].split()[-1]):,} inputs in {seconds} s")
    return True


def main(seconds: int, *chosen: str) -> int:
    """Fuzz the chosen targets, or all."""
    there = [path.stem.removeprefix("target_") for path in sorted(build.HERE.glob("target_*.pyx"))]
    unknown = [name for name in chosen if name not in there]
    if unknown:
        sys.exit(f"fuzz: no target {', '.join(unknown)}; there are {', '.join(there)}")
    libraries = build.build()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        survived = list(pool.map(lambda target: fuzz(target, seconds, libraries), chosen or there))
    return int(not all(survived))


if __name__ == "__main__":
    if len(sys.argv) < 2 or not sys.argv[1].isdigit():
        sys.exit("usage: run.py SECONDS [TARGET...]")
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
