"""The acknowledgment field (RFC 9293 3.10.7.4, fifth step; RFC 5961 5)."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport Segment

# False: the acknowledgment is for something never sent, or too old; it has been answered where it should be, and the
# segment goes no further.
cdef bint ack_process(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
# Whether our FIN has been acknowledged.
cdef bint ack_covers_fin(const Tcp *tcp, uint32_t conn) noexcept nogil
