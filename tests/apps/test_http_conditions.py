"""Preconditions and ranges: RFC 9110 13 and 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_http import format_date, select

TAG = b'"a-1"'
CHANGED, SIZE, NOW = 1_600_000_000, 1000, 1_700_000_000
SAME, EARLIER, LATER = (format_date(CHANGED + offset) for offset in (0, -1, 1))
WHOLE = (200, 0, SIZE)


def ask(*fields: str, method: str = "GET", size: int = SIZE) -> tuple[int, int, int]:
    head = "".join(f"{each}\r\n" for each in (f"{method} / HTTP/1.1", "Host: a", *fields, ""))
    return select(head.encode(), TAG, CHANGED, size, NOW)


@pytest.mark.parametrize(("value", "status"), [
    ('"a-1"', 304), ('W/"a-1"', 304), ("*", 304), ('"x", "a-1"', 304), ('"x,y",W/"a-1" ,', 304),
    ('"x"', 200), ('"a-1', 200),
    ("a-1", 200), ('"a-12"', 200), ('x, "a-1"', 200), ("*, *", 200), (", ,", 200),
])
def test_if_none_match_compares_weakly(value, status):
    """RFC 9110 13.1.2"""
    assert ask(f"If-None-Match: {value}")[0] == status


@pytest.mark.parametrize(("value", "status"), [('"a-1"', 200), ("*", 200), ('"x", "a-1"', 200),
    ('W/"a-1"', 412), ('"x"', 412)])
def test_if_match_compares_strongly(value, status):
    """RFC 9110 13.1.1"""
    assert ask(f"If-Match: {value}")[0] == status


@pytest.mark.parametrize(("field", "status"), [
    (f"If-Modified-Since: {SAME}", 304), (f"If-Modified-Since: {LATER}", 304),
    (f"If-Modified-Since: {EARLIER}", 200),
    ("If-Modified-Since: yesterday", 200), (f"If-Unmodified-Since: {SAME}", 200),
    (f"If-Unmodified-Since: {EARLIER}", 412),
])
def test_dates(field, status):
    """RFC 9110 13.1.3, 13.1.4"""
    assert ask(field)[0] == status


def test_tags_go_before_dates():
    """RFC 9110 13.2.2"""
    assert ask('If-None-Match: "x"', f"If-Modified-Since: {SAME}")[0] == 200
    assert ask('If-Match: "a-1"', f"If-Unmodified-Since: {EARLIER}")[0] == 200
    assert ask('If-Match: "x"', 'If-None-Match: "a-1"')[0] == 412


@pytest.mark.parametrize(("value", "chosen"), [
    ("bytes=0-0", (206, 0, 1)), ("bytes=0-", (206, 0, 1000)), ("bytes=990-2000", (206, 990, 1000)),
    ("bytes=-1", (206, 999, 1000)),
    ("bytes=-5000", (206, 0, 1000)), ("Bytes=5-9", (206, 5, 10)), ("bytes=999-999", (206, 999, 1000)),
    ("bytes=0-99999999999999999999999", (206, 0, 1000)),
    ("bytes=1000-", (416, 0, SIZE)), ("bytes=99999999999999999999999-", (416, 0, SIZE)),
    ("bytes=-0", (416, 0, SIZE)),
    ("bytes=5-4", WHOLE), ("bytes=-", WHOLE), ("bytes=", WHOLE), ("bytes", WHOLE), ("bytes=a-b", WHOLE),
    ("lines=0-1", WHOLE),
    ("bytes=0-1,5-6", WHOLE), ("bytes=0-1 ", (206, 0, 2)), ("bytes= 0-1", WHOLE), ("bytes=1", WHOLE),
])
def test_ranges(value, chosen):
    """RFC 9110 14.1.2, 14.2, 15.5.17: what does not parse, or is several ranges, is ignored"""
    assert ask(f"Range: {value}") == chosen


def test_ranges_of_an_empty_file():
    assert ask("Range: bytes=0-", size=0)[0] == 416
    assert ask("Range: bytes=-5", size=0) == (200, 0, 0)


def test_a_range_is_for_get_alone():
    """RFC 9110 14.2"""
    assert ask("Range: bytes=0-0", method="HEAD") == WHOLE


@pytest.mark.parametrize(("value", "status"), [
    ('"a-1"', 206), ('W/"a-1"', 200), ('"x"', 200), ('"a-1", "b"', 200), (SAME, 206), (EARLIER, 200),
    (LATER, 200), ("x", 200),
])
def test_if_range(value, status):
    """RFC 9110 13.1.5"""
    assert ask("Range: bytes=0-0", f"If-Range: {value}")[0] == status


def test_a_field_sent_twice_counts_as_not_sent():
    assert ask("Range: bytes=0-0", "Range: bytes=1-1") == WHOLE


@given(st.sampled_from(["If-Match", "If-None-Match", "If-Range", "Range", "If-Modified-Since"]),
       st.text(st.sampled_from('"W/*, abytes=-0159'), max_size=20), st.integers(0, 20))
def test_any_value_gives_octets_of_the_file(field, value, size):
    status, first, end = ask(f"{field}: {value}", "Range: bytes=2-3", size=size)
    assert status in (200, 206, 304, 412, 416)
    assert 0 <= first <= end <= size
