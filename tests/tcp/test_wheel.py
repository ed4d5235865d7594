"""The timing wheel against a plain table of deadlines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_wheel import TICK_NS, WheelProbe

ENTRIES = 24
YEAR_NS = 365 * 86400 * 10**9

# Steps and deadlines of every size that a level of the wheel has, and their edges.
spans = st.one_of(
    st.integers(0, 3 * TICK_NS),
    st.integers(0, 300 * TICK_NS),
    st.integers(0, 70_000 * TICK_NS),
    st.integers(0, 20_000_000 * TICK_NS),
    st.integers(0, 10 * YEAR_NS),
    st.sampled_from([2**bits * TICK_NS + edge for bits in (0, 8, 16, 24, 32) for edge in (-1, 0, 1)]),
)
starts = st.one_of(st.just(0), st.integers(0, 100 * YEAR_NS), st.just(2**32 * TICK_NS - 1))
actions = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, ENTRIES - 1), spans),
        st.tuples(st.just("cancel"), st.integers(0, ENTRIES - 1), st.just(0)),
        st.tuples(st.just("step"), st.just(0), spans),
    ),
    max_size=60,
)


@given(starts, actions)
def test_agrees_with_a_table_of_deadlines(start: int, actions: list[tuple[str, int, int]]) -> None:
    """What fires is due, what was due two ticks ago has fired, and nothing else is lost or told twice."""
    wheel, deadlines, now = WheelProbe(ENTRIES, start), {}, start
    for action, entry, span in actions:
        if action == "arm":
            wheel.arm(entry, now + span)
            deadlines[entry] = now + span
        elif action == "cancel":
            wheel.cancel(entry)
            deadlines.pop(entry, None)
        else:
            now += span
            for fired in wheel.expire(now):
                assert deadlines.pop(fired) <= now
            assert all(at > now - 2 * TICK_NS for at in deadlines.values())
        assert wheel.armed == len(deadlines)
        assert [wheel.is_armed(i) for i in range(ENTRIES)] == [i in deadlines for i in range(ENTRIES)]
        soonest = min(deadlines.values(), default=None)
        if soonest is None:
            assert wheel.next_ns is None
        else:
            assert wheel.next_ns <= max(soonest, now) + TICK_NS


@given(st.integers(0, YEAR_NS), st.lists(st.integers(0, 2 * YEAR_NS), min_size=1, max_size=ENTRIES))
def test_sleeping_until_next_ns_serves_every_deadline(start: int, spans: list[int]) -> None:
    """A loop that sleeps until next_ns is on time for all, and wakes only a few times an entry."""
    wheel = WheelProbe(ENTRIES, start)
    for entry, span in enumerate(spans):
        wheel.arm(entry, start + span)
    wakes, now, waiting = 0, start, dict(enumerate(spans))
    while wheel.armed:
        assert wheel.next_ns > now, "a time to wake at that has passed, and nothing is due"
        now, wakes = wheel.next_ns, wakes + 1
        for entry in wheel.expire(now):
            late = now - (start + waiting.pop(entry))
            assert 0 <= late < 2 * TICK_NS
    assert wakes <= 20 * len(spans)


@pytest.mark.parametrize("span", [0, 1, TICK_NS - 1, TICK_NS, 255 * TICK_NS, 256 * TICK_NS, 65536 * TICK_NS])
@pytest.mark.parametrize("start", [0, 1, TICK_NS - 1, 255 * TICK_NS, 65535 * TICK_NS + 1, 2**52 - TICK_NS])
def test_fires_never_early_and_within_two_ticks(start: int, span: int) -> None:
    wheel, at = WheelProbe(1, start), start + span
    wheel.arm(0, at)
    times = range(max(start, at - 4 * TICK_NS), at + 4 * TICK_NS, TICK_NS // 4)
    fired = next(now for now in times if wheel.expire(now))
    assert 0 <= fired - at <= 2 * TICK_NS


def test_arming_again_moves_the_entry_both_ways() -> None:
    wheel = WheelProbe(2)
    wheel.arm(0, 10 * TICK_NS)
    wheel.arm(1, 10 * TICK_NS)
    wheel.arm(0, 300 * TICK_NS)
    assert wheel.expire(12 * TICK_NS) == [1]
    wheel.arm(0, 14 * TICK_NS)
    assert wheel.expire(15 * TICK_NS) == [0]
    assert wheel.expire(400 * TICK_NS) == []


def test_a_deadline_that_has_passed_waits_for_the_next_tick() -> None:
    """An entry that is armed for now in the loop over what expired does not keep the loop going."""
    wheel = WheelProbe(1)
    now = 5 * TICK_NS
    assert wheel.expire(now) == []
    wheel.arm(0, 0)
    assert wheel.expire_one(now) is None
    assert wheel.next_ns == 6 * TICK_NS
    assert wheel.expire_one(6 * TICK_NS) == 0


def test_a_due_entry_can_be_cancelled_or_moved_before_it_is_handed_out() -> None:
    wheel = WheelProbe(3)
    for entry in range(3):
        wheel.arm(entry, TICK_NS)
    first = wheel.expire_one(9 * TICK_NS)
    second, third = {0, 1, 2} - {first}
    wheel.cancel(second)
    wheel.arm(third, 20 * TICK_NS)
    assert wheel.expire(9 * TICK_NS) == []
    assert wheel.expire(20 * TICK_NS) == [third]


def test_a_jump_of_a_century_hands_out_everything_at_once() -> None:
    wheel = WheelProbe(1000)
    for entry in range(1000):
        wheel.arm(entry, (entry + 1) * YEAR_NS // 10)
    assert sorted(wheel.expire(50 * YEAR_NS + TICK_NS)) == list(range(500))
    assert sorted(wheel.expire(101 * YEAR_NS)) == list(range(500, 1000))


def test_time_that_goes_back_fires_nothing() -> None:
    wheel = WheelProbe(1, 1000 * TICK_NS)
    wheel.arm(0, 1001 * TICK_NS)
    assert wheel.expire(3 * TICK_NS) == []
    assert wheel.expire(1001 * TICK_NS) == [0]
