"""Rates between two samples, and the schedule they are taken on."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from underpass.observe import sample as sampling
from underpass.observe.names import COUNTERS
from underpass.observe.sample import GAUGES, Sample, rates
from underpass.observe.workers import Worker

WORKER = Worker(1, "it", "/proc/1/fd/3", 77)
BEFORE = Sample(WORKER, 10_000_000_000, {"kernel_ns": 9_000_000_000, "now_ns": 9_900_000_000},
                {"tcp": {"segments_in": 100, "connections": 5}, "xdp": {"redirected_claimed": 10},
                 "loop": {"turns": 50}})
AFTER = replace(BEFORE, at_ns=12_000_000_000, facts={"kernel_ns": 9_500_000_000, "now_ns": 10_000_000_000},
                stats={"tcp": {"segments_in": 300, "connections": 9}, "xdp": {"redirected_claimed": 60},
                       "loop": {"turns": 60}, "link": {"rx_packets": 7}})


def test_each_layer_is_divided_by_the_time_between_its_own_copies() -> None:
    assert dict(rates(BEFORE, AFTER)) == {
        ("tcp", "segments_in"): 100.0, ("xdp", "redirected_claimed"): 100.0, ("loop", "turns"): 100.0}


def test_a_rate_is_not_known_where_there_was_no_new_copy() -> None:
    after = replace(AFTER, facts=BEFORE.facts)
    assert dict(rates(BEFORE, after))["xdp", "redirected_claimed"] is None
    assert dict(rates(BEFORE, after))["tcp", "segments_in"] == 100.0


def test_a_counter_that_went_back_counts_nothing() -> None:
    assert dict(rates(AFTER, replace(BEFORE, at_ns=14_000_000_000)))["tcp", "segments_in"] == 0


def test_gauges_and_layers_have_the_names_that_counters_have() -> None:
    assert all(name in COUNTERS[layer] for layer, name in GAUGES)
    assert set(sampling.CLOCKS) <= set(COUNTERS)


def test_the_processor_of_a_process_with_an_odd_name() -> None:
    before = sampling.processor(os.getpid())
    assert before[1] in range(os.cpu_count() or 1)
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert sampling.processor(os.getpid())[0] > before[0]
    comm = Path("/proc/self/comm")
    name = comm.read_text()
    try:
        comm.write_text("a) R (b")
        assert sampling.processor(os.getpid())[0] > before[0]
    finally:
        comm.write_text(name)


def test_ticks_do_not_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work between two ticks shortens the sleep; work longer than an interval is not made up for."""
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 6))
        now += seconds

    monkeypatch.setattr(sampling.time, "monotonic", lambda: now)
    monkeypatch.setattr(sampling.time, "sleep", sleep)
    for at, _ in enumerate(sampling.ticks(1.0, 4)):
        now += (0.25, 2.5, 0.0, 0.0)[at]
    assert slept == [1.0, 0.75, 0.0, 1.0]
