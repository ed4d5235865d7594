"""Build the package and the fuzz targets with coverage, AddressSanitizer and UBSan, into build/fuzz.

Two runtimes are loaded before the interpreter: libFuzzer's, made a shared library here, and that of
AddressSanitizer; and the module in which libFuzzer looks for a mutator.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = ROOT / "build" / "fuzz"
PACKAGE = OUT / "package"
FLAGS = ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined",
         f"-fsanitize-ignorelist={HERE / 'cython.ignorelist'}", "-g", "-O1"]
COMPILERS = ["clang-16", "clang-19", "clang-18", "clang-17", "clang-15", "clang-14", "clang"]


def run(*command: str | Path, **environment: str) -> None:
    """Run a command quietly; print what it said and exit where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfuzz: this failed: {' '.join(map(str, command))}")


def runtime(compiler: str, name: str) -> Path:
    """One of the compiler's runtime libraries; it need not exist."""
    said = subprocess.check_output([compiler, f"-print-file-name=libclang_rt.{name}"], text=True).strip()
    if Path(said).is_absolute():
        return Path(said)
    folder = subprocess.check_output([compiler, "-print-runtime-dir"], text=True).strip()
    return Path(folder) / f"libclang_rt.{name}"


def find_compiler() -> str:
    """A clang that has libFuzzer's and AddressSanitizer's runtimes."""
    machine = os.uname().machine
    for compiler in filter(shutil.which, COMPILERS):
        if runtime(compiler, f"fuzzer_no_main-{machine}.a").exists():
            return compiler
    sys.exit("fuzz: no clang with sanitizer runtimes is here; make system installs it")


def preload(compiler: str) -> list[Path]:
    """The libraries that must be loaded before everything else."""
    asan = runtime(compiler, f"asan-{os.uname().machine}.so")
    return [OUT / "fuzzer.so", asan, PACKAGE / "driver.so"]


def build_package(compiler: str) -> None:
    """The package as it is, instrumented, installed as a tree under build/fuzz/package."""
    build = OUT / "meson"
    if not (build / "build.ninja").exists():
        options = [f"-Dpython.{kind}dir=/package" for kind in ("purelib", "platlib")]
        arguments = f"-Dc_args={' '.join(FLAGS)}"
        run("meson", "setup", build, "-Db_lundef=false", "--prefix=/", arguments, *options, CC=compiler)
    run("meson", "compile", "-C", build, "-j", str(os.cpu_count()))
    run("meson", "install", "-C", build, "--quiet", "--only-changed", "--destdir", OUT)


def build_module(compiler: str, source: Path) -> None:
    """One module of this folder, beside the package, where anything that it may be made from is newer."""
    translated, made = OUT / f"{source.stem}.c", PACKAGE / f"{source.stem}.so"
    read = [source, *HERE.glob("*.pxd"), *(ROOT / "src").rglob("*.pxd")]
    if made.exists() and made.stat().st_mtime > max(path.stat().st_mtime for path in read):
        return
    include = sysconfig.get_path("include")
    run(sys.executable, ROOT / "tools" / "cythonize.py", source, translated, ROOT / "src")
    run(compiler, *FLAGS, "-shared", "-fPIC", "-fno-strict-aliasing", f"-I{include}", translated, "-o", made)


def build_runtime(compiler: str) -> None:
    """libFuzzer without its main(), as a shared library."""
    archive = runtime(compiler, f"fuzzer_no_main-{os.uname().machine}.a")
    whole = ["-Wl,--whole-archive", archive, "-Wl,--no-whole-archive"]
    run(compiler, "-shared", "-o", OUT / "fuzzer.so", *whole, "-lstdc++", "-lm", "-lpthread")


def build() -> list[Path]:
    """Build all that changed; returns the libraries to preload."""
    compiler = find_compiler()
    OUT.mkdir(parents=True, exist_ok=True)
    if not (OUT / "fuzzer.so").exists():
        build_runtime(compiler)
    build_package(compiler)
    for source in sorted(HERE.glob("*.pyx")):
        build_module(compiler, source)
    return preload(compiler)


if __name__ == "__main__":
    print(*build())
