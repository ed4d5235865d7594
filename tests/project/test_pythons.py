"""Which Pythons the tests run on, and what is said of the others."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "test_pythons.sh"
MAKE = '#!/bin/sh\necho "$@" >> {log}\ncase "$*" in *VENV=.venv-3.13*) exit 2 ;; esac\n'


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment with a make that builds nothing and fails for 3.13, which is pyenv's, and no 3.14."""
    (tmp_path / "bin").mkdir()
    programs = {f"bin/python3.{minor}": f'#!/bin/sh\necho {tmp_path}/bin/python3.{minor}\n'
                for minor in (11, 12)}
    programs["bin/python3.13"] = "#!/bin/sh\nexit 127\n"
    programs["bin/make"] = MAKE.format(log=tmp_path / "made")
    for patch in (2, 10):
        programs[f"pyenv/versions/3.13.{patch}/bin/python3"] = f"#!/bin/sh\necho pyenv-3.13.{patch}\n"
    for name, text in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYENV_ROOT": f"{tmp_path}/pyenv"}


def ran(machine: dict[str, str], pythons: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *words], env={**machine, "PYTHONS": pythons}, capture_output=True,
                          text=True, check=False)


@pytest.mark.skipif(any(Path(it).exists() for it in ("/usr/bin/python3.13", "/usr/local/bin/python3.13")),
                    reason="a 3.13 of the system's would be taken before pyenv's")
def test_each_python_has_an_environment_of_its_own_and_a_failure_is_said(
        machine: dict[str, str], tmp_path: Path) -> None:
    done = ran(machine, "all", "tests/aio/test_run.py")
    assert done.returncode == 1
    made = (tmp_path / "made").read_text().splitlines()
    assert f"--no-print-directory PYTHON={tmp_path}/bin/python3.12 VENV=.venv-3.12 BUILD=python-3.12 " \
           "TESTS=tests/aio/test_run.py test" in made
    assert any("PYTHON=pyenv-3.13.10 VENV=.venv-3.13" in line for line in made)
    said = done.stdout.splitlines()[-1]
    assert said.startswith("Pythons: passed 3.11 3.12") and "failed 3.13;" in said


@pytest.mark.skipif(not (SCRIPT.parents[1] / ".venv").exists(), reason="the tests run in no .venv here")
def test_the_others_are_all_but_the_one_of_make_test(machine: dict[str, str], tmp_path: Path) -> None:
    python = SCRIPT.parents[1] / ".venv" / "bin" / "python"
    main = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                          capture_output=True, text=True, check=True).stdout.strip()
    said = ran(machine, "others").stdout
    made = (tmp_path / "made").read_text()
    assert f"VENV=.venv-{main} " not in made
    assert all(f"VENV=.venv-{it} " in made for it in {"3.11", "3.12", "3.13"} - {main})
    assert "not tested now " + main in said


def test_without_any_the_pythons_are_only_listed(machine: dict[str, str], tmp_path: Path) -> None:
    done = ran(machine, "none")
    assert (done.returncode, (tmp_path / "made").exists()) == (0, False)
    assert "passed none; failed none; here, not tested now 3.11 3.12" in done.stdout
    assert ran(machine, "some").stderr == "PYTHONS is all, others, newest or none, not: some\n"
