"""When a loaded worker looks by the clock: against loads that come by themselves, or wait for answers."""

import pytest

from underpass.testing.probe_moderation import ModerationProbe

US, MS = 1_000, 1_000_000
INTERVAL = 50 * US


class Load:
    """Drives a probe as the loop does: a turn whenever something came, or at the end of a nap."""

    def __init__(self, interval_ns=INTERVAL):
        self.probe = ModerationProbe(interval_ns)
        self.now_ns = 1
        self.clocked_ns = self.long_ns = self.served = 0

    def turn(self, served):
        self.served += served
        self.probe.note(self.now_ns, served)

    def waiting_clients(self, count, for_ns, think_ns=0, round_trip_ns=40 * US):
        """`count` clients that send the next request once they have the answer: the delay costs requests."""
        end = self.now_ns + for_ns
        while self.now_ns < end:
            if nap_ns := self.probe.nap():
                self.sleep(nap_ns)
                self.turn(count)
                self.sleep(round_trip_ns)
            else:
                self.sleep((round_trip_ns + think_ns) // count)
                self.turn(1)

    def stream_of_requests(self, per_second, for_ns):
        """Requests of many clients that come whatever happens."""
        end = self.now_ns + for_ns
        waiting = 0.0
        while self.now_ns < end:
            span = self.probe.nap() or 1_000_000_000 // per_second
            self.sleep(span)
            waiting += per_second * span / 1e9
            self.turn(int(waiting))
            waiting -= int(waiting)

    def stream_of_one_flow(self, turns_per_second, for_ns):
        """Segments of one connection: each turn finds that one, however many have come."""
        end = self.now_ns + for_ns
        while self.now_ns < end:
            self.sleep(self.probe.nap() or 1_000_000_000 // turns_per_second)
            self.turn(1)
            for _ in range(3 if self.probe.name != "woken" else 0):
                self.sleep(US)
                self.turn(1)

    def sleep(self, span_ns):
        if self.probe.name in ("clocked", "long"):
            self.clocked_ns += span_ns
        if self.probe.name == "long":
            self.long_ns += span_ns
        self.now_ns += span_ns


def test_a_stream_of_requests_is_served_by_the_clock():
    load = Load()
    load.stream_of_requests(100_000, 2000 * MS)
    assert load.clocked_ns > 0.9 * load.now_ns


def test_naps_are_longer_where_as_many_are_served():
    load = Load()
    load.stream_of_requests(100_000, 2000 * MS)
    assert load.long_ns > 0.8 * load.now_ns


def test_naps_stay_short_where_longer_ones_cost_requests():
    """Sixteen clients gain by short naps, and would wait for the end of longer ones."""
    load = Load()
    load.waiting_clients(16, 4000 * MS, round_trip_ns=240 * US)
    assert load.clocked_ns > 0.8 * load.now_ns
    assert load.long_ns < 0.1 * load.now_ns


@pytest.mark.parametrize("clients", [1, 2, 4])
def test_few_who_wait_for_answers_are_not_delayed(clients):
    load = Load()
    load.waiting_clients(clients, 2000 * MS)
    assert load.clocked_ns == 0
    alone = Load(interval_ns=0)
    alone.waiting_clients(clients, 2000 * MS)
    assert load.served > 0.98 * alone.served


def test_a_single_flow_is_not_delayed_whatever_trial_and_error_say():
    """Its losses make one window slow and the next one fast, which proves nothing."""
    load = Load()
    for _ in range(200):
        load.stream_of_one_flow(20_000, 8 * MS)
        load.stream_of_one_flow(60_000, 8 * MS)
    assert load.clocked_ns == 0


def test_a_quiet_server_is_woken():
    """Too few requests for a nap to find several of them."""
    load = Load()
    load.stream_of_requests(5_000, 2000 * MS)
    assert load.clocked_ns == 0


def test_it_ends_with_the_load():
    load = Load()
    load.stream_of_requests(200_000, 500 * MS)
    assert load.clocked_ns > 0.5 * load.now_ns
    load.stream_of_requests(1_000, 20 * MS)
    assert load.probe.name == "woken"


def test_an_idle_hour_is_no_trial():
    load = Load()
    load.turn(1)
    load.now_ns += 3600 * 1000 * MS
    load.turn(64)
    assert load.probe.name == "woken"


def test_zero_switches_it_off():
    load = Load(interval_ns=0)
    load.stream_of_requests(100_000, 500 * MS)
    assert load.clocked_ns >= 0
    assert not load.probe.nap()
