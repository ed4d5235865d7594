"""What bash completes, asked of bash itself; and that zsh takes the script."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from underpass.cli import COMMANDS, main, whole_parser
from underpass.cli.grammar import flags, read

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What bash offers behind a line; the line's last word is completed."""
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "site.toml").write_text("")
    (tmp_path / "www").mkdir()

    def ask(line: str) -> list[str]:
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        asked = (f"set -u; source {script}; complete -p underpass >/dev/null; "
                 f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _underpass; "
                 'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True, check=True,
                              cwd=tmp_path)
        assert done.stderr == ""
        return done.stdout.split()

    return ask


def test_commands(complete: Complete) -> None:
    assert complete("underpass ") == list(COMMANDS)
    assert complete("underpass s") == ["serve", "ss", "stats", "shield"]
    assert complete("underpass --v") == ["--version"]
    kinds = ["peers", "recovery", "virtual", "workers", "shield", "cores", "load", "cpu", "ddos", "paper",
             "asyncio"]
    assert complete("underpass bench ") == kinds


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command(complete: Complete, name: str) -> None:
    for command in read(whole_parser()).walk():
        if command.path.startswith(f"underpass {name}"):
            assert complete(f"{command.path} --") == [flag for flag in flags(command.options)
                                                      if flag.startswith("--")]


def test_values(complete: Complete) -> None:
    assert complete("underpass serve --mode ") == ["auto", "native", "generic"]
    assert complete("underpass serve site --congestion c") == ["cubic"]
    assert sorted(complete("underpass serve -i ")) == sorted(os.listdir("/sys/class/net"))
    assert sorted(complete("underpass serve --config ")) == ["completion", "site.toml", "www"]
    assert complete("underpass serve ") == ["www"]
    assert complete("underpass serve --port ") == []
    assert complete("underpass check si") == ["site.toml"]
    assert complete("underpass bench peers --plot si") == ["site.toml"]
    assert complete("underpass completion ") == ["bash", "zsh"]


def test_words_of_filters(complete: Complete) -> None:
    assert complete("underpass ss state est") == ["established"]
    assert complete("underpass ss -tan sp") == ["sport"]
    assert complete("underpass stats r") == ["refused"]


def test_an_option_of_another_command_is_not_offered(complete: Complete) -> None:
    assert complete("underpass stats --mode") == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_its_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    done = subprocess.run(["zsh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_and_option_is_in_the_zsh_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef underpass\n")
    for command in read(whole_parser()).walk():
        body = script.split(f"_{command.path.replace(' ', '_')}() {{\n")[1].split("\n}\n")[0]
        for flag in flags(command.options):
            assert f"'{flag}[" in body
