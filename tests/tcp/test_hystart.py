"""HyStart++: when the first slow start ends, by what RFC 9406 says of round trips."""

import pytest

from underpass.testing.probe_congestion import CUBIC, NEWRENO, CongestionProbe

MSS = 1000
SECOND = 10**9
NO_THRESHOLD = 2**32 - 1
both = pytest.mark.parametrize("which", [NEWRENO, CUBIC])


class SlowStart:
    """A sender that always uses its window up, a round trip at a time."""

    def __init__(self, which: int = CUBIC) -> None:
        self.control = CongestionProbe(which, mss=MSS)
        self.una = 0
        self.nxt = self.control.cwnd

    def round(self, *rtts_ms: float, ack: int = 1) -> float:
        """All that is outstanding is acknowledged, `ack` segments at a time, with these round trips in turn.

        The last round trip counts for all further ACKs. Returns by which factor the window grew.
        """
        before, end, number = self.control.cwnd, self.nxt, 0
        while self.una < end:
            rtt_ms = rtts_ms[min(number, len(rtts_ms) - 1)]
            octets = min(ack * MSS, end - self.una)
            self.una += octets
            self.control.sent(self.una, self.nxt)
            self.control.acked(octets, SECOND, rtt_us=round(rtt_ms * 1000))
            self.nxt = self.una + self.control.cwnd
            number += 1
        return self.control.cwnd / before


@both
def test_steady_round_trips_are_standard_slow_start(which: int) -> None:
    """RFC 9406 4.2: without a longer round trip nothing changes"""
    start = SlowStart(which)
    assert [start.round(20) for _ in range(6)] == [2] * 6
    assert start.control.ssthresh == NO_THRESHOLD


@both
def test_a_longer_round_trip_makes_the_growth_a_quarter(which: int) -> None:
    """RFC 9406 4.2: CSS_GROWTH_DIVISOR"""
    start = SlowStart(which)
    start.round(80)
    start.round(80)
    start.round(100)  # after eight samples of it growth is conservative
    assert start.round(100) == pytest.approx(1.25, abs=0.02)


@both
def test_five_conservative_rounds_end_slow_start(which: int) -> None:
    """RFC 9406 4.2, 4.3: CSS_ROUNDS, the one in which it began counted; ssthresh = cwnd"""
    start = SlowStart(which)
    start.round(80)
    for _ in range(4):
        start.round(100)
    assert start.control.ssthresh == NO_THRESHOLD
    start.round(100)
    assert start.control.ssthresh == pytest.approx(start.control.cwnd, rel=0.1)
    assert start.control.counters["hystart_exits"] == 1
    assert start.round(100) < 1.1


def test_noise_is_forgiven() -> None:
    """RFC 9406 4.2: a round trip under the baseline resumes slow start, and the rounds are counted anew"""
    start = SlowStart()
    start.round(80)
    start.round(100)
    start.round(100)
    start.round(80)
    assert start.round(80) == 2
    for _ in range(4):
        start.round(100)
    assert start.control.ssthresh == NO_THRESHOLD


@pytest.mark.parametrize(("base", "enough"), [(10, 4), (40, 5), (400, 16)])
def test_the_threshold_is_an_eighth_within_bounds(base: float, enough: float) -> None:
    """RFC 9406 4.3: MIN_RTT_THRESH 4 ms, MAX_RTT_THRESH 16 ms, MIN_RTT_DIVISOR 8"""
    for longer, factor in ((enough - 0.5, 2), (enough, 1.25)):
        start = SlowStart()
        start.round(base)
        start.round(base)
        start.round(base + longer)
        # Later rounds are as long as the one before, but a conservative phase goes on.
        assert start.round(base + longer) == pytest.approx(factor, abs=0.02)


def test_the_shortest_of_the_round_counts() -> None:
    """RFC 9406 4.2: currentRoundMinRTT; one short round trip shows that there is no queue"""
    start = SlowStart()
    start.round(80)
    start.round(120, 120, 81, 120)
    assert start.round(80) == 2


def test_fewer_than_eight_samples_tell_nothing() -> None:
    """RFC 9406 4.3: N_RTT_SAMPLE"""
    start = SlowStart()
    start.round(80, ack=2)
    start.control.cwnd, start.nxt = 7 * MSS, start.una + 7 * MSS
    start.round(200)
    assert start.control.cwnd == 14 * MSS


@both
def test_only_the_first_slow_start_is_watched(which: int) -> None:
    """RFC 9406 4.3: later ones know their threshold"""
    start = SlowStart(which)
    start.control.ssthresh = 10_000 * MSS
    start.round(80)
    start.round(80)
    start.round(100)
    assert start.round(100) == 2


def test_acks_without_a_sample_do_not_end_it() -> None:
    """RFC 9406 4.2: rounds without measurements compare to nothing"""
    start = SlowStart()
    for rtt_ms in (20, 0, 20, 0, 20):
        assert start.round(rtt_ms) == 2
