"""SEGMENT ARRIVES (RFC 9293 3.10.7)."""
from libc.stdint cimport uint32_t

from underpass.tcp.demux cimport demux_hash
from underpass.tcp.receive cimport Arrival
from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport Segment

# Process one valid segment with that hash. Frames of the arrival that were kept are NO_FRAME afterwards; the caller
# frees the rest.
cdef void arrive(Tcp *tcp, Arrival *arrival, uint32_t hash) noexcept nogil


cdef inline uint32_t arrive_hash(const Tcp *tcp, const Segment *seg) noexcept nogil:
    """The hash of the connection that a segment belongs to, seen from our side."""
    return demux_hash(tcp, &seg.dst, seg.dst_port, &seg.src, seg.src_port)
