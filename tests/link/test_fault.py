"""The link on which packets suffer: the same way for the same seed, within bounds, in copies of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underpass.link.fault import FaultLink
from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_link import LinkProbe

MS = 1_000_000
FRAMES = 1024
PACKETS = [i.to_bytes(4, "big") * 20 for i in range(400)]


def faulty(seed=1, mtu=1500, **faults):
    a, b = memory_pair(Frames(FRAMES, reserve=0), Frames(FRAMES, reserve=0), mtu=mtu)
    return LinkProbe(FaultLink(a, seed, **faults)), LinkProbe(b)


def carry(sender, receiver, packets, until_ns=1000 * MS):
    """Send a packet each 10 us, receive all the while and as long as anything is on its way."""
    arrived = []
    for i, packet in enumerate(packets):
        assert sender.transmit([packet], now_ns=i * 10_000) == 1
        sender.receive(now_ns=i * 10_000)
        arrived += receiver.receive(now_ns=i * 10_000, room=1024)
    for now in range(len(packets) * 10_000, until_ns, MS):
        sender.receive(now_ns=now)
        arrived += receiver.receive(now_ns=now, room=1024)
        if sender.deadline() is None and receiver.deadline() is None:
            break
    return arrived


def settled(*probes):
    return all(probe.link.frames.free == FRAMES and probe.deadline() is None for probe in probes)


def test_without_faults_everything_passes_both_ways():
    a, b = faulty()
    assert carry(a, b, PACKETS) == PACKETS
    assert carry(b, a, PACKETS) == PACKETS
    assert a.link.stats()["faults"] == 0
    assert a.link.stats()["tx_packets"] == a.link.stats()["rx_packets"] == len(PACKETS)
    assert settled(a, b)


@pytest.mark.parametrize("way", ["transmit", "receive"])
@pytest.mark.parametrize("fault", ["drop", "duplicate", "reorder", "corrupt"])
def test_each_fault_strikes_at_about_its_rate_and_no_other_does(fault, way):
    a, b = faulty(seed=7, **{fault: 0.1}, direction=way)
    pair = (a, b) if way == "transmit" else (b, a)
    arrived = carry(*pair, PACKETS)
    assert 20 <= a.link.stats()["faults"] <= 60
    unhurt = [packet for packet in arrived if packet in PACKETS]
    lost = len(PACKETS) - len(set(unhurt))
    assert (lost > 0) == (fault in ("drop", "corrupt"))
    assert len(arrived) - len(PACKETS) == {"drop": -lost, "duplicate": a.link.stats()["faults"]}.get(fault, 0)
    assert (unhurt != sorted(unhurt)) == (fault == "reorder")
    assert settled(a, b)


@pytest.mark.parametrize("way", ["transmit", "receive"])
def test_the_other_direction_is_spared(way):
    a, b = faulty(drop=1.0, direction=way)
    assert carry(a, b, PACKETS) == ([] if way == "transmit" else PACKETS)
    assert carry(b, a, PACKETS) == ([] if way == "receive" else PACKETS)


FAULTS = {"drop": 0.1, "duplicate": 0.1, "reorder": 0.2, "corrupt": 0.1, "delay_ns": MS, "jitter_ns": MS}


def test_the_same_seed_does_the_same():
    runs = [carry(*faulty(seed=seed, **FAULTS), PACKETS) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=5000), max_size=40),
    st.integers(0, 2**64 - 1),
    st.fixed_dictionaries({name: st.floats(0, 1) for name in ("drop", "duplicate", "reorder", "corrupt")}),
    st.fixed_dictionaries({name: st.integers(0, 3 * MS) for name in ("delay_ns", "jitter_ns")}),
    st.sampled_from(["both", "receive", "transmit"]),
)
def test_all_frames_come_back_and_nothing_is_invented(packets, seed, rates, times, way):
    a, b = faulty(seed, mtu=9000, **rates, **times, direction=way)
    for pair in ((a, b), (b, a)):
        arrived = carry(*pair, packets)
        assert len(arrived) <= 2 * len(packets)
        if rates["corrupt"] == 0:
            assert set(arrived) <= set(packets)
        assert {len(packet) for packet in arrived} <= {len(packet) for packet in packets}
    assert settled(a, b)


def test_a_reordered_packet_is_overtaken_by_three_at_most():
    a, b = faulty(seed=3, reorder=0.2)
    order = [int.from_bytes(packet[:4], "big") for packet in carry(a, b, PACKETS)]
    assert sorted(order) == list(range(len(PACKETS)))
    assert max(at - number for at, number in enumerate(order)) <= 3
    assert order != sorted(order)


def test_a_reordered_packet_that_nobody_overtakes_goes_on_after_a_while():
    a, b = faulty(reorder=1.0)
    a.transmit([PACKETS[0]])
    assert b.receive(now_ns=0) == []
    assert 0 < a.deadline() <= 2 * MS
    a.receive(now_ns=2 * MS)
    assert b.receive(now_ns=2 * MS) == PACKETS[:1]


def test_delay_and_jitter_keep_the_order():
    a, b = faulty(delay_ns=5 * MS, jitter_ns=5 * MS)
    a.transmit(PACKETS[:1])
    assert 5 * MS <= a.deadline() <= 10 * MS
    a.receive(now_ns=5 * MS - 1)
    assert b.receive(now_ns=5 * MS - 1) == []
    assert carry(a, b, PACKETS[1:]) == PACKETS


def test_a_corrupted_packet_differs_in_one_bit_and_is_a_copy():
    a, b = faulty(duplicate=1.0, corrupt=1.0)
    arrived = carry(a, b, PACKETS)
    assert len(arrived) == 2 * len(PACKETS)
    for sent, damaged, double in zip(PACKETS, arrived[::2], arrived[1::2], strict=True):
        assert double == sent
        wrong = int.from_bytes(damaged, "big") ^ int.from_bytes(sent, "big")
        assert wrong.bit_count() == 1


def test_damage_is_not_hidden_by_a_checksum_that_the_device_fills_in():
    a, b = faulty(corrupt=1.0)
    frame = TcpSegment(payload=b"payload" * 50).build(partial_checksum=True)
    a.transmit([frame] * 50, checksum=(34, 16))
    whole = TcpSegment(payload=b"payload" * 50).build()
    arrived = b.receive()
    assert len(arrived) == 50
    for packet in arrived:
        assert (int.from_bytes(packet, "big") ^ int.from_bytes(whole, "big")).bit_count() == 1


def test_a_line_holds_a_bounded_number_of_packets():
    a, b = faulty(delay_ns=MS)
    taken = a.transmit([b"x" * 60] * 1024) + a.transmit([b"x" * 60] * 1024)
    assert taken <= 1024
    assert a.link.stats()["tx_refused"] > 0
    a.receive(now_ns=MS)
    assert len(b.receive(now_ns=MS, room=1024)) == taken
    assert settled(a, b)


def test_close_gives_back_what_is_held_and_closes_the_inner_link():
    a, b = faulty(delay_ns=MS, reorder=0.5)
    a.transmit(PACKETS[:100])
    b.transmit(PACKETS[:100])
    a.receive(now_ns=0)
    a.link.close()
    a.link.close()
    assert a.link.frames.free == FRAMES


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"drop": 1.5}, "drop is a probability, 0.0 to 1.0, not 1.5"),
        ({"corrupt": -0.1}, "corrupt is a probability"),
        ({"direction": "up"}, 'direction is "both", "receive" or "transmit", not \'up\''),
    ],
)
def test_bad_arguments_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        faulty(**wrong)
