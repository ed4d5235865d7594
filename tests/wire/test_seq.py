"""Sequence numbers compare on a circle (RFC 9293 3.4)."""

from hypothesis import given
from hypothesis import strategies as st

from underpass.testing import probe_wire

POINT = st.integers(0, 2**32 - 1)
HALF = st.integers(1, 2**31 - 1)


@given(POINT, HALF)
def test_a_point_is_before_those_less_than_half_the_circle_ahead(point: int, ahead: int) -> None:
    later = (point + ahead) % 2**32
    assert probe_wire.compare(point, later) == (True, True, False, ahead, later)
    assert probe_wire.compare(later, point)[:3] == (False, False, True)
    assert probe_wire.compare(later, point)[4] == later


def test_at_the_wrap() -> None:
    assert probe_wire.compare(0xFFFFFFFF, 0) == (True, True, False, 1, 0)
    assert probe_wire.compare(0, 0xFFFFFFFF) == (False, False, True, 0xFFFFFFFF, 0)


@given(POINT)
def test_a_point_is_neither_before_nor_after_itself(point: int) -> None:
    assert probe_wire.compare(point, point) == (False, True, False, 0, point)


@given(POINT, st.integers(0, 2**32 - 1))
def test_a_window_holds_its_first_point_and_not_its_end(start: int, length: int) -> None:
    assert probe_wire.within(start, start, length) == (length > 0)
    assert not probe_wire.within((start + length) % 2**32, start, length)
    if length:
        assert probe_wire.within((start + length - 1) % 2**32, start, length)
