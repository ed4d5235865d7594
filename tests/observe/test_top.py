"""Workers' paces, talkers and remote addresses between two samples."""

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from underpass.observe.sample import Sample, take
from underpass.observe.top import moved, pace, picture, refusals, remotes
from underpass.observe.workers import Worker
from underpass.testing.clock import MS, SECOND
from underpass.testing.network import Network

WORKER = Worker(1, "it", "/proc/1/fd/3", 77)


def octets(text: str) -> bytes:
    return b"\0" * 10 + b"\xff\xff" + ipaddress.ip_address(text).packed


BEFORE = Sample(
    WORKER, 0, {"interface": "eth0", "kernel_ns": 0, "now_ns": 0},
    {"tcp": {"connections": 1, "half_open": 0, "time_waits": 0, "passive_opens": 0, "active_opens": 0,
             "retransmits": 0, "no_listener": 0, "segments_in": 0},
     "link": {"rx_packets": 0, "tx_packets": 0, "rx_bytes": 0, "tx_bytes": 0},
     "refused": {"tcp_checksum": 0}, "xdp": {"dropped_no_socket": 0, "passed_not_ip": 0}},
    traffic={(1, 1): (octets("10.0.0.1"), 100, 0), (2, 5): (octets("10.0.0.2"), 5000, 0),
             (3, 1): (octets("10.0.0.3"), 10, 10)}, cpu_s=1.0, core=0)
AFTER = replace(
    BEFORE, at_ns=2 * 10**9, facts={"interface": "eth0", "kernel_ns": 10**9, "now_ns": 0},
    stats={"tcp": {"connections": 9, "half_open": 2, "time_waits": 3, "passive_opens": 40, "active_opens": 20,
                   "retransmits": 8, "no_listener": 10, "segments_in": 999},
           "link": {"rx_packets": 100, "tx_packets": 50, "rx_bytes": 1000, "tx_bytes": 500},
           "refused": {"tcp_checksum": 6}, "xdp": {"dropped_no_socket": 7, "passed_not_ip": 100},
           "pool": {"frames": 64, "free": 60}},
    traffic={(1, 1): (octets("10.0.0.1"), 300, 50), (2, 6): (octets("10.0.0.1"), 1000, 0),
             (3, 1): (octets("10.0.0.3"), 10, 10), (4, 1): (octets("10.0.0.4"), 0, 400)},
    cpu_s=2.5, core=1)


def test_a_worker_s_pace() -> None:
    it = pace(BEFORE, AFTER)
    assert (it.pid, it.interface, it.core, it.cpu_percent) == (1, "eth0", 1, 75.0)
    assert (it.rx_pps, it.tx_pps, it.rx_bps, it.tx_bps) == (50, 25, 4000, 2000)
    assert (it.connections, it.half_open, it.time_waits) == (9, 2, 3)
    assert (it.new_per_s, it.retransmits_per_s) == (30, 4)
    assert (it.frames, it.frames_free) == (64, 60)
    assert it.refusals == [("xdp.dropped_no_socket", 7), ("tcp.no_listener", 5),
                           ("refused.tcp_checksum", 3)]


def test_only_what_was_refused_is_a_refusal() -> None:
    assert refusals({("tcp", "segments_in"): 9.0, ("xdp", "passed_not_ip"): 9.0, ("refused", "ip_source"): 0,
                     ("socket", "rx_ring_full"): 1.0}) == [("socket.rx_ring_full", 1.0)]


def test_what_moved_counts_from_the_sample_or_from_the_beginning() -> None:
    """Block 2 is another connection than before; block 3 carried nothing."""
    found = {(index, generation): (sent, received)
             for _, index, generation, _, sent, received in moved(BEFORE, AFTER)}
    assert found == {(1, 1): (100, 25), (2, 6): (500, 0), (4, 1): (0, 200)}


@pytest.mark.parametrize(("order", "addresses"), [
    ("bytes", ["10.0.0.1", "10.0.0.4"]), ("sent", ["10.0.0.1", "10.0.0.4"]),
    ("received", ["10.0.0.4", "10.0.0.1"]),
])
def test_remote_addresses_are_summed_and_in_order(order: str, addresses: list[str]) -> None:
    rows = remotes(list(moved(BEFORE, AFTER)), order, 20)
    assert [row.remote for row in rows] == addresses
    assert {row.remote: (row.sent_per_s, row.received_per_s, row.connections) for row in rows} == {
        "10.0.0.1": (600, 25, 2), "10.0.0.4": (0, 200, 1)}
    assert len(remotes(list(moved(BEFORE, AFTER)), order, 1)) == 1


def test_a_sample_that_is_no_later_has_no_rates() -> None:
    it = picture({77: AFTER}, {77: AFTER})
    assert it.workers[0].rx_pps == 0
    assert it.talkers == it.remotes == []


def test_a_worker_that_only_one_sample_has_is_left_out() -> None:
    assert picture({}, {77: AFTER}).workers == picture({77: BEFORE}, {}).workers == []


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(seed=1) as it:
        yield it


def test_talkers_are_named_in_full(network: Network) -> None:
    """By this process's own arenas, found as any other's."""
    client, server = network.pair(latency_ns=MS)
    network.run(for_ns=MS)
    server.stack.listen(("::", 80))
    quiet, loud = (client.stack.connect((server.station.v6, 80)) for _ in range(2))
    assert network.run(until=lambda: quiet.state == loud.state == "ESTABLISHED", for_ns=SECOND)
    before = take(os.getpid(), traffic=True)
    loud.send(b"x" * 9000)
    quiet.send(b"x" * 10)
    network.run(for_ns=SECOND)
    after = take(os.getpid(), traffic=True)
    mine = os.fstat(client.stack.arena.memfd).st_ino
    shown = picture({mine: before[mine]}, {mine: after[mine]})
    assert [(it.local_port, it.remote, it.remote_port, it.state) for it in shown.talkers] == [
        (conn.local[1], server.station.v6, 80, "ESTABLISHED") for conn in (loud, quiet)]
    [remote] = shown.remotes
    assert (remote.remote, remote.connections) == (server.station.v6, 2)
    assert shown.talkers[0].sent_per_s > 500 * shown.talkers[1].sent_per_s
    assert len(picture({mine: before[mine]}, {mine: after[mine]}, most=1).talkers) == 1
    loud.abort()
    network.run(for_ns=SECOND)
    assert loud.local[1] not in [it.local_port
                                 for it in picture({mine: before[mine]}, {mine: after[mine]}).talkers]
