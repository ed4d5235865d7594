"""What it costs to hand a packet over: a client, and a server of two workers in one process.

    client -- wire --+-- worker 0, which has the connections          the right way
                     `-- worker 1, which hands them over to it        the wrong way

Both ways pass the same cables, and both workers take a turn each time: what is more by the wrong way is the handing over,
that is, a second worker's receiving and parsing, the look into the table of flows, and two copies. Nobody sleeps, so
that nobody is woken; and both workers are on one core, so that the ring's memory does not move between caches.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.apps.bench_engine cimport FRAMES, EngineBench, clock_ns
from underpass.link.link cimport Desc, Link, LinkBase
from underpass.stack.stack cimport Stack

import os

from underpass.link.frames import Frames
from underpass.link.handover import HandoverArea, HandoverLink
from underpass.link.memory import memory_pair
from underpass.tcp.flows import FlowTable
from underpass.tcp.services import ServiceTable

cdef enum:
    BATCH = 64
    ROUNDS = 8                      # in each of them first the right way, then the wrong one


cdef void carry(Link *here, Link *there) noexcept nogil:
    """What has come out of one cable goes into the other; both ends keep their packets in the same frames."""
    cdef Desc[BATCH] descs
    cdef uint64_t now_ns = clock_ns()
    cdef uint32_t count = BATCH
    while count == BATCH:
        count = here.receive(here, descs, BATCH, now_ns)
        if there.transmit(there, descs, count, now_ns) != count:
            return                      # the cables hold more than all connections have in flight


cdef class HandoverBench(EngineBench):
    """A client with `connections` connections to one of two workers. Raises RuntimeError if they do not open."""
    cdef Stack other
    cdef LinkBase client_wire
    cdef LinkBase right_wire
    cdef LinkBase wrong_wire
    cdef list eventfds
    cdef bint wrong

    cdef int _make(self) except -1:
        network = Frames(FRAMES)
        table, area = FlowTable(2 * self.connections), HandoverArea(2)
        self.eventfds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        own, self.client_wire = memory_pair(Frames(FRAMES), network)
        self.client = self._client_on(own)
        own, self.right_wire = memory_pair(Frames(FRAMES), network)
        self.server = self._worker(own, area, table, 0)
        own, self.wrong_wire = memory_pair(Frames(FRAMES), network)
        self.other = self._worker(own, area, table, 1)
        return 0

    def _worker(self, own, area, table, number):
        link = HandoverLink(own, area, number, self.eventfds)
        stack = self._server_on(link)
        stack.share_flows(table, link, ServiceTable())
        return stack

    cdef void _turns(self, uint32_t count) noexcept nogil:
        cdef uint32_t _
        cdef Link *to = &self.wrong_wire.link if self.wrong else &self.right_wire.link
        for _ in range(count):
            self.client.turn(clock_ns())
            carry(&self.client_wire.link, to)
            self.other.turn(clock_ns())
            self.server.turn(clock_ns())
            carry(&self.right_wire.link, &self.client_wire.link)

    def run(self, double seconds):
        """See bench_handover.pyi."""
        spent_s = {False: 0.0, True: 0.0}
        asked = {False: 0, True: 0}
        before = self.other.tcp.state.counters.handed_over
        for turn in range(2 * ROUNDS):
            wrong = turn % 2 == 1
            self.wrong = wrong
            ran = EngineBench.run(self, seconds / (2.0 * ROUNDS))
            spent_s[wrong] += ran["seconds"]
            asked[wrong] += ran["transactions"]
        handed = self.other.tcp.state.counters.handed_over - before
        lost = self.other.tcp.state.counters.handover_full
        if handed == 0 or lost:
            raise RuntimeError(f"{handed} packets were handed over and {lost} lost")
        right_s = spent_s[False] / float(asked[False])
        more_s = spent_s[True] / float(asked[True]) - right_s
        return {"connections": self.connections, "transactions": asked[True], "handed_over": handed,
                "transaction_ns": right_s * 1e9, "handover_ns": more_s * 1e9 * asked[True] / float(handed)}

    def close(self):
        """Release all three stacks."""
        EngineBench.close(self)
        self.other.close()
        while self.eventfds:
            os.close(self.eventfds.pop())
