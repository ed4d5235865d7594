"""The documents say what is there: links lead somewhere, and commands and targets exist."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from underpass.cli import COMMANDS, parser_for
from underpass.stack.stack import DEFAULT_LIMITS
from underpass.testing import Conditions

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "underpass"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OPTIONS = (PACKAGE / "stack" / "options.pyx").read_text()


def command_lines(page: Path) -> list[str]:
    """The lines of a page's code blocks that run `underpass`."""
    blocks = re.findall(r"```\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("underpass ")]


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


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_on_its_page(command: str) -> None:
    assert f"`underpass {command}" in (ROOT / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("line", [line for page in PAGES for line in command_lines(page)])
def test_command_lines_that_are_shown_are_accepted(line: str) -> None:
    """By the parser: what they do is tested elsewhere."""
    words = shlex.split(line, comments=True)
    parser_for(words[1:]).parse_args(words[1:])


TESTING_PAGE = (ROOT / "docs" / "testing.md").read_text()


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", TESTING_PAGE, re.DOTALL))
def test_programs_on_the_testing_page_run(program: str) -> None:
    exec(compile(program, "docs/testing.md", "exec"), {})


def test_each_condition_of_a_link_is_on_the_testing_page() -> None:
    missing = [field.name for field in fields(Conditions) if f"`{field.name}`" not in TESTING_PAGE]
    assert missing == []


@pytest.mark.parametrize("limit", DEFAULT_LIMITS)
def test_each_limit_is_on_its_page(limit: str) -> None:
    assert f"`{limit}`" in (ROOT / "docs" / "limits.md").read_text()


@pytest.mark.parametrize("option", re.findall(r"socket\.((?:SO|TCP)_\w+)", OPTIONS))
def test_each_socket_option_is_on_its_page(option: str) -> None:
    assert f"`{option}`" in (ROOT / "docs" / "python.md").read_text()


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
