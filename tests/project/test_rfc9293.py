"""docs/rfc9293.md has a row for each requirement of RFC 9293 appendix B, and what it names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "underpass"
PAGE = (ROOT / "docs" / "rfc9293.md").read_text()
ROWS = re.findall(r"^\| ((?:MUST|SHLD|MAY|REC)-\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", PAGE, re.MULTILINE)
# RFC 9293 appendix B: what there is of each level.
LABELS = [
    *(f"MUST-{number}" for number in range(1, 70)),
    *(f"SHLD-{number}" for number in range(1, 32)),
    *(f"MAY-{number}" for number in range(1, 19)),
    "REC-1",
]


def test_each_label_has_one_row() -> None:
    assert sorted(label for label, *_ in ROWS) == sorted(LABELS)


def test_every_row_of_the_page_is_read() -> None:
    """A row that the pattern misses would be checked by nobody."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and "-|-" not in line]
    assert len(lines) - sum("what it asks" in line for line in lines) == len(ROWS)


@pytest.mark.parametrize(("label", "asks", "where", "proof"), ROWS, ids=lambda cell: cell.strip()[:8])
class TestRow:
    def test_no_cell_is_empty(self, label: str, asks: str, where: str, proof: str) -> None:
        assert all(cell.strip() for cell in (asks, where, proof))

    def test_the_procedures_exist(self, label: str, asks: str, where: str, proof: str) -> None:
        named = re.findall(r"`([\w/]+\.\w+): (\w+)`", where)
        assert named or where.strip().startswith("not done: ")
        for path, name in named:
            assert re.search(rf"\b(?:cp?def|def)\b[^\n]*\b{name}\(", (PACKAGE / path).read_text()), name

    def test_the_tests_exist(self, label: str, asks: str, where: str, proof: str) -> None:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", proof)
        assert named or where.strip().startswith("not done: ")
        for path, name in named:
            assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text(), name

    def test_only_what_may_be_left_out_is(self, label: str, asks: str, where: str, proof: str) -> None:
        """A source route is the one MUST that is given up, for RFC 7126 forbids what it asks."""
        if where.strip().startswith("not done: "):
            assert label.startswith("MAY-")
        if where.strip().startswith("given up"):
            assert label in ("MUST-51", "MUST-52", "MUST-53", "SHLD-24")
