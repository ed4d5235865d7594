"""Active opens (RFC 9293 3.10.1, 3.10.7.3)."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from underpass.tcp.tcb cimport Preset, Tcp
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment

cdef uint32_t connect_open(Tcp *tcp, const Address *local, uint16_t local_port, const Address *remote,
                           uint16_t remote_port, uint8_t app, uint64_t user, const Preset *preset,
                           int *error) noexcept nogil
# A segment for a connection in SYN-SENT. True: the connection is synchronized now, and the segment's text and FIN go on to be processed.
cdef bint connect_segment(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
