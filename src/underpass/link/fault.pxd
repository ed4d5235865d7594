"""A link that loses, doubles, reorders, delays and damages packets, by seed."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FramePool
from underpass.link.link cimport Desc, Link, LinkBase, LinkCounters
from underpass.link.packet cimport MAX_PARTS

cdef enum:
    LINE_DEPTH = 1024           # packets held in each direction
    ASIDE_DEPTH = 8             # of them, waiting to be overtaken
    OVERTAKEN_BY = 3            # at most so many packets overtake one that is reordered
    ASIDE_NS = 2000000          # and it waits no longer than this for them
    FAULT_BATCH = 64            # descriptors taken from the inner link at once

cdef struct Held:
    Desc[18] parts              # MAX_PARTS
    uint32_t count
    uint32_t overtaken          # packets that shall still go before it
    uint64_t due_ns

cdef struct Rates:              # of 2^64
    uint64_t drop
    uint64_t duplicate
    uint64_t reorder
    uint64_t corrupt
    uint64_t delay_ns
    uint64_t jitter_ns

cdef struct Line:               # one direction
    Rates rates
    uint64_t random             # splitmix64's state
    uint64_t last_ns            # when the last packet is due: delay and jitter alone keep the order
    LinkCounters *counters
    FramePool *pool
    Held *ring
    uint32_t head
    uint32_t tail
    uint32_t aside_count
    bint shares_frames          # transmit: a doubled packet may be the same frame
    Held[8] aside               # ASIDE_DEPTH

cdef struct FaultState:
    Link *below
    Line received
    Line sent


cdef class FaultLink(LinkBase):
    cdef readonly LinkBase inner
    cdef FaultState state
    cdef bint closed
