"""The retransmission timeout against the formulas of RFC 6298."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_secrets import RttProbe

MAX_US = 120_000_000
GRANULARITY_US = 1000


def test_begins_with_one_second() -> None:
    """RFC 6298 2.1."""
    assert RttProbe().rto_us == 1_000_000


def test_first_sample() -> None:
    """RFC 6298 2.2: SRTT = R, RTTVAR = R / 2, RTO = SRTT + 4 * RTTVAR."""
    rtt = RttProbe()
    rtt.sample(40_000)
    assert (rtt.srtt_us, rtt.rttvar_us, rtt.rto_us) == (40_000, 20_000, 120_000)


@given(st.lists(st.integers(0, 200_000_000), min_size=1, max_size=50), st.sampled_from([0, 200_000]))
def test_agrees_with_the_formulas(samples: list[int], rto_min: int) -> None:
    """RFC 6298 2.2 to 2.5, within what whole microseconds round off."""
    rtt, srtt, rttvar = RttProbe(), 0.0, 0.0
    for count, measured in enumerate(samples):
        rtt.sample(measured, rto_min)
        sample = min(max(measured, 1), MAX_US)
        if count == 0:
            srtt, rttvar = sample, sample / 2
        else:
            rttvar = 0.75 * rttvar + 0.25 * abs(srtt - sample)
            srtt = 0.875 * srtt + 0.125 * sample
        assert rtt.srtt_us == pytest.approx(srtt, abs=2)
        assert rtt.rttvar_us == pytest.approx(rttvar, abs=4)
        rto = min(max(srtt + max(GRANULARITY_US, 4 * rttvar), rto_min), MAX_US)
        assert rtt.rto_us == pytest.approx(rto, abs=20)
    assert rtt.rtt_min_us == min(max(min(samples), 1), MAX_US)


@given(st.lists(st.integers(0, 60), min_size=30, max_size=80))
def test_microseconds_stay_above_the_minimum_and_the_granularity(samples: list[int]) -> None:
    """On a local network the variation counts for no less than G (RFC 6298 2.3), and the minimum decides."""
    bounded, free = RttProbe(), RttProbe()
    for sample in samples:
        bounded.sample(sample, 200_000)
        free.sample(sample)
        assert bounded.rto_us == 200_000
        assert GRANULARITY_US < free.rto_us <= GRANULARITY_US + 4 * 60 + 60


def test_backoff_doubles_up_to_the_maximum_and_ends_with_a_sample() -> None:
    """RFC 6298 5.5 and the note on Karn's algorithm in 5."""
    rtt = RttProbe()
    rtt.sample(100_000, 200_000)
    base = rtt.rto_us
    for times in range(256):
        rtt.back_off(times)
        assert rtt.rto_us == min(base * 2**times, MAX_US)
    rtt.sample(100_000, 200_000)
    assert rtt.rto_us <= base


def test_a_lost_syn_begins_the_transfer_with_three_seconds_unless_a_sample_is_there() -> None:
    """RFC 6298 5.7."""
    without, sampled = RttProbe(), RttProbe()
    without.syn_lost()
    assert without.rto_us == 3_000_000
    sampled.sample(10_000, 200_000)
    sampled.syn_lost()
    assert sampled.rto_us == 200_000
