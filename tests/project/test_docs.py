"""The documents say what is there: links lead somewhere, and commands and targets exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "underpass"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_tree_that_are_named_exist(page: Path) -> None:
    folders = "src|tests|tools|fuzz|bench|examples|docs"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    blocks = "\n".join(re.findall(r"```.*?```|`[^`]*`", page.read_text(), re.DOTALL))
    named = re.findall(r"(?:^|`)make (?:\w+=\S+ )*([a-z-]+)", blocks, re.MULTILINE)
    assert set(named) <= targets


TCP_PAGE = (ROOT / "docs" / "tcp.md").read_text()
TCP_ROWS = re.findall(r"^\| (RFC \d+[^|]*) \|[^|]*\| ([^|]*) \|$", TCP_PAGE, re.MULTILINE)


@pytest.mark.parametrize(("specifications", "files"), TCP_ROWS, ids=lambda cell: cell[:24])
def test_each_specification_is_cited_where_the_page_says(specifications: str, files: str) -> None:
    for path in re.findall(r"`([\w./]+)`", files):
        text = (PACKAGE / path).read_text()
        assert any(number in text for number in re.findall(r"RFC \d+", specifications)), path


def test_each_specification_that_tcp_cites_has_a_row() -> None:
    code = "".join(path.read_text() for path in (PACKAGE / "tcp").rglob("*.pyx"))
    missing = set(re.findall(r"RFC \d+", code)) - set(re.findall(r"RFC \d+", TCP_PAGE))
    assert sorted(missing) == []
