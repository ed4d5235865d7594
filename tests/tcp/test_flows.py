"""Which worker has a flow: two stacks on one table, and what arrives at the wrong one."""

import dataclasses
import mmap
import os
import struct

import pytest

from underpass.link.frames import Frames
from underpass.link.handover import HandoverArea, HandoverLink
from underpass.link.memory import memory_pair
from underpass.observe.pcapng_blocks import packets
from underpass.observe.spool_reader import SpoolReader
from underpass.stack.stack import ACCEPTED, CLOSED, READABLE, Stack
from underpass.tcp.flows import FlowTable
from underpass.tcp.services import ServiceTable
from underpass.testing.icmp import icmp_error
from underpass.testing.packets import TcpSegment
from underpass.testing.probe_link import LinkProbe

SYN, ACK, PSH, FIN, RST = 2, 16, 8, 1, 4
SLOTS = 8                       # of a bucket
UNREACHABLE, PORT, TOO_BIG = 3, 3, 4
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
MACS = {CLIENT: "02:00:00:00:00:01", SERVER: "02:00:00:00:00:02"}


class Workers:
    """Two workers of one address; the test is the network, which chooses the queue of each packet."""

    def __init__(self, flows=1024, services=(), **limits):
        self.table = FlowTable(flows)
        self.services = ServiceTable()
        for service in services:
            self.services.serve(*service)
        self.area = HandoverArea(2)
        self.eventfds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self.now_ns = 1_000_000_000
        self.wires, self.stacks, self.links = [], [], []
        for number in range(2):
            wire, own = memory_pair(Frames(1024), Frames(1024))
            link = HandoverLink(own, HandoverArea(2, self.area.memfd), number, self.eventfds)
            stack = Stack(link, bytes.fromhex("020000000002"), seed=bytes(16), **limits)
            stack.share_flows(FlowTable(memfd=self.table.memfd), link, ServiceTable(self.services.memfd))
            stack.set_addresses([(SERVER, 24)])
            stack.set_routes([("10.0.0.0", 24, None, None, 0, 0)])
            stack.set_neighbour(CLIENT, bytes.fromhex("020000000001"))
            stack.step(self.now_ns)
            if not services or number in self.services.workers("", 80):
                stack.listen(("0.0.0.0", 80))
            self.wires.append(Wire(wire))
            self.links.append(link)
            self.stacks.append(stack)

    def send(self, queue, flags, payload=b"", **fields):
        """A segment of the client arrives at a worker's queue; what the two answer: (worker, segment)."""
        self.wires[queue].send(TcpSegment(
            src=CLIENT, dst=SERVER, flags=flags, payload=payload, window=65535, src_mac=MACS[CLIENT],
            dst_mac=MACS[SERVER], **{"src_port": 5000, "dst_port": 80} | fields))
        return self.settle()

    def settle(self):
        answers = []
        for _ in range(4):
            self.now_ns += 1000
            for number, stack in enumerate(self.stacks):
                stack.step(self.now_ns)
                answers += [(number, it) for it in self.wires[number].receive(self.now_ns)]
        return answers

    def opened(self, queue):
        """A connection that worker `queue` has; its sequence numbers (ours, the server's)."""
        ((_, answer),) = self.send(queue, SYN, seq=100, mss=1460)
        self.send(queue, ACK, seq=101, ack=answer.seq + 1)
        ((conn, events),) = self.stacks[queue].events()
        assert events & ACCEPTED
        return conn, 101, answer.seq + 1

    def counters(self, worker):
        return self.stacks[worker].stats()["tcp"]

    def close(self):
        for stack in self.stacks:
            stack.close()
        for fd in self.eventfds:
            os.close(fd)


class Wire:
    def __init__(self, link):
        self.probe = LinkProbe(link)

    def send(self, segment):
        assert self.probe.transmit([segment.build()]) == 1

    def receive(self, now_ns):
        return [TcpSegment.parse(it) for it in self.probe.receive(now_ns)]


@pytest.fixture
def workers():
    them = Workers()
    yield them
    them.close()


def test_a_flow_that_changes_its_queue_goes_on(workers):
    conn, seq, ack = workers.opened(0)
    answers = workers.send(1, ACK | PSH, b"by another queue", seq=seq, ack=ack)
    assert conn.recv() == b"by another queue"
    assert [number for number, _ in answers] == [0] * len(answers)
    assert not any(it.flags & RST for _, it in answers)
    assert workers.counters(1)["handed_over"] == 1
    assert workers.links[0].handed_over["taken"] == 1
    assert workers.counters(0)["connections"] == 1
    assert workers.counters(1)["connections"] == 0


def test_a_segment_that_is_handed_over_is_captured_once_where_its_connection_is(workers):
    _, seq, ack = workers.opened(0)
    readers = [SpoolReader(stack.capture_start()) for stack in workers.stacks]
    workers.send(1, ACK | PSH, b"by another queue", seq=seq, ack=ack)
    there, passed_by = ([it for it in packets(reader.read()[0]) if not it.is_sent] for reader in readers)
    assert [TcpSegment.parse(it.frame).payload for it in there] == [b"by another queue"]
    assert [it.comment for it in there] == [""]
    assert passed_by == []


def test_a_syn_that_comes_again_by_another_queue_opens_nothing_new(workers):
    ((first, one),) = workers.send(0, SYN, seq=100)
    ((again, other),) = workers.send(1, SYN, seq=100)
    assert (first, again) == (0, 0)
    assert (one.seq, one.ack) == (other.seq, other.ack)
    assert workers.counters(1)["half_open"] == 0


def test_what_nobody_has_is_reset_once(workers):
    answers = workers.send(1, ACK, seq=1, ack=1)
    assert [(number, it.flags & RST) for number, it in answers] == [(1, RST)]
    assert workers.counters(1)["handed_over"] == 0


def test_time_wait_is_found_and_a_flow_that_is_over_is_forgotten(workers):
    conn, seq, ack = workers.opened(0)
    assert workers.table.count(0) == 1
    conn.close()
    workers.settle()
    workers.send(0, FIN | ACK, seq=seq, ack=ack + 1)
    assert workers.table.count(0) == 1
    ((number, answer),) = workers.send(1, FIN | ACK, seq=seq, ack=ack + 1)
    assert (number, answer.flags, answer.ack) == (0, ACK, seq + 1)
    workers.now_ns += 120 * 1_000_000_000
    workers.settle()
    assert workers.table.count(0) == 0


def taken(table):
    """What stands in the table, and the octet beside each slot."""
    slots = table.buckets * SLOTS
    with mmap.mmap(table.memfd, table.bytes) as memory:
        words = struct.unpack_from(f"={slots}Q", memory)
        tags = memory[8 * slots: 9 * slots]
    return [(word, tag) for word, tag in zip(words, tags, strict=True) if word or tag]


def test_slots_have_a_tag_while_they_are_taken(workers):
    """The XDP program looks for a flow in tags first: one without is nobody's there."""
    for port in range(5000, 5050):
        workers.send(port % 2, SYN, seq=100, src_port=port, mss=1460)
    assert [tag for _, tag in taken(workers.table)] == [word >> 56 | 1 for word, _ in taken(workers.table)]
    assert len(taken(workers.table)) == 50
    for port in range(5000, 5050, 2):
        workers.send(port % 2, RST, seq=101, src_port=port)
    assert [tag for _, tag in taken(workers.table)] == [word >> 56 | 1 for word, _ in taken(workers.table)]
    assert len(taken(workers.table)) == 25
    assert workers.table.forget(1) == 25
    assert taken(workers.table) == []


def icmp_about(workers, queue, segment, code, mtu=0):
    """That a segment which the server sent could not be delivered arrives at a queue."""
    about = dataclasses.replace(segment, src_mac=MACS[SERVER], dst_mac=MACS[CLIENT])
    assert workers.wires[queue].probe.transmit([icmp_error(about, UNREACHABLE, code, mtu=mtu)]) == 1
    return workers.settle()


def test_an_icmp_error_about_another_workers_flow_is_handed_over(workers):
    conn, _, _ = workers.opened(0)
    conn.send(bytes(1400))
    ((_, sent),) = workers.settle()
    answers = icmp_about(workers, 1, sent, TOO_BIG, mtu=1000)
    assert [number for number, _ in answers] == [0, 0]
    assert max(len(it.payload) for _, it in answers) == 1000 - 40
    assert workers.counters(1)["icmp_handed_over"] == workers.links[0].handed_over["taken"] == 1
    assert workers.counters(0)["path_mtu_lowered"] == workers.counters(0)["icmp_in"] == 1
    assert workers.counters(1)["icmp_in"] == 0


def test_an_icmp_error_that_is_handed_over_is_captured_once(workers):
    conn, _, _ = workers.opened(0)
    conn.send(b"x")
    ((_, sent),) = workers.settle()
    readers = [SpoolReader(stack.capture_start()) for stack in workers.stacks]
    icmp_about(workers, 1, sent, PORT)
    there, passed_by = ([it for it in packets(reader.read()[0]) if not it.is_sent] for reader in readers)
    assert [it.comment for it in there] == [""]
    assert passed_by == []


def test_an_icmp_error_ends_a_handshake_at_another_worker(workers):
    conn = workers.stacks[0].connect((CLIENT, 81))
    ((_, syn),) = workers.settle()
    icmp_about(workers, 1, syn, PORT)
    assert workers.stacks[0].events()[0][1] & CLOSED
    with pytest.raises(ConnectionRefusedError):
        conn.recv()


def test_an_icmp_error_about_nobodys_flow_stays(workers):
    """And one about a flow of the worker that it came to."""
    conn, _, _ = workers.opened(0)
    conn.send(b"x")
    ((_, sent),) = workers.settle()
    icmp_about(workers, 1, dataclasses.replace(sent, dst_port=5999), PORT)
    assert workers.counters(1)["icmp_no_connection"] == 1
    icmp_about(workers, 0, sent, PORT)
    assert workers.counters(0)["icmp_soft"] == 1
    assert workers.counters(0)["icmp_handed_over"] == workers.counters(1)["icmp_handed_over"] == 0


def test_an_icmp_error_that_was_handed_over_goes_no_further(workers):
    """Its flow ended meanwhile, and began anew at the worker that it came from: it would go in circles."""
    conn, _, _ = workers.opened(0)
    conn.send(b"x")
    ((_, sent),) = workers.settle()
    about = dataclasses.replace(sent, src_mac=MACS[SERVER], dst_mac=MACS[CLIENT])
    workers.wires[1].probe.transmit([icmp_error(about, UNREACHABLE, PORT)])
    workers.stacks[1].step(workers.now_ns)
    conn.abort()
    workers.wires[1].send(TcpSegment(src=CLIENT, dst=SERVER, src_port=5000, dst_port=80, flags=SYN, seq=7,
                                     src_mac=MACS[CLIENT], dst_mac=MACS[SERVER], window=65535))
    workers.stacks[1].step(workers.now_ns)
    assert workers.table.count(1) == 1
    workers.settle()
    assert workers.counters(1)["icmp_handed_over"] == workers.counters(0)["icmp_no_connection"] == 1
    assert workers.counters(0)["icmp_handed_over"] == 0


def test_an_icmp_error_that_finds_a_full_ring_is_counted(workers):
    conn, _, _ = workers.opened(0)
    conn.send(bytes(1400))
    ((_, sent),) = workers.settle()
    about = dataclasses.replace(sent, src_mac=MACS[SERVER], dst_mac=MACS[CLIENT])
    for _ in range(5000):
        workers.wires[1].probe.transmit([icmp_error(about, UNREACHABLE, TOO_BIG, mtu=1000)])
        workers.stacks[1].step(workers.now_ns)      # worker 0 does not run
    counters = workers.counters(1)
    assert counters["handover_full"] > 0
    assert counters["icmp_handed_over"] + counters["handover_full"] == 5000


def test_the_flows_of_a_worker_that_died_are_nobodys(workers):
    workers.opened(0)
    assert workers.table.forget(0) == 1
    answers = workers.send(1, ACK, seq=101, ack=1)
    assert [number for number, _ in answers] == [1]


def test_a_sleeping_worker_is_woken(workers):
    _, seq, ack = workers.opened(0)
    workers.stacks[0].next_deadline()           # what the loop asks before it sleeps
    workers.wires[1].send(TcpSegment(
        src=CLIENT, dst=SERVER, src_port=5000, dst_port=80, flags=ACK | PSH, payload=b"x", seq=seq, ack=ack,
        src_mac=MACS[CLIENT], dst_mac=MACS[SERVER], window=65535))  # fmt: skip
    workers.stacks[1].step(workers.now_ns)
    assert os.eventfd_read(workers.eventfds[0]) == 1
    assert workers.stacks[0].next_deadline() == 0
    workers.stacks[0].step(workers.now_ns)
    assert workers.stacks[0].events()[0][1] & READABLE


def test_a_full_ring_loses_packets_and_counts_them(workers):
    _, seq, ack = workers.opened(0)
    segment = TcpSegment(
        src=CLIENT, dst=SERVER, src_port=5000, dst_port=80, flags=ACK | PSH, payload=bytes(1400), seq=seq,
        ack=ack, src_mac=MACS[CLIENT], dst_mac=MACS[SERVER], window=65535)  # fmt: skip
    for _ in range(400):
        workers.wires[1].send(segment)
        workers.stacks[1].step(workers.now_ns)      # worker 0 does not run
    counters = workers.counters(1)
    assert counters["handover_full"] > 0
    assert counters["handed_over"] + counters["handover_full"] == 400
    assert workers.links[1].handed_over["lost"] == counters["handover_full"]
    workers.settle()
    assert workers.links[0].handed_over["taken"] == counters["handed_over"]


def test_a_full_table_serves_what_keeps_to_its_queue():
    workers = Workers(flows=1)
    for port in range(5000, 5200):
        workers.send(0, SYN, seq=100, src_port=port)
    assert workers.counters(0)["flows_untold"] > 0
    assert workers.counters(0)["half_open"] == 200
    workers.close()


def test_the_size_of_foreign_memory_is_checked():
    memfd = os.memfd_create("test")
    os.truncate(memfd, 100)
    with pytest.raises(ValueError, match="is no table of flows"):
        FlowTable(memfd=memfd)
    with pytest.raises(ValueError, match="does not hold the rings of 2 workers"):
        HandoverArea(2, memfd)
    with pytest.raises(ValueError, match="1 to 64 workers"):
        HandoverArea(65)
    os.close(memfd)


class TestServices:
    """Worker 1 serves port 80, and worker 0 something else."""

    @pytest.fixture
    def workers(self, request):
        limits = getattr(request, "param", {})
        them = Workers(**limits, services=[("", 80, 1), ("::", 80, 1), (SERVER, 443, 0)])
        yield them
        them.close()

    @pytest.mark.parametrize("queue", [0, 1])
    def test_a_flow_begins_where_its_port_is_served_whatever_queue_it_comes_by(self, workers, queue):
        ((number, answer),) = workers.send(queue, SYN, seq=100, mss=1460)
        assert (number, answer.flags) == (1, SYN | ACK)
        workers.send(queue, ACK | PSH, b"asked", seq=101, ack=answer.seq + 1)
        ((conn, events),) = workers.stacks[1].events()
        assert events & ACCEPTED
        assert conn.recv() == b"asked"
        assert [workers.counters(it)["handed_over"] for it in range(2)] == [2 * (queue == 0), 0]

    @pytest.mark.parametrize("workers", [{"half_open": 0}], indirect=True)
    def test_the_ack_of_a_cookie_comes_there_too(self, workers):
        """No worker has the flow yet: every one must give it to the same."""
        ((_, answer),) = workers.send(0, SYN, seq=100, mss=1460)
        assert workers.counters(1)["half_open"] == 0
        workers.send(0, ACK | PSH, b"asked", seq=101, ack=answer.seq + 1)
        ((conn, events),) = workers.stacks[1].events()
        assert events & ACCEPTED
        assert conn.recv() == b"asked"

    def test_another_port_is_refused_where_it_comes(self, workers):
        for queue in range(2):
            answers = workers.send(queue, SYN, seq=100, dst_port=81)
            assert [(number, it.flags & RST) for number, it in answers] == [(queue, RST)]

    def test_at_a_worker_that_serves_it_not_it_is_refused_and_not_passed_round(self, workers):
        answers = workers.send(1, SYN, seq=100, dst_port=443)
        assert [(number, it.flags & RST) for number, it in answers] == [(0, RST)]
        assert [workers.counters(it)["handed_over"] for it in range(2)] == [0, 1]

    def test_who_begins_to_serve_is_given_it_and_who_leaves_off_is_not(self, workers):
        workers.stacks[0].listen(("0.0.0.0", 80))
        ((number, _),) = workers.send(0, SYN, seq=100, src_port=5001)
        assert number == 1                      # nobody has said so
        workers.services.serve("", 80, 0)
        ((number, _),) = workers.send(0, SYN, seq=100, src_port=5002)
        assert number == 0
        workers.services.forget(1)
        assert workers.services.workers("", 80) == [0]
        workers.services.leave("", 80, 0)
        answers = workers.send(1, SYN, seq=100, src_port=5003)
        assert [number for number, _ in answers] == [1]         # nobody serves it: it is not passed on

    def test_the_address_itself_comes_before_all_addresses(self, workers):
        workers.services.serve(SERVER, 80, 0)
        workers.stacks[0].listen((SERVER, 80))
        ((number, _),) = workers.send(1, SYN, seq=100)
        assert number == 0

    def test_more_than_there_is_room_for_are_refused(self):
        table = ServiceTable()
        for port in range(1, 65):
            table.serve("", port, 0)
        table.serve("", 64, 1)
        with pytest.raises(OSError, match="64 addresses and ports"):
            table.serve("", 65, 0)
        table.leave("", 3, 0)
        table.serve("::", 65, 63)
        assert (table.workers("", 3), table.workers("::", 65)) == ([], [63])
        with pytest.raises(ValueError, match="below 64, not 64"):
            table.serve("", 1, 64)
