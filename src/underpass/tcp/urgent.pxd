"""Urgent data (RFC 9293 3.8.5), in line as RFC 6093 would have it: the stream is delivered as it is, and the urgent
pointer tells up to where it is urgent.

The pointer is that of the octet behind the urgent ones (RFC 6093 2.1). New protocols do without (SHLD-13).
"""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

# A segment with URG came, in a state in which the peer may still send (RFC 9293 3.10.7.4, sixth).
cdef void urgent_arrives(Tcp *tcp, uint32_t conn, const Segment *seg) noexcept nogil
# Octets that the application has yet to read, come or not, up to the end of the urgent ones.
cdef uint32_t urgent_left(Tcp *tcp, uint32_t conn) noexcept nogil
# The application has read; to be called with TRAIT_URGENT_IN.
cdef void urgent_consumed(Tcp *tcp, uint32_t conn) noexcept nogil
# All that the application gave up to now is urgent.
cdef void urgent_queue(Tcp *tcp, uint32_t conn) noexcept nogil
# Flag and pointer of a segment at `seq`, whose header stands; to be called with TRAIT_URGENT_OUT.
cdef void urgent_mark(Tcp *tcp, uint32_t conn, uint8_t *header, seq_t seq) noexcept nogil
