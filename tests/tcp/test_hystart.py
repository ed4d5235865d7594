"""HyStart++: when the first slow start ends, by what RFC 9406 says of round trips."""

import pytest

from underpass.testing.probe_congestion import CUBIC, NEWRENO, CongestionProbe

MSS = 1000
NO_THRESHOLD = 2**32 - 1
both = pytest.mark.parametrize("which", [NEWRENO, CUBIC])


class SlowStart:
    """A sender that always uses its window up, a round trip at a time."""

    def __init__(self, which: int = CUBIC) -> None:
        self.control = CongestionProbe(which, mss=MSS)
        self.una = 0
        self.nxt = self.control.cwnd
        self.now_us = 1_000_000

    def round(self, *rtts_ms: float, ack: int = 1, apart_us: int = 0, rest_us: int = 50_000) -> float:
        """All that is outstanding is acknowledged, `ack` segments at a time, with these round trips in turn.

        The last round trip counts for all further ACKs, which come `apart_us` from each other, the next round
        `rest_us` later. Returns by which factor the window grew.
        """
        before, end, number = self.control.cwnd, self.nxt, 0
        while self.una < end:
            rtt_ms = rtts_ms[min(number, len(rtts_ms) - 1)]
            octets = min(ack * MSS, end - self.una)
            self.una += octets
            self.control.sent(self.una, self.nxt)
            self.control.acked(octets, self.now_us * 1000, rtt_us=round(rtt_ms * 1000))
            self.nxt = self.una + self.control.cwnd
            self.now_us += apart_us
            number += 1
        self.now_us += rest_us
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


# ---- the ACK train

def train(
    apart_us: int, which: int = CUBIC, *, ack: int = 1, rounds: int = 8, rtt_ms: float = 40
) -> SlowStart:
    """Flights whose acknowledgments are that far apart; their first ones are a round trip apart."""
    start = SlowStart(which)
    start.control.rtt_min_us = rtt_us = round(rtt_ms * 1000)
    for _ in range(rounds):
        acks = (start.nxt - start.una + ack * MSS - 1) // (ack * MSS)
        start.round(rtt_ms, ack=ack, apart_us=apart_us, rest_us=max(rtt_us - acks * apart_us, 3000))
    return start


@both
@pytest.mark.parametrize("ack", [1, 2, 4])
def test_a_train_of_half_a_round_trip_ends_slow_start(which: int, ack: int) -> None:
    """Of a path that takes 100 segments in a round trip: the window is between that and half as much again"""
    start = train(400 * ack, which, ack=ack, rounds=5)
    assert start.control.ssthresh != NO_THRESHOLD
    assert 100 * MSS <= start.control.ssthresh <= 150 * MSS
    assert start.control.counters["hystart_exits"] == 1


def test_a_short_train_is_none() -> None:
    """Half of the path is not in flight yet"""
    start = train(400, rounds=3)
    assert start.control.cwnd == 80 * MSS
    assert start.control.ssthresh == NO_THRESHOLD


def test_a_gap_ends_the_train() -> None:
    """What follows it is no evidence: the path was idle"""
    start = train(2001)
    assert start.control.ssthresh == NO_THRESHOLD


def test_short_round_trips_have_no_trains() -> None:
    """Under 4 ms, where a pause of the receiver's is longer than half of one"""
    assert train(30, rtt_ms=3.9).control.ssthresh == NO_THRESHOLD
    assert train(30, rtt_ms=4.1).control.ssthresh != NO_THRESHOLD


def test_a_window_of_few_segments_has_no_train() -> None:
    """Linux: hystart_low_window"""
    start = train(1900, rounds=1, rtt_ms=16)
    assert start.control.ssthresh == NO_THRESHOLD or start.control.ssthresh >= 16 * MSS


def test_who_paces_has_no_train() -> None:
    """Its segments come evenly through the whole round trip, however few"""
    start = SlowStart()
    start.control.rtt_min_us = 40_000
    start.control.paced = True
    for _ in range(6):
        start.round(40, apart_us=400)
    assert start.control.ssthresh == NO_THRESHOLD


def test_a_train_ends_the_conservative_phase_too() -> None:
    """RFC 9406 4.2: CSS may last five rounds; what is known sooner counts sooner"""
    start = SlowStart()
    start.control.rtt_min_us = 40_000
    start.round(40)
    start.round(60)
    assert start.round(60) == pytest.approx(1.25, abs=0.02)
    start.round(60, apart_us=1000)
    assert start.control.ssthresh != NO_THRESHOLD
