"""`underpass bench shield`: each row's packet takes the way that the row is named for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.bench import drop_rate, shield_cost, shield_frames
from underpass.apps.bench.shield_cost import ROWS

FEW = 1000


@pytest.fixture
def few(netns_allowed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fewer prefixes and runs: what is asked is where packets go."""
    monkeypatch.setattr(shield_cost, "PREFIXES", FEW)
    monkeypatch.setattr(shield_cost, "RUNS", FEW)
    yield


def test_every_row_has_the_verdict_that_it_names(few: None) -> None:
    report = shield_cost.measure(1, lambda line: None)
    assert [row["name"] for row in report["rows"]] == [row.name for row in ROWS]
    assert set(report["load_s"]) == {"v4", "v6"}


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in ("known", "stray", "everything")],
                         ids=lambda row: str(row.name))
def test_segments_are_counted_as_what_they_are(few: None, row: shield_cost.Row, tmp_path: Path) -> None:
    """The flow is known, the stray one is none, and without pressure nobody asks."""
    counted = {"known": "redirected_known", "stray": "dropped_stranger", "everything": "redirected_claimed"}
    shield_cost.write_lists(tmp_path)
    with shield_cost.prepared(row, tmp_path) as program:
        shield_cost.timed(program, row, row.verdict)
        assert program.counters()[counted[row.name]] == FEW


def test_a_row_whose_packet_goes_elsewhere_is_refused(few: None, tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.name == "udp")
    with shield_cost.prepared(row, tmp_path) as program, pytest.raises(OSError, match="udp: the program's"):
        shield_cost.timed(program, row, shield_cost.PASS)


def test_checksums_of_frames_are_right() -> None:
    """RFC 1071: the sum over what a checksum covers, itself included, is all ones."""
    for frame in (shield_frames.syn_v4(), shield_frames.tcp_v4(), shield_frames.udp_v4()):
        assert shield_frames.checksum(frame[14:34]) == 0


def test_goals_are_judged() -> None:
    rows = [{"what": "a", "goal_ns": 20, "ns": 20.4}, {"what": "b", "goal_ns": 20, "ns": 19.0},
            {"what": "c", "goal_ns": None, "ns": 1.0}]
    assert [cells[3] for cells in shield_cost.cells({"rows": rows})[1:]] == ["not met", "met", ""]
    loads = shield_cost.load_cells({"load_s": {"v4": 4.9, "v6": 5.1}, "load_goal_s": 5})
    assert [cells[3] for cells in loads[1:]] == ["met", "not met"]
    found = {"bare drop": {"mpps": 2.0, "core_mpps": 4.0, "of_bare": 1.0, "goal": 0.9},
             "UDP rule": {"mpps": 1.0, "core_mpps": 2.0, "of_bare": 0.5, "goal": 0.9}}
    assert [cells[5] for cells in drop_rate.cells(found)[1:]] == ["", "not met"]


def test_the_flood_comes_in_and_none_of_it_gets_through(
        netns_allowed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_rate, "OFFERED_MPPS", 0.01)
    with drop_rate.CONFIGURATIONS["deny list"]() as target:
        found = drop_rate.rate(target)
        server = target.lab.pair.server
        said = server.run("underpass", "shield", "stats", "-i", server.interface, "--json").stdout
        names, counts = server.run("grep", "^Udp:", "/proc/net/snmp").stdout.splitlines()
    assert found["mpps"] > 0 and found["core_mpps"] > 0
    assert json.loads(said)["dropped"]["interface"]["dropped_denied"]["packets"] > 0
    assert dict(zip(names.split(), counts.split(), strict=True))["NoPorts"] == "0"
