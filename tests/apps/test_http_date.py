"""HTTP dates: RFC 9110 5.6.7."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_http import format_date, format_log_date, parse_date

SECONDS = st.integers(0, 253402300799)
NOW = 1_700_000_000


@given(SECONDS)
def test_written_as_the_calendar_says_and_read_back(seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    assert format_date(seconds) == format_datetime(moment, usegmt=True)
    assert format_log_date(seconds) == moment.strftime("%d/%b/%Y:%H:%M:%S +0000")
    assert parse_date(format_date(seconds).encode()) == seconds


@pytest.mark.parametrize("text", [
    b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994",
])
def test_the_three_formats(text):
    assert parse_date(text, NOW) == 784111777


def test_a_two_digit_year_lies_at_most_fifty_years_ahead():
    assert parse_date(b"Wednesday, 01-Jan-70 00:00:00 GMT", NOW) == 3155760000      # 2070
    assert parse_date(b"Thursday, 01-Jan-76 00:00:00 GMT", NOW) == 189302400        # 1976, not 2076


@pytest.mark.parametrize("text", [
    b"", b"0", b"Sun, 32 Nov 1994 08:49:37 GMT", b"Sun, 29 Feb 1995 08:49:37 GMT",
    b"Sun, 06 Now 1994 08:49:37 GMT",
    b"Sun, 06 Nov 1994 24:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 CET", b"Sun, 06 Nov 1969 08:49:37 GMT",
    b"Sun, 06-Nov-1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08.49.37 GMT", b"Sun Nov  0 08:49:37 1994",
])
def test_what_is_no_date(text):
    assert parse_date(text, NOW) == -1


@given(st.binary(max_size=40))
def test_any_octets(octets):
    assert parse_date(octets, NOW) >= -1
