"""The segment scripts: there are enough, and they say which clause they are about."""

import ast
import re
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "script"
CLAUSE = re.compile(r"(RFC \d+|draft-[a-z0-9-]+)[ ,]+[0-9(A-Z]|\b\d+\.\d+\.\d+")
SOURCE = re.compile(r"RFC \d+|draft-|Linux")
# What every state and event of RFC 9293 3.10 and its options are tried in: there, none is without.
OF_THE_STATE_MACHINE = [
    *("attacks", "closing", "cookies", "dsack", "ecn", "fast_open", "icmp", "limits", "opening", "pmtu"),
    *("prr", "rack", "receiving", "recovery", "requirements", "reset", "timestamps", "tlp", "undo", "wrap"),
]
# About a caller of the engine, or a limit of it, of which no RFC speaks.
OUR_OWN = {"test_time_that_goes_back_stands_still"}


def scripts(path: Path) -> dict[str, str]:
    """Each test of a file, with what it says of itself."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {it.name: ast.get_docstring(it) or "" for it in functions if it.name.startswith("test_")}


def test_there_are_enough() -> None:
    said = [text for path in SCRIPTS.glob("test_*.py") for text in scripts(path).values()]
    assert sum(bool(CLAUSE.search(text)) for text in said) >= 250


def test_those_of_the_state_machine_name_their_source() -> None:
    for name in OF_THE_STATE_MACHINE:
        for test, text in scripts(SCRIPTS / f"test_{name}.py").items():
            assert test in OUR_OWN or SOURCE.search(text), f"{name}: {test} names no clause"
