"""Source ports whose answers come to a queue of the worker that opens the connection."""

import os
import random

import pytest

from underpass.link.frames import Frames
from underpass.link.handover import HandoverArea, HandoverLink
from underpass.link.memory import memory_pair
from underpass.stack.stack import CONNECTED, Stack
from underpass.tcp.flows import FlowTable
from underpass.tcp.services import ServiceTable
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_link import LinkProbe
from underpass.testing.probe_wire import toeplitz

SYN, ACK = 2, 16
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")
FIRST, LAST = 40000, 42047
WORKERS = 4
OURS = {False: "10.0.0.2", True: "fd00::2"}
PEER = {False: "10.0.0.9", True: "fd00::9"}


def table_of(entries: int, workers: int = WORKERS) -> list[int]:
    """An indirection table as drivers fill it."""
    return [entry % workers for entry in range(entries)]


class Client:
    """A worker that opens connections; the test sees the SYNs."""

    def __init__(self, link=None, wire=None) -> None:
        if link is None:
            wire, link = memory_pair(Frames(16384), Frames(16384))
        self.probe = LinkProbe(wire)
        self.now_ns = 1_000_000_000
        self.stack = Stack(link, bytes.fromhex("020000000002"), seed=bytes(16), ephemeral_first=FIRST,
                           ephemeral_last=LAST, connections=4096)
        self.stack.set_addresses([(OURS[False], 24), (OURS[True], 64)])
        self.stack.set_routes([("10.0.0.0", 24, None, None, 0, 0), ("fd00::", 64, None, None, 0, 0)])
        for address in PEER.values():
            self.stack.set_neighbour(address, bytes.fromhex("020000000009"))
        self.stack.step(self.now_ns)
        self.opened = []

    def open(self, count: int = 1, port: int = 80, *, v6: bool = False) -> list[TcpSegment]:
        """So many connections to the peer's port: their SYNs."""
        for _ in range(count):
            self.opened.append(self.stack.connect((PEER[v6], port)))
        self.step(self.now_ns + 1000)
        frames = []
        while more := self.probe.receive(self.now_ns):
            frames += more
        return [TcpSegment.parse(it) for it in frames]

    def step(self, now_ns: int) -> None:
        """A turn at this time."""
        self.now_ns = now_ns
        self.stack.step(now_ns)

    def count(self, name: str) -> int:
        return self.stack.stats()["tcp"][name]


@pytest.fixture
def client():
    it = Client()
    yield it
    it.stack.close()


def queue_of_answer(syn: TcpSegment, key: bytes, table: list[int]) -> int:
    """Where the network card puts what answers a SYN."""
    return table[toeplitz(key, syn.dst, syn.dst_port, syn.src, syn.src_port) % len(table)]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("entries", [4, 128, 4096])
def test_every_answer_comes_to_our_queue(client, v6, entries):
    table = table_of(entries)
    assert client.stack.set_steering(KEY, table, {1}, True, True)
    syns = client.open(300, v6=v6)
    assert len({syn.src_port for syn in syns}) == 300
    assert {queue_of_answer(syn, KEY, table) for syn in syns} == {1}
    assert all(FIRST <= syn.src_port <= LAST for syn in syns)
    assert client.count("ports_steered") == 300


@pytest.mark.parametrize("seed", range(50))
def test_tables_with_a_block_for_each_queue_are_followed_under_any_key(client, seed):
    """As igb's: the first bits of an index choose the queue, and a port's last bits may not reach them."""
    key = random.Random(seed).randbytes(40)
    table = sorted(table_of(128))
    assert client.stack.set_steering(key, table, {1}, True, True)
    assert {queue_of_answer(syn, key, table) for syn in client.open(100)} == {1}


def test_each_destination_has_its_own_answer(client):
    client.stack.set_steering(KEY, table_of(128), {1, 3}, True, True)
    syns = [syn for port in range(1000, 1200) for syn in client.open(1, port)]
    assert {queue_of_answer(syn, KEY, table_of(128)) for syn in syns} == {1, 3}


def test_without_it_answers_come_anywhere(client):
    syns = client.open(300)
    assert {queue_of_answer(syn, KEY, table_of(128)) for syn in syns} == {0, 1, 2, 3}
    assert client.count("ports_steered") == 0


def test_a_changed_key_and_table_are_followed_and_may_be_lost(client):
    other = random.Random(7).randbytes(40)
    client.stack.set_steering(KEY, table_of(128), {1}, True, True)
    client.open(10)
    assert client.stack.set_steering(other, table_of(256, 2), {1}, True, True)
    assert {queue_of_answer(syn, other, table_of(256, 2)) for syn in client.open(50)} == {1}
    assert not client.stack.set_steering()
    client.open(10)
    assert client.count("ports_steered") == 60


def test_ports_that_are_used_up_do_not_end_connecting(client):
    """A quarter of the 2,048 ports is ours; afterwards any will do."""
    client.stack.set_steering(KEY, table_of(128), {1}, True, True)
    syns = [syn for _ in range(64) for syn in client.open(32)]
    assert len({syn.src_port for syn in syns}) == 2048
    steered = sum(queue_of_answer(syn, KEY, table_of(128)) == 1 for syn in syns)
    assert client.count("ports_steered") <= steered == 512
    assert client.count("ports_steered") > 400
    with pytest.raises(OSError, match="Cannot assign requested address"):
        client.open()


@pytest.mark.parametrize("arguments", [
    (KEY, [], {1}, True, True),
    (KEY, table_of(100), {1}, True, True),          # no power of two: the device's remainder is not known
    (KEY, table_of(8192), {1}, True, True),
    (KEY[:15], table_of(128), {1}, True, True),
    (KEY, table_of(128), {7}, True, True),          # nothing is ours
    (KEY, table_of(128), set(), True, True),
    (KEY, table_of(128), {1}, False, False),
])  # fmt: skip
def test_what_cannot_be_followed_is_refused_and_any_port_taken(client, arguments):
    assert not client.stack.set_steering(*arguments)
    assert len(client.open(10)) == 10
    assert client.count("ports_steered") == 0


def test_a_family_whose_ports_are_not_hashed_is_left_alone(client):
    assert client.stack.set_steering(KEY, table_of(128), {1}, True, False)
    client.open(10, v6=True)
    assert client.count("ports_steered") == 0
    client.open(10)
    assert client.count("ports_steered") == 10
    assert client.stack.set_steering(KEY[:16], table_of(128), {1}, True, True)     # too short for IPv6
    client.open(10, 81, v6=True)
    assert client.count("ports_steered") == 10


def test_a_key_that_ignores_ports_costs_a_bounded_number_of_tries(client):
    """All zero: every hash is 0, whose entry is another worker's."""
    assert client.stack.set_steering(bytes(40), table_of(128), {1}, True, True)
    assert len(client.open(20)) == 20
    assert client.count("ports_steered") == 0


def two_workers(eventfds):
    """Worker 0 and worker 1 with a table of flows between them."""
    table, area = FlowTable(64), HandoverArea(2)
    for number in range(2):
        wire, own = memory_pair(Frames(256), Frames(256))
        link = HandoverLink(own, area, number, eventfds)
        it = Client(link=link, wire=wire)
        it.stack.share_flows(table, link, ServiceTable())
        yield it


def answer(syn: TcpSegment) -> bytes:
    return TcpSegment(
        src=syn.dst, dst=syn.src, src_port=syn.dst_port, dst_port=syn.src_port, flags=SYN | ACK, seq=5,
        ack=syn.seq + 1, src_mac=syn.dst_mac, dst_mac=syn.src_mac, window=65535).build()  # fmt: skip


def test_an_answer_by_another_queue_is_handed_over_and_counted():
    eventfds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
    opener, other = two_workers(eventfds)
    (syn,) = opener.open()
    assert other.probe.transmit([answer(syn)]) == 1
    other.step(2_000_000_000)
    opener.step(2_000_000_000)
    assert opener.stack.events() == [(opener.opened[0], CONNECTED)]
    assert other.count("handed_over") == opener.count("answers_elsewhere") == 1
    (syn,) = [it for it in opener.open() if it.flags == SYN]
    assert opener.probe.transmit([answer(syn)]) == 1
    opener.step(3_000_000_000)
    assert opener.opened[1].state == "ESTABLISHED"
    assert opener.count("answers_elsewhere") == 1
    for it in (opener, other):
        it.stack.close()
    for fd in eventfds:
        os.close(fd)
