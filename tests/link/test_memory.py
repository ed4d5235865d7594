"""The cable within one process: octets, order, references, limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_link import LinkProbe


def cable(mtu=1500, depth=4096, latency_ns=0, frames=(256, 256), chunk_bytes=(2048, 2048)):
    pools = [Frames(count, chunk, 0) for count, chunk in zip(frames, chunk_bytes, strict=True)]
    ends = memory_pair(*pools, mtu=mtu, depth=depth, latency_ns=latency_ns)
    return [LinkProbe(end) for end in ends]


def free(*probes):
    return [probe.link.frames.free for probe in probes]


@given(st.lists(st.binary(min_size=1, max_size=1514), max_size=60))
def test_every_octet_arrives_in_order_and_all_frames_come_back(packets):
    a, b = cable()
    assert a.transmit(packets) == len(packets)
    assert b.receive() == packets
    assert a.transmit([]) == 0
    assert a.receive() == []
    assert free(a, b) == [256, 256]
    assert b.link.stats()["rx_bytes"] == a.link.stats()["tx_bytes"] == sum(map(len, packets))


@given(
    st.lists(st.binary(min_size=1, max_size=9014), max_size=12),
    st.sampled_from([(2048, 2048), (2048, 4096), (4096, 2048)]),
)
def test_packets_of_several_chunks_arrive_whole_whatever_the_chunks_are(packets, chunk_bytes):
    a, b = cable(mtu=9000, chunk_bytes=chunk_bytes)
    assert a.transmit(packets) == len(packets)
    assert b.receive() == packets
    assert free(a, b) == [256, 256]


@given(st.binary(max_size=4000), st.sampled_from(["10.0.0.1", "fe80::1"]))
def test_a_checksum_left_to_the_device_is_filled_in(payload, src):
    a, b = cable(mtu=9000)
    whole = TcpSegment(src=src, dst="10.0.0.2" if "." in src else "fe80::2", payload=payload)
    start = 34 if whole.is_v4 else 54
    assert a.offloads & 1
    assert a.transmit([whole.build(partial_checksum=True)], checksum=(start, 16)) == 1
    (received,) = b.receive()
    assert TcpSegment.parse(received).payload == payload
    # Equal but for the two forms of zero.
    assert received == whole.build() or received[start + 16 : start + 18] == b"\xff\xff"


def test_a_checksum_that_would_lie_outside_the_packet_is_left_alone():
    a, b = cable()
    assert a.transmit([bytes(60)], checksum=(50, 9)) == 1
    assert b.receive() == [bytes(60)]


def test_a_full_ring_refuses_and_loses_nothing():
    a, b = cable(depth=8)
    packets = [bytes([i]) * 60 for i in range(12)]
    assert a.transmit(packets) == 8
    assert a.link.stats()["tx_refused"] == 4
    assert b.receive() == packets[:8]
    assert a.transmit(packets[8:]) == 4
    assert b.receive() == packets[8:]
    assert free(a, b) == [256, 256]


def test_an_empty_pool_loses_packets_and_counts_them():
    a, b = cable(frames=(256, 64))
    assert a.transmit([b"x" * 60] * 70) == 70
    assert b.link.stats()["rx_no_frame"] == 6
    assert len(b.receive(room=128)) == 64
    assert free(a, b) == [256, 64]


def test_a_batch_ends_between_packets():
    a, b = cable(mtu=9000)
    packets = [b"s" * 100, b"l" * 5000, b"t" * 100]
    assert a.transmit(packets) == 3
    assert b.receive(room=3) == packets[:1]
    assert b.receive(room=3) == packets[1:2]
    assert b.receive(room=3) == packets[2:]


def test_a_packet_of_more_chunks_than_a_batch_holds_is_dropped_and_counted():
    a, b = cable(mtu=9000)
    assert a.transmit([b"l" * 5000, b"t" * 100]) == 2
    assert b.receive(room=2) == [b"t" * 100]
    assert b.link.stats()["rx_too_long"] == 1
    assert free(a, b) == [256, 256]


def test_what_is_longer_than_the_mtu_does_not_pass():
    a, b = cable(mtu=1000)
    assert a.transmit([b"x" * 1022, b"x" * 1023]) == 2
    assert [len(packet) for packet in b.receive()] == [1022]
    assert b.link.stats()["rx_too_long"] == 1


def test_latency_holds_packets_back_and_the_deadline_tells_for_how_long():
    a, b = cable(latency_ns=1000)
    assert b.deadline() is None
    a.transmit([b"one" * 20], now_ns=50)
    a.transmit([b"two" * 20], now_ns=60)
    assert b.deadline() == 1050
    assert b.receive(now_ns=1049) == []
    assert b.receive(now_ns=1050) == [b"one" * 20]
    assert b.deadline() == 1060
    assert b.receive(now_ns=2000) == [b"two" * 20]
    assert b.deadline() is None


def test_a_closed_end_is_an_unplugged_cable():
    a, b = cable()
    a.transmit([b"x" * 60] * 5)
    b.link.close()
    b.link.close()
    assert a.transmit([b"x" * 60] * 5) == 5
    assert b.transmit([b"x" * 60]) == 1
    assert a.receive() == b.receive() == []
    assert free(a, b) == [256, 256]


@pytest.mark.parametrize("wrong", [{"mtu": 67}, {"mtu": 65536}, {"depth": 0}, {"depth": 2**20 + 1}])
def test_sizes_that_no_cable_has_are_refused(wrong):
    with pytest.raises(ValueError, match=r"not \d+"):
        memory_pair(Frames(64), Frames(64), **wrong)
