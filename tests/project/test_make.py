"""What `make` promises before anything is built: its list of targets, and the choice of a Python."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIND_PYTHON = ROOT / "tools" / "find_python.sh"


def find_python(python: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "PYTHON": python}
    return subprocess.run([FIND_PYTHON], env=environment, capture_output=True, text=True, check=False)


def fake_python(folder: Path, body: str) -> Path:
    script = folder / "python3"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return script


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_alone_lists_every_target() -> None:
    said = subprocess.run(["make", "-s", "-C", ROOT], capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert f"make {target} " in said


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_an_environment_keeps_its_python(tmp_path: Path) -> None:
    """`make` ends before it does anything, in a line."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    run = subprocess.run(["make", "-s", "-C", ROOT, f"VENV={tmp_path}", "PYTHON=/nowhere", "check"],
                         capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    its = os.path.realpath(sys.executable)
    assert f"{tmp_path} has {its}, not /nowhere: `make clean` first" in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_usable_python_is_found() -> None:
    run = find_python(sys.executable)
    assert run.returncode == 0
    assert Path(run.stdout.strip()).exists()


@pytest.mark.parametrize("body", ["exit 1", "exit 127"])
def test_a_python_that_is_too_old_or_lacks_parts_is_refused_with_a_way_out(tmp_path: Path, body: str) -> None:
    run = find_python(str(fake_python(tmp_path, body)))
    assert run.returncode == 1
    assert run.stdout == ""
    assert "no Python >= 3.11" in run.stderr
    assert "make PYTHON=" in run.stderr


def test_the_first_python_on_the_way_that_is_no_good_is_passed_over(tmp_path: Path) -> None:
    """As with a version manager's shim that knows no version."""
    fake_python(tmp_path, "exit 127")
    (tmp_path / "python3.11").symlink_to(sys.executable)
    run = find_python("", f"{tmp_path}:/usr/bin:/bin")
    assert run.returncode == 0


def test_what_one_may_do_without_is_asked_for_by_name() -> None:
    script = ROOT / "tools" / "system_packages.sh"
    run = subprocess.run([script, "--dpkd"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "tools/system_packages.sh takes --dpdk, --browser or nothing, not: --dpkd\n"
