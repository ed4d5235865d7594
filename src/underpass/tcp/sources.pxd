"""How many connections a source has, told to the XDP program by memory that it shares with the workers.

A source is a prefix; how long it is, the shield's policy says, for two pairs of lengths at the most. What counts are connections
that others have opened to us and whose handshake is over: an invented source has none. The counts lie behind the table of
flows and its tags (tcp/flows.pxd), in buckets of the same form, a quarter as many:

    | hash of the prefix, 32 bits | connections, 24 bits | worker + 1 |   x 8 = one bucket; it stands in either of two

Each worker writes its own slots, by stores, and takes free ones by compare-and-exchange; the program adds up those of all workers.
A worker that begins, after another one in its place or with a new policy, counts its connections anew: what a dead one left
does not stay. Where both buckets are full, a source goes uncounted, and unlimited (`sources_untold`).

The first bucket says what is counted, a word for each pair of lengths, 0 for none: | 1 | bits of IPv6 | bits of IPv4 | 0 |, an
octet each.
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

cdef enum:
    SOURCE_KINDS = 2

# A connection's handshake is over; it is over itself, or in TIME-WAIT. Each may be called twice, and for one that we opened.
cdef void sources_add(Tcp *tcp, uint32_t conn) noexcept nogil
cdef void sources_remove(Tcp *tcp, uint32_t conn) noexcept nogil
# Count all anew.
cdef void sources_recount(Tcp *tcp) noexcept nogil


cdef inline void sources_follow(Tcp *tcp) noexcept nogil:
    """To be called now and then: whether other prefixes are wanted than before."""
    if tcp.flows.sources == NULL:
        return
    if tcp.flows.sources[0] != tcp.flows.source_kinds[0] or tcp.flows.sources[1] != tcp.flows.source_kinds[1]:
        sources_recount(tcp)
