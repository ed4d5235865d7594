"""Which worker has a flow: a table in memory that all workers of an interface share.

A flow belongs to the worker that took its SYN in, or opened it. Its packets come to that worker's queue as long as the
sender, or the network card, keeps to it; where they change to another queue, that queue's worker finds the owner here and
hands them over (link/handover.pxd). Only packets for which a worker has no connection are looked up.

A slot is one 64-bit word, written by one compare-and-exchange: the upper 56 bits of the flow's key, then its worker's
number + 1. A bucket is a cache line of eight slots; a flow stands in either of two buckets, or, where all are taken,
in none: then it is served as long as its packets keep to their queue.

What begins a flow comes to any queue. Where its worker does not serve the address and port, because another application has
workers of its own, or it does not listen yet or no more, one of those that do is given it (tcp/services.pxd).

    | key, 56 bits | worker + 1 |   x 8 = one bucket

Behind all buckets lies an octet for each slot, its tag: 0 where it is free, else an odd one that the key names. The XDP program
looks there first, and under a flood of flows that nobody has nowhere else: that is an eighth of the memory, which the cache
rather holds. The tag is written after the flow, and taken away before it, so that it is never another worker's.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.tcp.receive cimport Arrival
from underpass.tcp.tcb cimport Tcp
from underpass.wire.icmp cimport IcmpError

cdef extern from * nogil:
    uint64_t load_with "__atomic_load_n"(const uint64_t *slot, int order)
    void store_with "__atomic_store_n"(uint64_t *slot, uint64_t value, int order)
    void store_octet "__atomic_store_n"(uint8_t *tag, uint8_t value, int order)
    bint exchange_if "__atomic_compare_exchange_n"(uint64_t *slot, uint64_t *expected, uint64_t wanted, bint weak,
                                                   int success, int failure)
    enum:
        RELAXED "__ATOMIC_RELAXED"
        RELEASE "__ATOMIC_RELEASE"

cdef enum:
    BUCKET_SLOTS = 8
    NO_WORKER = 0xFF

# A segment for which there is no connection here: give it to the worker that has one, or else serves its address and port.
# False: there is none, or it is us.
cdef bint flows_hand_over(Tcp *tcp, Arrival *arrival) noexcept nogil
# An ICMP error in one chunk that quotes a segment of another worker: the same. Not to be called for what was handed over.
cdef bint flows_hand_over_error(Tcp *tcp, const IcmpError *error, const uint8_t *packet, uint32_t bytes) noexcept nogil
# A connection or TIME_WAIT entry, by its value in the demultiplexer, is ours from now on, or no more.
cdef void flows_add(Tcp *tcp, uint32_t value) noexcept nogil
cdef void flows_remove(Tcp *tcp, uint32_t value) noexcept nogil


cdef class FlowTable:
    """The memory of the table; see flows.pyi."""
    cdef void *base
    cdef readonly int memfd
    cdef readonly size_t bytes
    cdef readonly size_t buckets            # of flows, a power of two
    cdef readonly size_t source_buckets     # behind them: see tcp/sources.pxd

    cdef void attach(self, Tcp *tcp, uint32_t worker) noexcept
    # After a crash: make what stands here of our flows what they are.
    cdef int reconcile(self, Tcp *tcp) except -1
