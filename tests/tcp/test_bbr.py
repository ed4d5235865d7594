"""BBR version 3 (draft-ietf-ccwg-bbr): the model, the state machine, what losses do, by samples made up."""

import itertools

import pytest

from underpass.testing.probe_bbr import NO_LIMIT, NO_RATE, BbrProbe

MS = 10**6
SECOND = 10**9
MSS = 1000
BW = 1_000_000  # octets a second; with a round trip of 100 ms the BDP is 100 segments
BDP = 100 * MSS


def rounds(bbr: BbrProbe, count: int, rate: int = BW, every_ns: int = 100 * MS, **fields: int) -> None:
    """So many round trips, one sample each."""
    for _ in range(count):
        bbr.now_ns += every_ns
        bbr.sample(rate, **fields)


def filled(**options: int) -> BbrProbe:
    """A connection that has filled the pipe, and drains it."""
    bbr = BbrProbe(**options)
    bbr.in_flight = 3 * BDP
    rounds(bbr, 4)
    return bbr


def cruising(longterm: int = NO_LIMIT) -> BbrProbe:
    """A connection in ProbeBW, with no probe for the next two seconds."""
    bbr = filled()
    bbr.in_flight = BDP // 2
    rounds(bbr, 3, every_ns=MS)
    assert bbr.phase == "cruise"
    bbr.set(rounds_since_probe=0, probe_rtt_min_ns=bbr.now_ns, cycle_ns=bbr.now_ns)
    bbr.cwnd = 2 * BDP
    bbr.bound(inflight_longterm=longterm)
    return bbr


def probing(longterm: int = NO_LIMIT) -> BbrProbe:
    """A connection in ProbeBW_UP, all of whose samples are of the probe."""
    bbr = cruising(longterm)
    bbr.set(rounds_since_probe=63)
    rounds(bbr, 2, every_ns=MS)
    assert bbr.phase == "up"
    return bbr


# ------------------------------------------------------------------------- Startup


def test_startup_paces_at_the_initial_window_in_a_round_trip() -> None:
    """5.6.2, InitPacingRate: 2.77 times"""
    bbr = BbrProbe(rtt_us=100_000)
    assert bbr.phase == "startup"
    assert bbr.pacing_rate == pytest.approx(2.773 * 10 * MSS / 0.1, rel=0.001)


def test_startup_without_a_round_trip_takes_a_millisecond() -> None:
    """5.6.2, until there is one"""
    bbr = BbrProbe(rtt_us=0)
    assert bbr.pacing_rate == pytest.approx(2.773 * 10 * MSS / 0.001, rel=0.001)


def test_startup_raises_rate_and_window_with_what_is_delivered() -> None:
    """5.3.1.1, 5.6.4.6"""
    bbr = BbrProbe()
    rounds(bbr, 1, rate=200_000, acked=10 * MSS)
    assert bbr.pacing_rate == pytest.approx(2.773 * 0.99 * 200_000, rel=0.001)
    assert bbr.cwnd == 20 * MSS
    rounds(bbr, 1, rate=400_000, acked=20 * MSS)
    assert bbr.cwnd == 40 * MSS


def test_startups_rate_never_falls() -> None:
    """5.6.2: what is measured before the pipe is full is no bound"""
    bbr = BbrProbe()
    before = bbr.pacing_rate
    rounds(bbr, 1, rate=1000, app_limited=1)
    assert bbr.pacing_rate == before


def test_startup_ends_after_three_rounds_without_growth() -> None:
    """5.3.1.2"""
    bbr = BbrProbe()
    bbr.in_flight = 3 * BDP
    rounds(bbr, 3)
    assert (bbr.phase, bbr.model["full_bw_count"]) == ("startup", 2)
    rounds(bbr, 1)
    assert bbr.model["full_bw_reached"]
    assert bbr.phase == "drain"


def test_growth_by_a_quarter_starts_the_count_anew() -> None:
    """5.3.1.2"""
    bbr = BbrProbe()
    rate = BW
    for _ in range(10):
        rounds(bbr, 1, rate=rate)
        rate = rate * 5 // 4 + 1
        rounds(bbr, 2, rate=rate - 10)
    assert bbr.phase == "startup"


def test_startup_does_not_end_while_the_application_limits() -> None:
    """5.3.1.2, appendix: never exiting when application-limited with no loss"""
    bbr = BbrProbe()
    rounds(bbr, 50, app_limited=1)
    assert bbr.phase == "startup"


def lossy_round(bbr: BbrProbe, places: int) -> None:
    for _ in range(places):
        bbr.sample(BW, new_round=False, newly_lost=MSS, app_limited=1)
    bbr.now_ns += 100 * MS
    bbr.sample(BW, lost=20 * MSS, inflight=BDP, app_limited=1, delivered=80 * MSS)


def test_startup_ends_by_losses_in_many_places() -> None:
    """5.3.1.3: also where the application limits; inflight_longterm is what the round trip delivered"""
    bbr = BbrProbe()
    rounds(bbr, 1, app_limited=1)
    bbr.recover("fast")
    bbr.in_flight = 3 * BDP
    lossy_round(bbr, 6)
    assert bbr.phase == "drain"
    assert bbr.model["inflight_longterm"] == pytest.approx(BDP, rel=0.01)


@pytest.mark.parametrize(("places", "recovery"), [(4, "fast"), (6, None), (6, "timeout")])
def test_startup_goes_on_where_losses_are_few_or_not_recovered(places: int, recovery: str | None) -> None:
    """5.3.1.3"""
    bbr = BbrProbe()
    rounds(bbr, 1, app_limited=1)
    bbr.recover(recovery)
    lossy_round(bbr, places)
    assert bbr.phase == "startup"


def test_without_sack_one_loss_in_recovery_ends_startup() -> None:
    """5.3.1.3: no more than one is ever seen in a round trip"""
    bbr = BbrProbe(sack=False)
    rounds(bbr, 1)
    bbr.recover("fast")
    bbr.in_flight = 3 * BDP
    rounds(bbr, 1, lost=MSS)
    assert bbr.phase == "drain"


# ------------------------------------------------------------------------- Drain


def test_drain_paces_slowly_until_the_queue_is_empty() -> None:
    """5.3.2"""
    bbr = filled()
    assert bbr.phase == "drain"
    assert bbr.model["pacing_gain"] == 0.5
    bbr.in_flight = BDP + MSS
    rounds(bbr, 1)
    assert bbr.phase == "drain"
    bbr.in_flight = BDP
    rounds(bbr, 1)
    assert bbr.phase in ("down", "cruise")


def test_drain_ends_after_three_rounds_in_any_case() -> None:
    """5.3.2: the bandwidth may have been overestimated"""
    bbr = filled()
    rounds(bbr, 3)
    assert bbr.phase == "drain"
    rounds(bbr, 1)
    assert bbr.phase == "down"


# ------------------------------------------------------------------------- ProbeBW


def test_the_gains_of_each_phase() -> None:
    """5.6.1"""
    gains = {}
    bbr = filled()
    gains[bbr.phase] = bbr.model["pacing_gain"], bbr.model["cwnd_gain"]
    bbr.in_flight = 2 * BDP
    rounds(bbr, 5)
    gains[bbr.phase] = bbr.model["pacing_gain"], bbr.model["cwnd_gain"]
    bbr.in_flight = BDP // 2
    rounds(bbr, 1)
    gains[bbr.phase] = bbr.model["pacing_gain"], bbr.model["cwnd_gain"]
    bbr.set(rounds_since_probe=63)
    for _ in range(2):
        rounds(bbr, 1)
        gains[bbr.phase] = bbr.model["pacing_gain"], bbr.model["cwnd_gain"]
    assert gains == {
        "drain": (0.5, 2), "down": (pytest.approx(0.9), 2), "cruise": (1, 2), "refill": (1, 2),
        "up": (1.25, 2.25),
    }  # fmt: skip


def test_down_goes_on_until_there_is_headroom() -> None:
    """5.3.3.1: 15 % under inflight_longterm, and no queue"""
    bbr = filled()
    bbr.in_flight = BDP - MSS
    bbr.bound(inflight_longterm=BDP)
    rounds(bbr, 1)
    rounds(bbr, 3, every_ns=MS)
    assert bbr.phase == "down"
    bbr.in_flight = BDP * 84 // 100
    rounds(bbr, 1, every_ns=MS, inflight=MSS)
    assert bbr.phase == "cruise"


def test_down_that_finds_no_headroom_ends_with_the_next_probe() -> None:
    """5.3.3.8; appendix: exiting PROBE_DOWN after max time"""
    bbr = filled()
    bbr.in_flight = 2 * BDP
    rounds(bbr, 4)
    assert bbr.phase == "down"
    rounds(bbr, 1, every_ns=3 * SECOND)
    assert bbr.phase == "refill"


def test_a_probe_comes_after_two_to_three_seconds() -> None:
    """5.3.3.8, PickProbeWait"""
    waits = set()
    for start in range(20):
        bbr = filled(now_ns=SECOND + start)
        bbr.in_flight = BDP // 2
        rounds(bbr, 1)
        waits.add(bbr.model["probe_wait_ns"])
    assert all(2 * SECOND <= wait < 3 * SECOND for wait in waits)
    assert len(waits) > 10


def test_a_probe_comes_as_soon_as_a_reno_of_this_size_would_lose() -> None:
    """5.3.3.8, IsRenoCoexistenceProbeTime: here 63 round trips, fewer where the BDP has fewer segments"""
    bbr = cruising()
    rounds(bbr, 62, every_ns=MS)
    assert bbr.phase == "cruise"
    rounds(bbr, 1, every_ns=MS)
    assert bbr.phase == "refill"
    small = cruising()
    small.set(bw_filter=[BW // 10, 0], max_bw=BW // 10, bw=BW // 10)
    rounds(small, 10, rate=BW // 10, every_ns=MS)
    assert small.phase == "refill"


def test_refill_takes_a_round_trip_and_forgets_the_short_term() -> None:
    """5.3.3.3"""
    bbr = cruising()
    bbr.bound(bw_shortterm=BW // 2, inflight_shortterm=BDP // 2)
    bbr.set(rounds_since_probe=63)
    rounds(bbr, 1, every_ns=MS)
    assert bbr.phase == "refill"
    assert (bbr.model["bw_shortterm"], bbr.model["inflight_shortterm"]) == (NO_RATE, NO_LIMIT)
    bbr.sample(BW, new_round=False)
    assert bbr.phase == "refill"
    rounds(bbr, 1, every_ns=MS)
    assert bbr.phase == "up"


def test_up_ends_where_bandwidth_stops_to_grow() -> None:
    """5.3.3.7 (1)"""
    bbr = probing()
    bbr.in_flight = BDP
    rounds(bbr, 2, every_ns=MS)
    assert bbr.phase == "up"
    rounds(bbr, 1, every_ns=MS)
    assert bbr.phase == "down"
    assert not bbr.model["probe_too_high"]


def test_up_goes_on_while_the_application_limits() -> None:
    """Appendix: never exiting PROBE_UP when application-limited with no loss"""
    bbr = probing()
    rounds(bbr, 40, every_ns=MS, app_limited=1)
    assert bbr.phase == "up"


def test_up_raises_inflight_longterm_twice_as_fast_each_round() -> None:
    """5.3.3.5: by 1, 2, 4, 8 ... segments a round trip, while it holds the window back"""
    bbr = probing(longterm=BDP)
    grown = []
    for number in range(5):
        before = bbr.model["inflight_longterm"]
        bbr.in_flight = bbr.cwnd = before
        rounds(bbr, 1, rate=BW << number, every_ns=MS, acked=before, inflight=0)
        grown.append((bbr.model["inflight_longterm"] - before) // MSS)
    assert grown == sorted(grown)
    assert grown[0] in (1, 2)
    assert all(late / early == pytest.approx(2, abs=0.7) for early, late in itertools.pairwise(grown))
    assert bbr.phase == "up"


def test_a_bound_that_does_not_hold_the_window_back_does_not_grow() -> None:
    """5.3.3.9, ProbeInflightLongtermUpward"""
    bbr = probing(longterm=10 * BDP)
    bbr.in_flight = BDP // 2
    for _ in range(2):
        rounds(bbr, 1, every_ns=MS, inflight=MSS)
    assert bbr.model["inflight_longterm"] == 10 * BDP


def test_too_many_losses_end_up_and_set_inflight_longterm() -> None:
    """5.5.10.2: at the octet with which they came to more than 2 %, by more than chance"""
    bbr = probing()
    bbr.lose_frame(BDP, lost_since=2 * MSS)
    assert bbr.phase == "up"
    bbr.lose_frame(BDP, lost_since=9 * MSS)
    assert bbr.phase == "down"
    assert bbr.model["probe_too_high"]
    expected = (BDP - MSS) + (0.02 * (BDP - MSS) - 9 * MSS) / 0.98
    assert bbr.model["inflight_longterm"] == pytest.approx(expected, abs=2)


def test_inflight_longterm_falls_by_three_tenths_at_most() -> None:
    """5.5.10.2: as CUBIC's window does"""
    bbr = probing()
    bbr.lose_frame(20 * MSS, lost_since=19 * MSS)
    assert bbr.model["inflight_longterm"] == pytest.approx(0.7 * min(BDP, bbr.cwnd), rel=0.01)


def test_a_probe_reacts_once() -> None:
    """5.5.10.2"""
    bbr = probing()
    bbr.lose_frame(BDP, lost_since=9 * MSS)
    before = bbr.model["inflight_longterm"]
    bbr.lose_frame(BDP, lost_since=60 * MSS)
    assert bbr.model["inflight_longterm"] == before


def test_losses_of_what_the_application_limited_end_up_but_set_no_bound() -> None:
    """5.5.10.2"""
    bbr = probing()
    bbr.lose_frame(20 * MSS, lost_since=19 * MSS, app_limited=True)
    assert bbr.phase == "down"
    assert bbr.model["inflight_longterm"] == NO_LIMIT


def test_a_mark_ends_a_probe_as_losses_do() -> None:
    """RFC 3168 5"""
    bbr = probing()
    bbr.marked(90 * MSS)
    assert bbr.phase == "down"
    assert bbr.model["inflight_longterm"] == 90 * MSS


def test_after_a_probe_that_lost_the_next_one_stops_at_the_bound() -> None:
    """5.3.3.6: precautionary bandwidth probing"""
    bbr = probing(longterm=BDP)
    bbr.set(probe_too_high=True)
    bbr.bound(inflight_longterm=BDP)
    bbr.in_flight = BDP
    rounds(bbr, 1, every_ns=MS, inflight=BDP)
    assert bbr.phase == "down"
    assert bbr.model["probe_precautionary"]
    rounds(bbr, 1, every_ns=MS)
    assert bbr.phase == "refill"
    assert not bbr.model["probe_precautionary"]


def test_the_bandwidth_of_two_cycles_is_remembered() -> None:
    """5.5.6: one round trip after Up the filter moves on"""
    bbr = probing()
    bbr.in_flight = BDP
    rounds(bbr, 3, every_ns=MS)
    assert bbr.phase == "down"
    rounds(bbr, 1, rate=BW // 2, every_ns=MS)
    assert (bbr.model["bw_filter"], bbr.model["max_bw"]) == ([0, BW], BW)
    rounds(bbr, 1, rate=BW // 2, every_ns=MS)
    assert (bbr.model["bw_filter"], bbr.model["max_bw"]) == ([BW // 2, BW], BW)


def test_the_applications_own_rate_is_no_bandwidth_unless_it_is_higher() -> None:
    """5.5.4"""
    bbr = cruising()
    rounds(bbr, 1, rate=BW // 3, every_ns=MS, app_limited=1)
    assert bbr.model["max_bw"] == BW
    rounds(bbr, 1, rate=2 * BW, every_ns=MS, app_limited=1)
    assert bbr.model["max_bw"] == 2 * BW


# ------------------------------------------------------------------------- losses while not probing


def test_a_round_with_many_losses_brings_the_bounds_to_what_was_delivered() -> None:
    """5.5.10.3: but not below 0.7 of what they were"""
    bbr = cruising()
    rounds(bbr, 1, every_ns=MS)
    cwnd = bbr.cwnd
    bbr.lose_frame(BDP, lost_since=30 * MSS)
    rounds(bbr, 1, rate=BW * 9 // 10, every_ns=MS, delivered=50 * MSS)
    assert bbr.model["bw_shortterm"] in (BW, BW * 9 // 10)
    assert bbr.model["bw"] == bbr.model["bw_shortterm"]
    assert bbr.model["inflight_shortterm"] == max(int(cwnd * 0.7), 50 * MSS)


def test_the_bounds_fall_by_three_tenths_each_round_at_most() -> None:
    """5.5.10.3"""
    bbr = cruising()
    for number in range(1, 4):
        bbr.lose_frame(BDP, lost_since=30 * MSS)
        rounds(bbr, 2, rate=1000, every_ns=MS)
        assert bbr.model["bw_shortterm"] >= BW * 0.7**number * 0.99
    assert bbr.model["bw_shortterm"] < BW // 2


def test_a_round_with_few_losses_changes_nothing() -> None:
    """2.6: what a path may lose (LossThresh); the pacing margin alone would lower the rate round by round"""
    bbr = cruising()
    rounds(bbr, 1, every_ns=MS)
    bbr.lose_frame(BDP)
    rounds(bbr, 2, rate=BW * 9 // 10, every_ns=MS, acked=BDP)
    assert bbr.model["bw_shortterm"] == NO_RATE


def test_losses_while_probing_leave_the_short_term_alone() -> None:
    """5.5.10.3, IsProbingBW"""
    bbr = BbrProbe()
    rounds(bbr, 1)
    bbr.lose_frame(BDP, lost_since=50 * MSS)
    rounds(bbr, 2, rate=BW // 2)
    assert bbr.model["bw_shortterm"] == NO_RATE


def test_cruise_keeps_headroom_under_inflight_longterm() -> None:
    """5.6.4.7"""
    bbr = cruising(longterm=80 * MSS)
    rounds(bbr, 1, every_ns=MS, inflight=MSS, acked=50 * MSS)
    assert bbr.cwnd == 80 * MSS * 85 // 100


# ------------------------------------------------------------------------- recovery, timeouts, undo


def test_a_timeout_leaves_a_segment_and_the_window_comes_back_after_it() -> None:
    """5.6.4.4"""
    bbr = cruising()
    cwnd = bbr.cwnd
    bbr.in_flight = 0
    bbr.timed_out()
    assert bbr.cwnd == MSS
    bbr.recover("timeout")
    rounds(bbr, 1, every_ns=MS)
    assert bbr.cwnd == 4 * MSS
    bbr.recover(None)
    rounds(bbr, 1, every_ns=MS)
    assert bbr.cwnd >= min(cwnd, int(1.9 * BDP))


def test_what_a_recovery_for_nothing_changed_is_taken_back() -> None:
    """5.5.11"""
    bbr = probing(longterm=3 * BDP)
    cwnd = bbr.cwnd
    bbr.lose_frame(BDP, lost_since=30 * MSS)
    bbr.recover("fast")
    assert bbr.phase == "down"
    assert bbr.model["inflight_longterm"] < BDP
    bbr.cwnd = 10 * MSS
    bbr.undo()
    assert bbr.model["inflight_longterm"] == 3 * BDP
    assert bbr.cwnd >= cwnd
    assert bbr.phase == "refill"


def test_a_startup_that_ended_for_nothing_begins_again() -> None:
    """5.5.11"""
    bbr = BbrProbe()
    rounds(bbr, 1, app_limited=1)
    bbr.lose_frame(BDP, lost_since=9 * MSS)
    bbr.recover("fast")
    bbr.in_flight = 3 * BDP
    lossy_round(bbr, 6)
    assert bbr.phase == "drain"
    bbr.undo()
    assert bbr.phase == "startup"
    assert not bbr.model["full_bw_reached"]
    assert bbr.model["inflight_longterm"] == NO_LIMIT


def test_a_phase_that_ended_for_another_reason_does_not_come_back() -> None:
    """5.5.11: undo_state is None"""
    bbr = cruising()
    bbr.lose_frame(BDP, lost_since=30 * MSS)
    bbr.undo()
    assert bbr.phase == "cruise"


# ------------------------------------------------------------------------- ProbeRTT


def to_probe_rtt(bbr: BbrProbe) -> None:
    bbr.now_ns = bbr.model["probe_rtt_min_ns"] + 5 * SECOND + 1
    bbr.in_flight = BDP
    bbr.sample(BW, rtt_us=120_000, app_limited=1)


def test_probe_rtt_comes_after_five_seconds_without_a_shorter_round_trip() -> None:
    """5.3.4.3, 5.6.4.5: half of the BDP in flight"""
    bbr = cruising()
    to_probe_rtt(bbr)
    assert bbr.phase == "probe rtt"
    assert bbr.cwnd == BDP // 2


def test_probe_rtt_takes_200_ms_and_a_round_trip_and_then_cruises() -> None:
    """5.3.4.4, 5.3.4.5"""
    bbr = cruising()
    cwnd = bbr.cwnd
    to_probe_rtt(bbr)
    bbr.in_flight = BDP // 2
    bbr.sample(BW // 2, new_round=False)
    bbr.now_ns += 199 * MS
    bbr.sample(BW // 2)
    assert bbr.phase == "probe rtt"
    bbr.now_ns += 2 * MS
    bbr.sample(BW // 2)
    assert bbr.phase == "cruise"
    assert bbr.cwnd >= cwnd


def test_a_shorter_round_trip_puts_probe_rtt_off() -> None:
    """5.3.4.3"""
    bbr = cruising()
    for _ in range(4):
        rounds(bbr, 1, every_ns=3 * SECOND, rtt_us=bbr.model["min_rtt_us"] - 1)
        assert bbr.phase != "probe rtt"


def test_probe_rtt_during_startup_returns_to_startup() -> None:
    """5.3.4.5; appendix: entering and exiting PROBE_RTT during STARTUP"""
    bbr = BbrProbe()
    rounds(bbr, 1, app_limited=1)
    to_probe_rtt(bbr)
    assert bbr.phase == "probe rtt"
    bbr.in_flight = 0
    rounds(bbr, 3, every_ns=201 * MS, app_limited=1)
    assert bbr.phase == "startup"


def test_the_shortest_round_trip_is_forgotten_after_ten_seconds() -> None:
    """5.5.7.2"""
    bbr = cruising()
    assert bbr.model["min_rtt_us"] == 100_000
    for _ in range(60):
        bbr.in_flight = BDP // 4
        rounds(bbr, 1, every_ns=250 * MS, rtt_us=150_000)
    assert bbr.model["min_rtt_us"] == 150_000


# ------------------------------------------------------------------------- idleness, aggregation, small paths


def test_after_idleness_it_goes_on_at_the_bandwidth_and_puts_probe_rtt_off() -> None:
    """5.4.1; appendix: skipping PROBE_RTT due to application-limited sending"""
    bbr = probing()
    assert bbr.pacing_rate == pytest.approx(1.25 * 0.99 * BW, rel=0.01)
    bbr.in_flight = 0
    bbr.now_ns += 6 * SECOND
    bbr.restarted()
    assert bbr.pacing_rate == pytest.approx(0.99 * BW, rel=0.01)
    bbr.sample(BW, rtt_us=120_000)
    assert bbr.phase != "probe rtt"
    assert not bbr.model["idle_restart"]


def test_what_began_without_a_pause_is_no_restart() -> None:
    """5.4.1: only where the application had nothing to send"""
    bbr = probing()
    bbr.restarted(app_limited=False)
    assert not bbr.model["idle_restart"]


def test_probe_rtt_may_end_while_nothing_is_sent() -> None:
    """5.4.1"""
    bbr = cruising()
    to_probe_rtt(bbr)
    bbr.in_flight = 0
    bbr.sample(BW // 2, new_round=False)
    bbr.now_ns += SECOND
    bbr.restarted()
    assert bbr.phase == "cruise"


def test_acks_in_heaps_widen_the_window_by_what_they_run_ahead() -> None:
    """5.5.9"""
    bbr = cruising()
    rounds(bbr, 1, every_ns=500 * MS, acked=MSS)
    for _ in range(30):
        bbr.sample(BW, new_round=False, acked=MSS)
    extra = max(bbr.model["extra_acked"])
    assert extra == pytest.approx(31 * MSS, rel=0.05)
    assert bbr.cwnd > 2 * BDP


def test_what_acks_ran_ahead_is_forgotten_after_ten_rounds() -> None:
    """5.5.9, ExtraAckedFilterLen"""
    bbr = cruising()
    for _ in range(30):
        bbr.sample(BW, new_round=False, acked=MSS)
    rounds(bbr, 11)
    assert max(bbr.model["extra_acked"]) < 5 * MSS


def test_the_window_holds_four_segments_at_least() -> None:
    """2.7, MinPipeCwnd; appendix: sub-packet BDPs"""
    bbr = BbrProbe(rtt_us=1000)
    rounds(bbr, 20, rate=1000, every_ns=MS, rtt_us=1000)
    assert bbr.phase != "startup"
    assert bbr.cwnd >= 4 * MSS


def test_the_window_holds_three_quanta_at_least() -> None:
    """5.5.8, 5.6.3: a millisecond's worth, or two segments"""
    bbr = BbrProbe(rtt_us=100)
    bbr.cwnd = 300 * MSS
    rounds(bbr, 8, rate=50_000_000, every_ns=MS // 10, rtt_us=100, acked=50 * MSS)
    assert bbr.cwnd >= 3 * 0.5 * 0.99 * 50_000


def test_a_segment_leaves_in_each_round_trip_however_little_was_measured() -> None:
    """Samples from an outage must not stop the stream after it"""
    bbr = BbrProbe()
    rounds(bbr, 30, rate=300)
    assert bbr.phase != "startup"
    assert bbr.pacing_rate == MSS * 10


def test_rates_that_no_path_has_do_no_harm() -> None:
    """An ACK that comes a nanosecond after what it acknowledges"""
    bbr = BbrProbe()
    rounds(bbr, 6, rate=2**60, every_ns=3600 * SECOND)
    assert bbr.cwnd <= 2**30
    assert bbr.pacing_rate < 2**63
