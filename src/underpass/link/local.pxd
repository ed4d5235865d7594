"""A link over another one on which packets to our own MAC address come back: connections within one stack.

    transmit -- to the link's own address? --copy--> ring --> the next receive, as DESC_LOCAL
             -- else --> the link below

What stands in the ring are frames of the same pool; it has a bound, beyond which packets are lost, as on a wire.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.link.link cimport Desc, Link, LinkBase

cdef enum:
    LOCAL_ROOM = 1024               # descriptors on their way

cdef struct Local:
    Link *below
    const uint8_t *mac              # ours; NULL until a stack says so: nothing comes back
    uint32_t head
    uint32_t tail
    uint64_t returned
    uint64_t lost                   # there was no room, or no frame
    Desc[1024] ring                 # LOCAL_ROOM


cdef class LocalLink(LinkBase):
    """See local.pyi."""
    cdef readonly LinkBase inner
    cdef Local state
