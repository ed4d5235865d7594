"""Handing packets over between workers: for each pair a ring in shared memory, one writes, the other reads.

    worker 0: AfXdpLink -> no connection here, but one at worker 1 (tcp/flows.pxd)
                  `-> handover_give --ring 0 to 1--> HandoverLink of worker 1 -> parsed as if it had come by its own queue

A packet is copied into the ring, and from there into a frame of the other worker: they share nothing else, so that neither
can harm the other's frames. A ring that is full loses packets, as a wire does, and counts them. A worker that sleeps is
woken through its eventfd; the flag that says so is set before it looks at its rings for the last time.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.link.link cimport Link, LinkBase

cdef enum:
    WORKERS_MAX = 64
    RING_BYTES = 262144             # of packets, in each direction of each pair
    RECORD_MAX = 65600              # octets of one packet

cdef struct Ring:                   # in shared memory; positions only grow
    uint64_t head                   # read up to here
    uint8_t[56] apart
    uint64_t tail                   # written up to here
    uint64_t given
    uint64_t lost                   # there was no room
    uint8_t[40] apart_too
    uint8_t[262144] octets          # RING_BYTES: records of length and packet, each from a multiple of 8 on

cdef struct Bell:                   # in shared memory, one for each worker
    uint32_t sleeps
    uint8_t[60] apart

cdef struct Piece:
    const uint8_t *octets
    uint32_t count

cdef struct Handover:               # this process's view
    Bell *bells
    Ring *rings                     # [from * workers + to]
    uint32_t workers
    uint32_t worker                 # our number
    int[64] eventfds
    Link *below                     # our own
    bint idle                       # the bell is set: the worker may have slept since the last receive
    uint64_t taken                  # packets that others gave us

# Give a packet, which lies in so many pieces, to another worker. False: it is lost.
cdef bint handover_give(Handover *it, uint32_t to, const Piece *pieces, uint32_t count) noexcept nogil


cdef class HandoverArea:
    """The rings of all workers; see handover.pyi."""
    cdef void *base
    cdef readonly int memfd
    cdef readonly uint32_t workers
    cdef readonly size_t bytes


cdef class HandoverLink(LinkBase):
    """A link over a worker's own, on which also comes what others hand over; see handover.pyi."""
    cdef readonly LinkBase inner
    cdef HandoverArea area
    cdef Handover state
    cdef object epoll               # over the inner link's descriptor and our eventfd
    cdef int watched                # the former
