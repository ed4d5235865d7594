"""What a figure's command says of a file that it cannot show, or add to; and that it then writes nothing."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from underpass.apps.bench import figure_file, primes_figure
from underpass.apps.bench.figure import Results
from underpass.cli import main

RIGHT = "`underpass bench paper --json FILE` writes such a file, as do cores, load, cpu, ddos"


def report() -> dict[str, Any]:
    """Figure 4 of two rounds, as the file has it."""
    results = Results(primes_figure.FIGURE, 1)
    for value in (7.0, 8):
        results.add("kernel sockets", 100, {"requests_per_s": value})
    written: dict[str, Any] = json.loads(json.dumps(results.report()))
    return written


def without(name: str, inside: str = "") -> dict[str, Any]:
    """The same without a member."""
    found = copy.deepcopy(report())
    del (found[inside] if inside else found)[name]
    return found


def refused(file: Path, *words: str) -> str:
    """What a command says that gives up before it measures, and leaves nothing behind."""
    before = sorted(file.parent.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words, "--json", str(file), "--markdown", str(file.parent / "out.md")])
    assert ended.value.code == 2
    assert sorted(file.parent.iterdir()) == before
    return str(file)


@pytest.mark.parametrize("kind", ["cores", "load", "cpu", "ddos", "paper"])
def test_a_file_that_is_not_there_is_not_shown(kind: str, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    file = refused(tmp_path / "absent.json", kind, "--show")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (f"underpass bench {kind}: {file} does not exist; {RIGHT};"
                        f" see underpass bench {kind} --help\n")


@pytest.mark.parametrize("option", ["--show", "--add"])
@pytest.mark.parametrize(("content", "why"), [
    ("", "Expecting value: line 1 column 1 (char 0)"),
    ("[]", "the whole is not an object"),
    ("{}", "the whole has no 'figures'"),
    ({"figures": []}, "figures is not an object"),
    ({"figures": {"cores": {"seconds": 1, "configurations": {}}}}, "figures.cores has no 'figure'"),
    ({"figures": {"cpu": without("what")}}, "figures.cpu has no 'what'"),
    ({"figures": {"cpu": without("processor", "machine")}}, "figures.cpu.machine has no 'processor'"),
    ({"figures": {"cpu": report() | {"seconds": "3"}}}, "figures.cpu.seconds is not a number"),
    ({"figures": {"cpu": report() | {"seconds": True}}}, "figures.cpu.seconds is not a number"),
    ({"figures": {"load": report()}}, "figures.load is of figure 'cpu'"),
    ({"figures": {"cpu": report() | {"configurations": {"a": {"path": "", "failures": [1], "places": {}}}}}},
     "figures.cpu.configurations.a.failures[0] is not a text"),
    ({"figures": {"cpu": report() | {"configurations": {"a": {
        "path": "", "failures": [], "places": {"100": {"rounds": [], "values": {"x": {"rounds": 1}}}}}}}}},
     "figures.cpu.configurations.a.places.100.values.x has no 'mean'"),
    ({"figures": {"cpu": report() | {"configurations": {"a": {
        "path": "", "failures": [], "places": {"low": {"rounds": [], "values": {}}}}}}}},
     "place 'low' of 'a' in figures.cpu is not a number"),
])
def test_a_file_of_another_kind_is_said_to_be_so(option: str, content: object, why: str, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    before = file.read_bytes()
    refused(file, "cpu", option)
    assert file.read_bytes() == before
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (f"underpass bench cpu: {file} holds no figures: {why}; {RIGHT};"
                        " see underpass bench cpu --help\n")


def test_a_file_of_other_figures_says_which_it_has(tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"figures": {"cpu": report()}}))
    refused(file, "ddos", "--flood", "udp", "--flood", "syn", "--show")
    assert f"{file} has nothing of ddos-udp, ddos-syn, but of: cpu;" in capsys.readouterr().err


def test_a_part_of_what_is_wanted_is_shown_and_the_rest_named(tmp_path: Path,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "figures.json", tmp_path / "page.md"
    file.write_text(json.dumps({"figures": {"cpu": report()}}))
    assert main(["bench", "paper", "--show", "--json", str(file), "--markdown", str(page)]) == 0
    said = capsys.readouterr()
    assert said.err == f"{file} has nothing of cores, load, ddos-udp, ddos-syn, ddos-ack, ddos-requests\n"
    assert "7.5 +- 0.5" in said.out
    assert "| kernel sockets | 7.5 +- 0.5 |" in page.read_text()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"figures": {"cpu": report()}}))
    assert figure_file.read(file) == {"cpu": report()}
