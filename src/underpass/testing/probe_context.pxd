"""A small Tcp context for tests of single procedures, with its pools in ordinary memory."""
from libc.stdint cimport uint32_t

from underpass.link.frames cimport Frames
from underpass.tcp.tcb cimport Tcp
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment


cdef class TcpContext:
    cdef Tcp tcp
    cdef readonly Frames frames
    cdef readonly uint32_t connections

    cdef int set_key(self, uint32_t conn, key) except -1


# 4 or 16 octets.
cdef int address_from(bytes octets, Address *address) except -1
# The fields of a segment by name; `src` and `dst` as octets, `sack` as pairs. The rest is zero.
cdef int segment_from(dict fields, Segment *seg) except -1
