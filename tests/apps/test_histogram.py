"""The latency histogram against sorted lists of the same values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.apps.histogram import LatencyHistogram

SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)


def exact(values: list[int], share: float) -> int:
    """The value of the nearest rank."""
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@given(st.lists(st.integers(0, 2**40 - 1), min_size=1, max_size=300), st.sampled_from(SHARES))
def test_quantiles_are_within_one_part_in_128_and_never_too_low(values: list[int], share: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    wanted = exact(values, share)
    assert wanted <= histogram.quantile(share) <= wanted + wanted // 128


@given(st.integers(0, 255))
def test_small_values_are_exact(value: int) -> None:
    histogram = LatencyHistogram()
    histogram.record(value)
    histogram.record(100_000)
    assert histogram.quantile(0.5) == value


def test_the_summary_keeps_the_extremes_exactly() -> None:
    histogram = LatencyHistogram()
    for value in (1_000_003, 17, 2_000_000_011):
        histogram.record(value)
    summary = histogram.summary()
    assert (summary["count"], summary["min"], summary["max"]) == (3, 17, 2_000_000_011)
    assert summary["mean"] == pytest.approx((1_000_003 + 17 + 2_000_000_011) / 3)


def test_values_past_the_range_count_as_the_largest() -> None:
    histogram = LatencyHistogram()
    histogram.record(2**63)
    assert histogram.summary()["count"] == 1
    assert histogram.quantile(0.5) >= 2**40 - 1


def test_empty_gives_zeros_and_a_bad_share_is_refused() -> None:
    histogram = LatencyHistogram()
    names = ("count", "mean", "min", "p50", "p90", "p99", "p99.9", "max")
    assert histogram.summary() == dict.fromkeys(names, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.quantile(50)
