"""Fuzz every target, or those named, for some seconds each, one on each core.

Usage: run.py SECONDS [TARGET...]

FUZZ_SEED in the environment makes a run repeatable.

What libFuzzer finds interesting stays in build/fuzz/corpus. An input that crashed a target once belongs in
fuzz/corpus/TARGET, where every run tries it first. Exit status 1: something was found; how to repeat it is
printed.
"""

import base64
import os
import re
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


def how_to_repeat(target: str, said: str) -> str:
    """The input that was found, to be put where every run tries it first."""
    written = re.search(r"Test unit written to (.+)", said)
    if not written:
        return f"what it printed stands above; to repeat it: python fuzz/run.py 1 {target}"
    octets = base64.b64encode(Path(written[1]).read_bytes()).decode()
    kept = f"fuzz/corpus/{target}/{Path(written[1]).name.removeprefix(target + '-')}"
    return f"to repeat it: echo {octets} | base64 -d > {kept} && python fuzz/run.py 1 {target}"


def fuzz(target: str, seconds: int, libraries: list[Path]) -> str:
    """What became of the target, in one line: it begins with 'ok' where nothing was found."""
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
        print(done.stderr)
        return f"FAILED  {target}: {how_to_repeat(target, done.stderr)}"
    stats = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units:")]
    return f"ok      {target}: {int(stats[0].split()[-1]):,} inputs in {seconds} s"


def main(seconds: int, *chosen: str) -> int:
    """Fuzz the chosen targets, or all."""
    there = [path.stem.removeprefix("target_") for path in sorted(build.HERE.glob("target_*.pyx"))]
    unknown = [name for name in chosen if name not in there]
    if unknown:
        sys.exit(f"fuzz: no target {', '.join(unknown)}; there are {', '.join(there)}")
    targets = list(chosen) or there
    if not chosen and os.geteuid() != 0:
        print("left out: xdp, which needs root")
        targets.remove("xdp")
    libraries = build.build()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(lambda target: fuzz(target, seconds, libraries), targets))
    print("\n".join(verdicts))
    return int(not all(verdict.startswith("ok") for verdict in verdicts))


if __name__ == "__main__":
    if len(sys.argv) < 2 or not sys.argv[1].isdigit():
        sys.exit("usage: run.py SECONDS [TARGET...]")
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
