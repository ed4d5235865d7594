"""How much reordering of the path is taken for what it is, and not for loss (RFC 8985 6.2 steps 3 and 4).

    reordering window = min(reo_wnd_mult * min_RTT / 4, SRTT)

and none at all while the path has never reordered anything and enough segments have been delivered to tell.
Where a segment was seen to come later than that, the window is a quarter wider than it was late, which on paths
with a round trip of less than LATE_MOST_US may be more than SRTT.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport Frame
from underpass.tcp.tcb cimport Tcp
from underpass.wire.seq cimport seq_t

cdef enum:
    REORDERING_PERSIST = 16         # RFC 8985 6.2 step 4: recoveries without a duplicate before the window shrinks
    LATE_MOST_US = 5000

cdef uint64_t reordering_window_ns(Tcp *tcp, uint32_t conn) noexcept nogil
# A segment sent once, at sent_ns, was delivered although one with higher numbers had been before (step 3).
cdef void reordering_note(Tcp *tcp, uint32_t conn, uint64_t sent_ns) noexcept nogil
# The peer reports that something was sent again for nothing: the window grows, once a round trip (step 4).
cdef void reordering_mistaken(Tcp *tcp, uint32_t conn) noexcept nogil
# A frame, first sent at sent_ns, was sent again; and later on, start..end is reported as a duplicate: how late was the first?
cdef void reordering_watch(Tcp *tcp, uint32_t conn, const Frame *it, uint64_t sent_ns) noexcept nogil
cdef void reordering_late(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil
# Recovery is over (step 4).
cdef void reordering_recovered(Tcp *tcp, uint32_t conn) noexcept nogil
