"""Two ends of a cable within one process."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport FramePool
from underpass.link.link cimport Desc, LinkBase, LinkCounters

cdef struct Arrival:
    Desc desc
    uint64_t visible_ns         # when the packet comes out of the cable

cdef struct CableEnd:
    CableEnd *other             # NULL: unplugged
    FramePool *pool
    LinkCounters *counters
    Arrival *ring               # what the other end has sent
    uint32_t mask
    uint32_t head
    uint32_t tail
    uint32_t longest            # octets of the longest packet that passes
    uint64_t latency_ns


cdef class Cable:
    cdef CableEnd[2] ends


cdef class MemoryLink(LinkBase):
    cdef Cable cable
    cdef CableEnd *end
