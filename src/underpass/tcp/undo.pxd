"""Taking back a reduction of the window that was a mistake: the segments were late, not lost.

Three things prove it: all that was sent again is reported as duplicate (RFC 2883, 3708); the acknowledgment echoes
a timestamp from before the first of it (Eifel, RFC 3522); or, after a timeout, what was not sent again is
acknowledged all the same (F-RTO, RFC 5682). The answer to all three is that of RFC 4015.
"""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport Frame
from underpass.tcp.delivery cimport Delivery
from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

# The window is about to be reduced, for a timeout or for a loss that was detected.
cdef void undo_keep(Tcp *tcp, uint32_t conn, bint timeout) noexcept nogil
# A frame was sent again.
cdef void undo_note_sent(Tcp *tcp, uint32_t conn, const Frame *it) noexcept nogil
# The peer reports start..end as duplicate.
cdef void undo_note_duplicate(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil
# Look for a proof in an acknowledgment, and set the window back where there is one.
cdef void undo_acknowledged(Tcp *tcp, uint32_t conn, const Segment *seg, const Delivery *news) noexcept nogil
# F-RTO 2 b: new segments are sent now, though others wait to be sent again.
cdef bint undo_holds_lost(Tcp *tcp, uint32_t conn) noexcept nogil
