"""What long-running commands say: a line for people, or an object of stable names for programs."""

import io
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from underpass.cli import main
from underpass.log import LEVELS, Event, Log, stamp

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "operator.md").read_text()
SOURCES = [path for path in (ROOT / "src" / "underpass").rglob("*.py") if path.name != "log.py"]
CODE = "\n".join(path.read_text() for path in SOURCES)
ROW = re.compile(r"^\| `(\w+)` \| (?:debug|info|warning|error) .*$", re.MULTILINE)


def said(form: str, *words: object, **fields: object) -> str:
    stream = io.StringIO()
    Log(form, stream, now=lambda: 1795881421.1234)(*words, **fields)    # type: ignore[arg-type]
    return stream.getvalue()


def test_text_is_the_message_in_one_line() -> None:
    assert said("text", "worker 1\nserves", Event.WORKER_SERVES, worker=1) == "worker 1 serves\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_written_in_one_piece(form: str) -> None:
    """Where nothing is buffered (PYTHONUNBUFFERED), another process's line would stand in the middle."""
    class Written(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, octets: Any) -> int:
            pieces.append(bytes(octets))
            return len(octets)

    pieces: list[bytes] = []
    stream = io.TextIOWrapper(cast("Any", Written()), encoding="utf-8", write_through=True)
    Log(form, stream)("worker 1 serves", Event.WORKER_SERVES, worker=1)
    (piece,) = filter(None, pieces)
    assert piece.endswith(b"\n")


def test_details_are_for_programs_alone() -> None:
    assert said("text", "port 80 is claimed", Event.CLAIM, port=80) == ""
    assert json.loads(said("json", "port 80 is claimed", Event.CLAIM, port=80))["level"] == "debug"


def test_who_asks_for_troubles_alone_hears_of_nothing_else() -> None:
    stream = io.StringIO()
    log = Log(stream=stream, least="warning")
    log("draining", Event.DRAIN)
    log("worker 1 was killed", Event.WORKER_DIED)
    log("no such interface", Event.FAILED)
    assert stream.getvalue() == "worker 1 was killed\nno such interface\n"


def test_json_has_time_level_event_message_and_fields() -> None:
    line = said("json", "worker 1 was killed", Event.WORKER_DIED, worker=1, queues=(1, 3), reason="killed")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "time": "2026-11-28T15:57:01.123Z", "level": "warning", "event": "worker_died",
        "message": "worker 1 was killed", "worker": 1, "queues": [1, 3], "reason": "killed"}


def test_time_is_rounded_to_milliseconds() -> None:
    assert stamp(0.9996) == "1970-01-01T00:00:01.000Z"


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="a log is text or json, not 'xml'"):
        Log("xml")


def test_a_full_disk_and_a_closed_stream_are_counted_and_end_nothing() -> None:
    with open("/dev/full", "w") as full:
        log = Log("json", full)
        for _ in range(3):
            log("tick")
        assert log.lost == 3
        full.close = lambda: None       # type: ignore[method-assign]
    stream = io.StringIO()
    closed = Log("text", stream)
    stream.close()
    closed("tick")
    assert closed.lost == 1


def test_an_error_is_an_event_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none")
    assert main(["serve", missing, "-i", "none-such", "--log-format", "json"]) == 1
    event = json.loads(capsys.readouterr().err)
    assert (event["event"], event["level"], event["command"]) == ("failed", "error", "serve")
    assert event["message"] == event["reason"]


@pytest.mark.parametrize("event", Event)
def test_every_event_is_used_and_in_the_guide(event: Event) -> None:
    assert f"Event.{event.name}" in CODE or event is Event.NOTE
    assert re.search(rf"^\| `{event}` \| {LEVELS.get(event, 'info')} \|", GUIDE, re.MULTILINE)


def test_every_field_is_in_the_guide() -> None:
    rows = {found[1]: found[0] for found in ROW.finditer(GUIDE)}
    calls = re.findall(r"Event\.(\w+),((?:[^()]|\([^()]*\))*)\)", CODE)
    assert len(calls) > 20
    for name, arguments in calls:
        for field in re.findall(r"(?:^|[\s,])(\w+)=", arguments):
            assert f"`{field}`" in rows[Event[name]], (name, field)
