"""The figures' pictures, drawn by the commands out of a file, without measuring: their names and sizes."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from underpass.apps.bench import (
    cores_figure,
    ddos_figure,
    figure,
    offered,
    peers,
    primes_figure,
    recovery,
    workers,
)
from underpass.apps.bench.figure import Figure, Results
from underpass.cli import main
from underpass.cli.common import PICTURES
from underpass.cli.evaluation import KINDS
from underpass.testing import figures, figures_plot

FIGURES = [cores_figure.FIGURE, offered.FIGURE, primes_figure.FIGURE, *ddos_figure.FIGURES.values()]
NAMES = [one.name for one in FIGURES]
OTHERS = ("peers", "recovery", "virtual", "workers", "asyncio")
INCHES, DOTS = (5.2, 4), 130            # of a panel
SEEDS = {"median": 2.0, "min": 1.0, "max": 3.0}


def of_two_rounds(figure: Figure) -> dict[str, Any]:
    """What a file has of it: every value at every place, as if they had been measured."""
    results = Results(figure, 1)
    for turn in (1, 2):
        for name in figure.configurations:
            for place in figure.places:
                results.add(name, place, {it: turn + place for it in figure.units if it != "ratio"})
    return results.report()


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG (its first chunk is IHDR)."""
    octets = picture.read_bytes()
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack("!II", octets[16:24])
    return width, height


@pytest.fixture
def file(tmp_path: Path) -> Path:
    it = tmp_path / "figures.json"
    it.write_text(json.dumps({"figures": {one.name: of_two_rounds(one) for one in FIGURES}}))
    return it


def drawn(file: Path, kind: str, *words: str) -> dict[str, tuple[int, int]]:
    """The pictures that come of one command, and their sizes."""
    plot = file.parent / "plot.png"
    assert main(["bench", kind, "--show", "--json", str(file), "--plot", str(plot), *words]) == 0
    return {it.name: size_of(it) for it in file.parent.glob("*.png")}


def panels(one: Figure) -> tuple[int, int]:
    return round(INCHES[0] * len(one.plots) * DOTS), INCHES[1] * DOTS


def test_several_figures_are_files_by_their_names(file: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    assert drawn(file, "paper") == {f"plot-{one.name}.png": panels(one) for one in FIGURES}
    assert set(NAMES) == {"cores", "load", "cpu", "ddos-udp", "ddos-syn", "ddos-ack", "ddos-requests"}


@pytest.mark.parametrize("words", [("cores",), ("load",), ("cpu",), ("ddos", "--flood", "ack")],
                         ids=lambda words: words[-1])
def test_a_figure_by_itself_is_the_file_that_was_named(file: Path, words: tuple[str, ...]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    (one,) = [it for it in FIGURES if it.name in (words[0], f"{words[0]}-{words[-1]}")]
    assert drawn(file, *words) == {"plot.png": panels(one)}


def test_floods_are_files_by_their_names(file: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    assert set(drawn(file, "ddos", "--flood", "udp", "--flood", "syn")) == {
        "plot-ddos-udp.png", "plot-ddos-syn.png"}


@pytest.fixture
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring would take its time, and is a fault here."""
    def measured(*_: object) -> None:
        raise AssertionError("it was measured first")
    for module in (figure, figures, peers, recovery, workers):
        monkeypatch.setattr(module, "measure", measured)


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize("words", [
    *((kind,) for kind in (*OTHERS, *KINDS)),
    ("paper", "--show", "--json", "{file}"),
], ids=" ".join)
def test_matplotlib_is_asked_for_before_all_else(
    words: tuple[str, ...], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = str(file.parent / "plot.png")
    assert main(["bench", *(word.format(file=file) for word in words), "--plot", plot]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "underpass: --plot needs matplotlib: pip install 'underpass[bench]'\n"


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says whose arguments are wrong, in its only line."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.usefixtures("nothing_is_measured")
@pytest.mark.parametrize(("kind", "option", "name"), [
    *((kind, *it) for kind in (*OTHERS, *KINDS) for it in (("--json", "it.json"), ("--plot", "it.png"))),
    *((kind, "--markdown", "it.md") for kind in KINDS),
])
def test_files_that_cannot_be_written_are_named_before_all_else(
    kind: str, option: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    for file, why in ((tmp_path / name, "it is a folder"),
                      (tmp_path / "no" / name, f"there is no folder {tmp_path}/no"),
                      (tmp_path / "file" / name, f"there is no folder {tmp_path}/file")):
        assert f"'{file}' cannot be written: {why}; see" in refused([kind, option, str(file)], capsys)


@pytest.mark.usefixtures("nothing_is_measured")
def test_each_of_several_pictures_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    (tmp_path / "plot-ddos-ack.png").mkdir()
    said = refused(["paper", "--plot", str(tmp_path / "plot.png")], capsys)
    assert f"'{tmp_path}/plot-ddos-ack.png' cannot be written: it is a folder; see" in said


@pytest.mark.parametrize("name", ["plot", "plot.xyz", "plot.json"])
def test_a_picture_s_name_says_of_which_kind_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(["virtual", "--plot", str(tmp_path / name)], capsys)
    assert f"'{tmp_path}/{name}' is no picture's name: it ends in .png, .svg, .pdf; see" in said


@pytest.mark.parametrize("ending", PICTURES)
def test_every_kind_of_picture_is_drawn(ending: str, file: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    plot = file.parent / f"plot{ending}"
    assert main(["bench", "cpu", "--show", "--json", str(file), "--plot", str(plot)]) == 0
    assert plot.stat().st_size > 1000


def test_a_file_of_one_of_several_figures_gives_a_picture_by_its_name(file: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    kept = json.loads(file.read_text())["figures"]
    file.write_text(json.dumps({"figures": {"cpu": kept["cpu"]}}))
    assert set(drawn(file, "paper")) == {"plot-cpu.png"}


def test_the_virtual_network_s_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra `bench`)")
    one = {"goodput_by_loss": [SEEDS] * 2, "goodput_by_rtt": [SEEDS] * 3, "completion_ms": [SEEDS] * 2,
           "queue_kb": [1.0, 5.0, 3.0]}
    report = {"rate_mbps": 20.0, "rtt_ms": 40, "losses": [0.001, 0.01], "rtts_ms": [2, 20, 200],
              "sizes": [1000, 10000], "sample_ms": 20, "controls": {"cubic": one, "bbr": one}}
    figures_plot.plot(report, tmp_path / "virtual.png")
    assert size_of(tmp_path / "virtual.png") == (1210, 825)
