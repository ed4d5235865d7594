"""ss's filter language, as far as it is spoken here."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.observe.filters import ALL, DEFAULT, parse

WEB = {"state": "ESTABLISHED", "local": "10.0.0.2", "local_port": 80, "remote": "10.1.2.3",
       "remote_port": 40000}
WEB6 = {"state": "ESTABLISHED", "local": "fd00::2", "local_port": 443, "remote": "fd00::1",
        "remote_port": 50000}
HALF = {"state": "SYN-RECEIVED", "local": "10.0.0.2", "local_port": 80, "remote": "192.0.2.9",
        "remote_port": 1}
WAIT = {"state": "TIME-WAIT", "local": "10.0.0.2", "local_port": 80, "remote": "192.0.2.9", "remote_port": 2}
LISTEN = {"state": "LISTEN", "local": "0.0.0.0", "local_port": 80}
ROWS: list[dict[str, Any]] = [WEB, WEB6, HALF, WAIT, LISTEN]


def shown(text: str) -> list[dict[str, Any]]:
    """The rows that a filter lets through."""
    chosen = parse(text.split())
    return [row for row in ROWS if chosen.accepts(row)]


@pytest.mark.parametrize(("text", "rows"), [
    ("", [WEB, WEB6]),
    ("state established", [WEB, WEB6]),
    ("state listening", [LISTEN]),
    ("state listen state time-wait", [WAIT, LISTEN]),
    ("state all", ROWS),
    ("state connected", [WEB, WEB6, HALF, WAIT]),
    ("state synchronized exclude time-wait", [WEB, WEB6, HALF]),
    ("state bucket", [HALF, WAIT]),
    ("state big", [WEB, WEB6, LISTEN]),
    ("exclude established", [HALF, WAIT, LISTEN]),
    ("state all sport = :80", [WEB, HALF, WAIT, LISTEN]),
    ("state all sport = 80", [WEB, HALF, WAIT, LISTEN]),
    ("state all sport == :http", [WEB, HALF, WAIT, LISTEN]),
    ("state all sport != :80", [WEB6]),
    ("state all dport >= :40000", [WEB, WEB6]),
    ("state all dport gt :40000", [WEB6]),
    ("state all dport < :2 and sport = :80 and not state", None),
    ("state all dport < :2 and dport > :0", [HALF]),
    ("dst 10.0.0.0/8", [WEB]),
    ("dst 10.9.9.9/8", [WEB]),
    ("dst = 10.1.2.3:40000", [WEB]),
    ("dst 10.1.2.3:40001", []),
    ("dst != 10.1.2.3", [WEB6]),
    ("state all dst != 10.1.2.3", [WEB6, HALF, WAIT, LISTEN]),
    ("dst [fd00::1]:50000", [WEB6]),
    ("dst [fd00::]/8", [WEB6]),
    ("dst fd00::/16", [WEB6]),
    ("src fd00::2%eth0", [WEB6]),
    ("src *:443", [WEB6]),
    ("src :443", [WEB6]),
    ("state all ( sport = :443 or dst 192.0.2.9 ) and not dport = :2", [WEB6, HALF]),
    ("state all (sport=:443 | dst 192.0.2.9) & !dport=:2", [WEB6, HALF]),
    ("state all sport = :80 dst 192.0.2.0/24 or sport = :443", [WEB6, HALF, WAIT]),
    ("not not dst 10.0.0.0/8", [WEB]),
])
def test_what_is_shown(text: str, rows: list[dict[str, Any]] | None) -> None:
    if rows is None:
        with pytest.raises(ValueError, match="'state' is no condition"):
            shown(text)
    else:
        assert shown(text) == rows


@pytest.mark.parametrize(("text", "said"), [
    ("state open", "'open' is no state of a connection; states are established, "),
    ("state", "the filter ends where the name of a state ought to follow"),
    ("sport", "sport is compared with a port: `sport = :80`"),
    ("sport :80", "sport is compared with a port"),
    ("sport =", "the filter ends where a port ought to follow"),
    ("sport = :eighty", "'eighty' is not a port: 0 to 65535, or the name of a service"),
    ("sport = :65536", "'65536' is not a port"),
    ("dst", "the filter ends where an address ought to follow"),
    ("dst example.org", "'example.org' is no address: give one like 10.0.0.2, "),
    ("dst 10.0.0.1/33", "'10.0.0.1/33' is no address"),
    ("dst > 10.0.0.1", "dst is compared by = or !=, not by >"),
    ("uid = 0", "'uid' is no condition; conditions are sport, dport, src, dst"),
    ("( sport = :80", "the filter ends where ')' ought to follow"),
    ("( sport = :80 dst", "the filter ends where an address ought to follow"),
    ("sport = :80 )", "in the filter, ')' stands where it should end"),
    ("sport = :80 and", "the filter ends where a condition ought to follow"),
    ("not", "the filter ends where a condition ought to follow"),
    ("( " * 60 + "sport = :80", "the filter is nested deeper than 50 times"),
])
def test_what_is_wrong_is_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text.split())
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_the_default_is_that_of_ss() -> None:
    assert parse([]).states == DEFAULT
    assert parse([], ALL).states == ALL
    assert parse(["state", "closing"], ALL).states == {"CLOSING"}


WORDS = st.sampled_from(["state", "exclude", "all", "sport", "dst", "=", "!=", "<", "!", "not", "and", "or",
                         "(", ")", ":80", "10.0.0.0/8", "[", "]", "[::1]:80", "%", "/", "", "=:80",
                         "\0", "٣"])


@given(st.lists(WORDS | st.text(max_size=8), max_size=12))
def test_any_words_are_a_filter_or_one_line(words: list[str]) -> None:
    try:
        chosen = parse(words)
    except ValueError as error:
        assert str(error)
    else:
        for row in ROWS:
            chosen.accepts(row)
