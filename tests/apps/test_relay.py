"""The relay's rules, packet by packet: over cables in memory, on a virtual clock, repeated from the seed."""

from collections.abc import Iterator

import pytest

from underpass.apps.relay.relay import Relay, rules
from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.testing.probe_link import LinkProbe

MS = 1_000_000
PACKET = 1250                           # octets: 100 us at 100 Mbit/s


class Bench:
    """A relay between two cables: packets are put in on one side and taken out on the other."""

    def __init__(self) -> None:
        frames = Frames(4096)
        (left, mine), (yours, right) = (memory_pair(Frames(4096), frames), memory_pair(frames, Frames(4096)))
        self.left, self.right = LinkProbe(left), LinkProbe(right)
        self.frames = frames
        self.relay = Relay(mine, yours)

    def cross(self, count: int, now_ns: int = 0, back: bool = False) -> None:
        """Packets 0 to count - 1 arrive at one time."""
        sender = self.right if back else self.left
        for number in range(count):
            assert sender.transmit([number.to_bytes(4, "big").ljust(PACKET, b"x")], now_ns) == 1
        while self.relay.step(now_ns):
            pass

    def come_out(self, now_ns: int, back: bool = False) -> list[int]:
        """Numbers of the packets that have left by that time."""
        while self.relay.step(now_ns):
            pass
        receiver = self.left if back else self.right
        found: list[int] = []
        while packets := receiver.receive(now_ns):
            found += [int.from_bytes(packet[:4], "big") for packet in packets]
        return found

    def stats(self) -> dict[str, float]:
        return self.relay.stats()["rightward"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    it = Bench()
    yield it
    it.relay.close()
    assert it.frames.free == it.frames.count


def test_without_rules_all_pass_in_order_both_ways(bench: Bench) -> None:
    bench.relay.start({}, {})
    for back in (False, True):
        bench.cross(100, back=back)
        assert bench.come_out(0, back) == list(range(100))
    assert bench.relay.deadline() is None


def test_each_direction_has_its_own_delay(bench: Bench) -> None:
    bench.relay.start({"delay_ms": 10}, {"delay_ms": 3})
    bench.cross(2)
    bench.cross(2, back=True)
    assert bench.relay.deadline() == 3 * MS
    assert bench.come_out(3 * MS, back=True) == [0, 1]
    assert bench.come_out(10 * MS - 1) == []
    assert bench.come_out(10 * MS) == [0, 1]


def test_a_bottleneck_sends_at_its_rate_and_drops_what_its_queue_cannot_hold(bench: Bench) -> None:
    bench.relay.start({"rate_mbit": 100, "queue_bytes": 10 * PACKET}, {})
    bench.cross(25)
    assert bench.stats()["overflowed"] == 15
    assert bench.come_out(100_000 - 1) == []
    assert bench.come_out(300_000) == [0, 1, 2]
    assert bench.come_out(1 * MS) == list(range(3, 10))
    bench.cross(10, now_ns=1 * MS)          # the queue is empty again
    assert bench.stats()["overflowed"] == 15
    assert bench.come_out(2 * MS) == list(range(10))


def test_the_time_in_the_queue_is_measured(bench: Bench) -> None:
    bench.relay.start({"rate_mbit": 100, "queue_bytes": 10 * PACKET}, {})
    bench.cross(10)
    assert bench.stats()["queue_max_ms"] == pytest.approx(0.9)
    assert bench.stats()["queue_mean_ms"] == pytest.approx(0.45, rel=0.01)
    bench.come_out(MS)


def test_loss_is_random_as_often_as_said_and_the_same_for_a_seed(bench: Bench) -> None:
    def left(seed: int) -> list[int]:
        bench.relay.start({"lose": 0.1}, {}, seed)
        bench.cross(1000)
        return bench.come_out(0)

    first = left(1)
    assert 850 < len(first) < 950
    assert bench.stats()["lost"] == 1000 - len(first)
    assert left(1) == first
    assert left(2) != first


def test_reordered_packets_leave_so_much_later_and_the_others_overtake_them(bench: Bench) -> None:
    bench.relay.start({"reorder": 0.05, "reorder_ms": 1, "delay_ms": 1}, {})
    bench.cross(1000)
    ordered = bench.come_out(2 * MS - 1)
    late = bench.come_out(2 * MS)
    assert 20 < len(late) < 90 and late == sorted(late)
    assert ordered == sorted(set(range(1000)) - set(late))
    assert bench.stats()["reordered"] == len(late)


def test_doubled_packets_come_twice(bench: Bench) -> None:
    bench.relay.start({"duplicate": 1}, {})
    bench.cross(10)
    assert bench.come_out(0) == [number for number in range(10) for _ in range(2)]
    assert bench.stats()["duplicated"] == 10


def test_a_packet_in_several_buffers_is_dropped(bench: Bench) -> None:
    bench.relay.start({}, {})
    bench.left.transmit([bytes(5000)])
    bench.cross(1)
    assert bench.come_out(0) == [0]


def test_what_is_held_at_the_end_goes_back(bench: Bench) -> None:
    bench.relay.start({"delay_ms": 1, "reorder": 0.5, "reorder_ms": 1, "duplicate": 0.5}, {})
    bench.cross(100)


@pytest.mark.parametrize(("given", "says"), [
    ({"lose": 1.1}, "lose is out of range"), ({"delay_ms": -1}, "delay_ms is out of range"),
    ({"jitter": 1}, "jitter is no rule; rules are lose, "), ({"rate_mbit": 1}, "needs a queue"),
])
def test_wrong_rules_are_refused(given: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rules(**given)


def test_links_of_two_pools_are_refused() -> None:
    one, other = memory_pair(Frames(64), Frames(64))
    with pytest.raises(ValueError, match="share their frames"):
        Relay(one, other)
