"""The manual page: complete, and right by groff's own judgement."""

import shutil
import subprocess

import pytest

from underpass.cli import COMMANDS, main, whole_parser
from underpass.cli.grammar import flags, read
from underpass.cli.man import escape

PAGES = ["", *COMMANDS]


def page(capsys: pytest.CaptureFixture[str], name: str) -> str:
    assert main(["man", *([name] if name else [])]) == 0
    return capsys.readouterr().out


def groff(roff: str) -> subprocess.CompletedProcess[str]:
    """As plain text, with every warning."""
    return subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rLL=200n"], input=roff,
                          capture_output=True, text=True, check=True)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_say(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = groff(page(capsys, name))
    assert done.stderr == ""
    assert "\nSYNOPSIS\n" in done.stdout


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_say(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(["mandoc", "-Tlint", "-W", "warning"], input=page(capsys, name),
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_page_has_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    shown = groff(page(capsys, "")).stdout
    for command in read(whole_parser()).walk():
        assert command.path in shown
        for flag in flags(command.options):
            assert flag in shown


def test_the_date_can_be_given(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert page(capsys, "ss").startswith('.TH UNDERPASS-SS 1 "1970-01-02" "underpass ')


@pytest.mark.parametrize(("words", "roff"), [
    (".start", "\\&.start"), ("'quote", "\\&'quote"), ("a-b", "a\\-b"), ("C:\\x", "C:\\ex"),
    ("plain", "plain"),
])
def test_nothing_in_a_text_is_a_request(words: str, roff: str) -> None:
    assert escape(words) == roff
