"""The command line's frame: help, errors in one line, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from underpass.cli import COMMANDS, main
from underpass.cli.common import duration, size


def underpass(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "underpass.cli", *words], capture_output=True, text=True,
                          check=False, timeout=60)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line on stderr of a command that failed."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def test_help_names_every_command_and_what_it_does() -> None:
    done = underpass("--help")
    assert done.returncode == 0
    for name, purpose in COMMANDS.items():
        assert name in done.stdout
        assert purpose.split()[0] in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: underpass {name}" in capsys.readouterr().out


def test_help_does_not_load_what_it_does_not_need() -> None:
    code = ("import sys, underpass.cli; underpass.cli.parser_for(['--help']); "
            "print(sorted(m for m in sys.modules if m.split('.')[0] in ('rich', 'asyncio')))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("words", "said"), [
    (["fly"], "invalid choice: 'fly'"), ([], "required: COMMAND"), (["bench"], "required: KIND"),
    (["serve", "."], "required: --interface/-i"), (["stats", "--nope"], "unrecognized arguments: --nope"),
    (["serve", ".", "-i", "lo", "--port", "65536"], "'65536' is not a port, 1 to 65535"),
    (["bench", "peers", "--json", "/nowhere/it"], "'/nowhere/it' cannot be written"),
    (["bench", "peers", "--plot", "/"], "'/' cannot be written"),
])
def test_wrong_arguments_are_one_line_that_says_where_to_read(words: list[str], said: str) -> None:
    done = underpass(*words)
    assert done.returncode == 2
    assert said in one_line(done)
    assert done.stderr.endswith(" --help\n")


@pytest.mark.parametrize("command", ["ss", "stats"])
def test_a_process_that_is_no_worker_is_named(command: str) -> None:
    assert "process 1 is no worker of Underpass; " in one_line(underpass(command, "--pid", "1"))


def test_an_error_is_one_line_and_names_the_way_out() -> None:
    said = one_line(underpass("load", "http://127.0.0.1/", "--interface", "eth9"))
    assert said.startswith("underpass: interface eth9 does not exist; interfaces here: ")
    assert " lo" in said


def test_a_row_that_does_not_exist_names_those_that_do() -> None:
    said = one_line(underpass("bench", "peers", "--only", "everything"))
    assert "no row 'everything'; rows are keep-alive, " in said


@pytest.mark.parametrize(("words", "said"), [
    (["https://192.0.2.1/"], "not an http URL"), (["http:///x"], "not an http URL"),
    (["http://192.0.2.1:99999/"], "not a URL"),
    (["http://192.0.2.1/", "--rate", "fast"], "'fast' is not a number"),
    (["http://192.0.2.1/", "-c", "0"], "0 is not above zero"),
    (["http://192.0.2.1/", "-c", "1.5"], "not a whole number"),
    (["http://192.0.2.1/", "--source", "192.0.2.9-192.0.2.1"], "not a range of addresses"),
    (["http://192.0.2.1/", "--source", "nobody"], "does not appear to be an IPv4 or IPv6 address"),
])
def test_bad_arguments_of_load_say_what_is_wrong(words: list[str], said: str,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["load", *words, "--interface", "lo"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(f"{sys.executable} -m underpass.cli bench peers --rows | head -1", shell=True,
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(("ns", "text"), [(870, "870 ns"), (41_340, "41.3 us"), (2_100_000, "2.10 ms"),
                                          (1.5e9, "1.50 s"), (123_456, "123 us")])
def test_durations_read_well(ns: float, text: str) -> None:
    assert duration(ns) == text


@pytest.mark.parametrize(("octets", "text"), [(512, "512 B"), (1536, "1.50 KiB"), (64 * 2**20, "64.0 MiB")])
def test_sizes_read_well(octets: float, text: str) -> None:
    assert size(octets) == text
