"""Delivery rate samples (draft-ietf-ccwg-bbr 4.1)."""

import pytest

from underpass.testing.probe_rate import RATE_BYTES, STAMP_BYTES, RateProbe

MS = 10**6
START = 10**9


def flight(probe: RateProbe, frames: int, *, every_ns: int = MS, at: int = START) -> list[int]:
    return [probe.send(now_ns=at + number * every_ns) for number in range(frames)]


def test_what_it_keeps_is_small() -> None:
    """A stamp for each frame of the pool, which has 2048 octets, and a block for each connection"""
    assert STAMP_BYTES <= 48
    assert RATE_BYTES <= 512


def test_the_rate_is_what_came_through_while_the_frame_was_on_its_way() -> None:
    """4.1.1.2.1: ten frames a millisecond apart, acknowledged a millisecond apart, a round trip of 10 ms"""
    probe = RateProbe()
    names = flight(probe, 10)
    later = []
    for number, name in enumerate(names):
        probe.deliver(name, now_ns=START + 10 * MS + number * MS)
        later.append(probe.send())
    sample = probe.deliver(later[0], now_ns=START + 20 * MS)
    assert sample is not None
    assert sample["delivered"] == 10 * 1000
    assert sample["rate"] == pytest.approx(1000 / 1e-3, rel=0.01)
    assert sample["rtt_us"] == 10_000


def test_acks_in_a_heap_make_no_sample_too_high() -> None:
    """4.1.1.2.2: sent over 9 ms, all acknowledged at once: the time in which it was sent counts"""
    probe = RateProbe()
    names = flight(probe, 10)
    sample = probe.deliver(*names, now_ns=START + 9 * MS + 1)
    assert sample is not None
    assert sample["rate"] == pytest.approx(10_000 / 9e-3, rel=0.01)


def test_a_burst_makes_no_sample_too_high() -> None:
    """4.1.1.2.3: sent at once, acknowledged over 10 ms: the time in which it was acknowledged counts"""
    probe = RateProbe()
    names = flight(probe, 10, every_ns=0)
    for number, name in enumerate(names):
        sample = probe.deliver(name, now_ns=START + (number + 1) * MS)
    assert sample is not None
    assert sample["rate"] == pytest.approx(1000 / 1e-3, rel=0.01)


def test_an_ack_for_many_takes_the_frame_that_left_last() -> None:
    """4.1.2.3, UpdateRateSample"""
    probe = RateProbe()
    probe.deliver(probe.send(), now_ns=START + MS)
    first = probe.send(now_ns=START + 2 * MS)
    last = probe.send(700, now_ns=START + 3 * MS)
    sample = probe.deliver(last, first, now_ns=START + 8 * MS)
    assert sample is not None
    assert sample["rtt_us"] == 5_000
    assert sample["inflight"] == 1700
    assert sample["newly_acked"] == 1700
    assert sample["prior_delivered"] == 1000


def test_frames_that_left_in_one_turn_count_in_the_order_of_their_numbers() -> None:
    """4.1.2.3, IsNewestPacket"""
    probe = RateProbe()
    names = flight(probe, 3, every_ns=0)
    sample = probe.deliver(*names, now_ns=START + MS)
    assert sample is not None
    assert sample["inflight"] == 3000


def test_nothing_delivered_is_no_sample() -> None:
    probe = RateProbe()
    probe.send()
    assert probe.deliver(now_ns=START + MS) is None


def test_an_interval_shorter_than_any_round_trip_is_no_good() -> None:
    """4.1.2.3, GenerateRateSample: a frame sent again for nothing is acknowledged for its first time"""
    probe = RateProbe(rtt_min_us=10_000)
    name = probe.send(now_ns=START)
    probe.lose(name)
    probe.send_again(name, now_ns=START + 9 * MS)
    sample = probe.deliver(name, now_ns=START + 10 * MS)
    assert sample is not None
    assert sample["rate"] == 0
    assert sample["delivered"] == 1000


def test_a_frame_sent_twice_tells_no_round_trip() -> None:
    """4.2: Karn's rule"""
    probe = RateProbe()
    name = probe.send()
    probe.lose(name)
    probe.send_again(name, now_ns=START + 20 * MS)
    sample = probe.deliver(name, now_ns=START + 30 * MS)
    assert sample is not None
    assert sample["rtt_us"] == 0


def test_losses_since_the_frame_left_are_told() -> None:
    """4.1.2.1: RS.lost = C.lost - P.lost"""
    probe = RateProbe()
    before, old = probe.send(), probe.send()
    probe.lose(before)
    new, lost = probe.send(), probe.send()
    probe.lose(lost)
    sample = probe.deliver(old, now_ns=START + MS)
    assert sample is not None
    assert sample["lost"] == 2000
    assert sample["newly_lost"] == 2000
    sample = probe.deliver(new, now_ns=START + 2 * MS)
    assert sample is not None
    assert (sample["lost"], sample["newly_lost"]) == (1000, 0)


def test_idle_time_is_in_no_sample() -> None:
    """4.1.2.2: a flight begins when its first frame leaves, though the last ACK came long ago"""
    probe = RateProbe()
    probe.deliver(probe.send(), now_ns=START + MS)
    names = flight(probe, 10, every_ns=0, at=START + 5000 * MS)
    sample = probe.deliver(*names, now_ns=START + 5010 * MS)
    assert sample is not None
    assert sample["rate"] == pytest.approx(10_000 / 10e-3, rel=0.01)


def test_what_leaves_after_a_bubble_is_the_applications_rate_for_a_round_trip() -> None:
    """4.1.1.3: until everything that was in flight then is delivered, and one octet more"""
    probe = RateProbe()
    probe.deliver(probe.send(), now_ns=START + MS)
    assert probe.app_limited == 0
    first = probe.send()
    probe.limit()
    assert probe.app_limited == 2000
    second = probe.send()
    before = probe.deliver(first, now_ns=START + 2 * MS)
    within = probe.deliver(second, now_ns=START + 3 * MS)
    after = probe.deliver(probe.send(), now_ns=START + 4 * MS)
    assert before is not None and within is not None and after is not None
    assert (before["app_limited"], within["app_limited"], after["app_limited"]) == (0, 1, 0)


def test_a_connection_begins_with_a_bubble() -> None:
    """As Linux has it: the first flight is as large as the initial window, not as the path"""
    probe = RateProbe()
    sample = probe.deliver(probe.send(), now_ns=START + MS)
    assert sample is not None
    assert sample["app_limited"] == 1


def test_parts_of_a_frame_that_was_split_tell_the_same() -> None:
    probe = RateProbe()
    probe.deliver(probe.send(), now_ns=START + MS)
    name = probe.send(1000, now_ns=START + 2 * MS)
    rest = probe.split(name, 600)
    sample = probe.deliver(rest, now_ns=START + 7 * MS)
    assert sample is not None
    assert (sample["prior_delivered"], sample["newly_acked"], sample["rtt_us"]) == (1000, 400, 5000)
    assert probe.delivered == 1400
