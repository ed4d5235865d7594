"""The virtual network's figures: whole, the same each time, and drawn."""

import json

import pytest

from underpass.testing import figures
from underpass.testing.figures_plot import plot


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(figures, "SECONDS", 1)
    monkeypatch.setattr(figures, "SEEDS", (1, 2))
    monkeypatch.setattr(figures, "LOSSES", (0.001, 0.05))
    monkeypatch.setattr(figures, "RTTS_MS", (10,))
    monkeypatch.setattr(figures, "SIZES", (1_000, 100_000))


def test_every_control_has_every_figure_and_the_picture_is_drawn(quick, tmp_path):
    said = []
    report = figures.measure(said.append)
    assert {"newreno", "cubic"} <= set(said) == set(report["controls"])
    for control in report["controls"].values():
        lines = ("goodput_by_loss", "goodput_by_rtt", "completion_ms")
        assert [len(control[name]) for name in lines] == [2, 1, 2]
        assert len(control["queue_kb"]) == 50 and max(control["queue_kb"]) > 0
        assert 0 < control["goodput_by_loss"][1]["median"] < control["goodput_by_loss"][0]["median"] <= 20
        assert 2 * figures.RTT_MS > control["completion_ms"][0]["min"] > figures.RTT_MS
    assert json.loads(json.dumps(report)) == json.loads(json.dumps(figures.measure(said.append)))
    assert len(figures.table(report)) == 3 * (1 + len(report["controls"])) + len(report["controls"])
    pytest.importorskip("matplotlib")
    plot(report, tmp_path / "figures.png")
    assert (tmp_path / "figures.png").read_bytes().startswith(b"\x89PNG")
