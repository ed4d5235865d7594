"""NewReno and CUBIC, by what their RFCs say of the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_congestion import (
    CUBIC,
    DCTCP,
    LARGEST_WINDOW,
    NEWRENO,
    CongestionProbe,
    initial_window,
)

MSS = 1000
SECOND = 10**9
both = pytest.mark.parametrize("which", [NEWRENO, CUBIC])


def one_round_trip(control: CongestionProbe, now_ns: int, rtt_ns: int) -> int:
    """Acknowledge a window's worth of octets, two segments an ACK, evenly spaced; returns the time after."""
    window = control.cwnd
    for sent in range(0, window, 2 * MSS):
        control.acked(min(2 * MSS, window - sent), now_ns + rtt_ns * sent // window)
    return now_ns + rtt_ns


def test_the_table_and_its_default() -> None:
    assert [CongestionProbe(which).name for which in (NEWRENO, CUBIC, 77)] == ["reno", "cubic", "reno"]


@pytest.mark.parametrize(("mss", "window"), [(536, 5360), (1460, 14600), (2000, 14600), (8940, 17880)])
def test_initial_window(mss: int, window: int) -> None:
    """RFC 6928 2."""
    assert initial_window(mss) == window


@both
def test_slow_start_doubles_each_round_trip(which: int) -> None:
    """RFC 5681 3.1, by octets (RFC 3465 2.2)."""
    control = CongestionProbe(which)
    for _ in range(5):
        window = control.cwnd
        one_round_trip(control, 0, SECOND)
        assert control.cwnd == 2 * window


@both
def test_one_ack_opens_the_window_by_l_segments_at_most_and_by_one_after_a_timeout(which: int) -> None:
    """RFC 9406 4.3, RFC 3465 2.3."""
    control = CongestionProbe(which)
    window = control.cwnd
    control.acked(100 * MSS)
    assert control.cwnd == window + 96 * MSS
    control.timed_out(20 * MSS)
    control.recover_from_timeout(True)
    control.acked(100 * MSS)
    assert control.cwnd == 2 * MSS


def test_newreno_avoids_congestion_by_a_segment_each_round_trip() -> None:
    """RFC 5681 3.1, RFC 3465 2.1."""
    control = CongestionProbe(NEWRENO)
    control.cwnd = control.ssthresh = 50 * MSS
    for round_trip in range(1, 20):
        one_round_trip(control, 0, SECOND)
        assert control.cwnd == pytest.approx((50 + round_trip) * MSS, abs=MSS)


@pytest.mark.parametrize(("which", "factor"), [(NEWRENO, 0.5), (CUBIC, 0.7)])
def test_a_loss_takes_the_window_down_by_the_factor(which: int, factor: float) -> None:
    """RFC 5681 3.1, equation 4; RFC 9438 4.6."""
    control = CongestionProbe(which)
    control.cwnd = 100 * MSS
    control.lost(100 * MSS)
    assert control.cwnd == control.ssthresh == pytest.approx(factor * 100 * MSS, abs=1)
    control.timed_out(60 * MSS)
    assert control.ssthresh == pytest.approx(factor * 60 * MSS, abs=1)
    assert control.cwnd == MSS


@both
def test_the_threshold_is_two_segments_at_least(which: int) -> None:
    """RFC 5681 3.1, equation 4; RFC 9438 4.6."""
    control = CongestionProbe(which)
    control.lost(1)
    assert control.cwnd == control.ssthresh == 2 * MSS


@pytest.mark.parametrize("rtt_ms", [50, 100])
def test_cubic_follows_its_curve(rtt_ms: int) -> None:
    """RFC 9438 4.2: W(t) = C * (t - K)^3 + W_max, concave to W_max and convex beyond."""
    control, now = CongestionProbe(CUBIC, rtt_us=rtt_ms * 1000), 5 * SECOND
    w_max = 2000.0
    control.cwnd = 2000 * MSS
    control.lost(2000 * MSS, now)
    k = ((w_max - 1400) / 0.4) ** (1 / 3)
    epoch = now
    while (t := (now - epoch) / SECOND) < 1.8 * k:
        # The window that the curve has a round trip ahead is what an ACK steps towards.
        assert control.cwnd / MSS == pytest.approx(0.4 * (t - k) ** 3 + w_max, rel=0.02)
        now = one_round_trip(control, now, rtt_ms * 10**6)
    assert control.cwnd > 2000 * MSS


def test_cubic_is_no_slower_than_reno_where_round_trips_are_short() -> None:
    """RFC 9438 4.3: alpha is 0.53 segments a round trip until the old window, and 1 from there."""
    control, now, rtt = CongestionProbe(CUBIC, rtt_us=200), SECOND, 200_000
    control.cwnd = 40 * MSS
    control.lost(40 * MSS, now)
    for round_trip in range(60):
        below = 28 + round_trip * 9 / 17
        expected = below if below < 40 else 40 + (round_trip - 12 * 17 / 9)
        assert control.cwnd / MSS == pytest.approx(expected, rel=0.05)
        now = one_round_trip(control, now, rtt)


def test_cubic_gives_way_when_its_window_shrinks() -> None:
    """Fast convergence (RFC 9438 4.7): the second peak is under the first, so W_max is set lower still."""
    def window_after(second_peak: int) -> int:
        control = CongestionProbe(CUBIC, rtt_us=100_000)
        control.cwnd = 2000 * MSS
        control.lost(2000 * MSS, SECOND)
        control.cwnd = second_peak * MSS
        control.lost(1500 * MSS, 2 * SECOND)
        now = 2 * SECOND
        while now < 12 * SECOND:
            now = one_round_trip(control, now, SECOND // 10)
        return control.cwnd

    assert window_after(1999) < window_after(2001) * 0.95


def test_cubic_begins_anew_after_a_timeout() -> None:
    """RFC 9438 4.8: W_max is where congestion avoidance begins, so the window grows at once and convexly."""
    control = CongestionProbe(CUBIC)
    control.cwnd = 2000 * MSS
    control.timed_out(2000 * MSS, SECOND)
    control.cwnd = control.ssthresh
    now = start = 2 * SECOND
    while now < start + 5 * SECOND:
        now = one_round_trip(control, now, SECOND // 10)
    assert control.cwnd / MSS == pytest.approx(1400 + 0.4 * 5**3, rel=0.02)


def test_time_without_use_is_no_growth() -> None:
    """RFC 9438 5.8: an hour of little use does not open the window by its cube."""
    busy, idle = (CongestionProbe(CUBIC, rtt_us=100_000) for _ in range(2))
    for control, pause in ((busy, 0), (idle, 3600 * SECOND)):
        control.cwnd = 100 * MSS
        control.lost(100 * MSS, SECOND)
        now = SECOND
        for round_trip in range(40):
            now = one_round_trip(control, now, SECOND // 10)
            now += pause if round_trip == 20 else 0
    assert idle.cwnd == pytest.approx(busy.cwnd, rel=0.05)


@both
def test_growth_stops_at_the_largest_window(which: int) -> None:
    """RFC 7323 2.3: no window is larger than 1 GiB."""
    control = CongestionProbe(which, mss=65000)
    control.cwnd = LARGEST_WINDOW - 10
    for second in range(50):
        control.acked(2**32 - 1, second * SECOND)
    assert control.cwnd == LARGEST_WINDOW
    control.ssthresh = MSS
    for second in range(50, 100):
        control.acked(2**32 - 1, second * SECOND)
    assert control.cwnd == LARGEST_WINDOW


u32 = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**63)
steps = st.lists(st.tuples(st.sampled_from(["acked", "lost", "timed_out"]), u32, times), max_size=60)


@given(st.sampled_from([NEWRENO, CUBIC]), st.integers(1, 65495), st.integers(0, 120_000_000), steps)
def test_no_sequence_of_events_takes_the_window_out_of_bounds(
    which: int, mss: int, rtt_us: int, steps: list[tuple[str, int, int]]
) -> None:
    """One segment at least and 1 GiB at most (but where the threshold is more), and ACKs never close it."""
    control = CongestionProbe(which, mss=mss, rtt_us=rtt_us)
    for step, octets, now in steps:
        window = control.cwnd
        getattr(control, step)(min(octets, LARGEST_WINDOW), now)
        assert mss <= control.cwnd <= LARGEST_WINDOW
        if step == "acked":
            assert control.cwnd >= min(window, LARGEST_WINDOW)
        else:
            assert control.ssthresh >= 2 * mss


@pytest.mark.parametrize("by", ["lost", "timed_out"])
def test_cubic_goes_on_where_a_spurious_loss_broke_it_off(by: str) -> None:
    """RFC 9438 4.9."""
    disturbed, other = CongestionProbe(CUBIC), CongestionProbe(CUBIC)
    now = 0
    for control in (disturbed, other):
        control.cwnd = 100 * MSS
        control.lost(100 * MSS)
        now = one_round_trip(control, SECOND, SECOND)
    cwnd, ssthresh = disturbed.cwnd, disturbed.ssthresh
    getattr(disturbed, by)(cwnd, now)
    disturbed.cwnd, disturbed.ssthresh = cwnd, ssthresh
    disturbed.undo()
    for control in (disturbed, other):
        one_round_trip(control, now, SECOND)
    assert disturbed.cwnd == other.cwnd


def dctcp_window(control: CongestionProbe, marked: float, una: int) -> int:
    """One observation window: 40 ACKs of one segment each, this share with ECE; returns SND.UNA."""
    for number in range(40):
        control.sent(una, una + 40 * MSS)
        control.acknowledged(MSS, marked=number < marked * 40)
        una += MSS
    return una


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dctcp_reduces_by_half_of_the_share_of_marks(share: float) -> None:
    """RFC 8257 3.3: alpha becomes the share, with a gain of 1/16; cwnd = cwnd * (1 - alpha / 2)"""
    control = CongestionProbe(DCTCP)
    una = 0
    for _ in range(100):
        una = dctcp_window(control, share, una)
    control.cwnd = 100 * MSS
    dctcp_window(control, share, una)
    assert control.cwnd == pytest.approx(100 * MSS * (1 - share / 2), rel=0.03)


def test_dctcp_without_marks_keeps_its_window() -> None:
    """RFC 8257 3.3: alpha falls by a sixteenth a window, and a late mark costs little"""
    control = CongestionProbe(DCTCP)
    control.cwnd = 100 * MSS
    una = 0
    for _ in range(80):
        una = dctcp_window(control, 0, una)
    assert control.cwnd == 100 * MSS
    dctcp_window(control, 1 / 40, una)
    assert control.cwnd > 98 * MSS


def test_dctcp_answers_losses_as_newreno() -> None:
    """RFC 8257 3.5"""
    control = CongestionProbe(DCTCP)
    control.lost(100 * MSS)
    assert control.cwnd == 50 * MSS
