"""The access log: lines go into a ring in memory, and a thread of its own writes them out.

The packet path never waits for the disk: a line for which the ring has no room is dropped and counted.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef struct LogRing:
    uint8_t *octets
    uint64_t mask               # size - 1
    uint64_t head               # octets ever put in, by the packet path
    uint64_t tail               # octets ever written out, by the thread
    uint64_t lines
    uint64_t dropped

cdef void log_append(LogRing *ring, const uint8_t *line, uint32_t count) noexcept nogil


cdef class AccessLog:
    """Owns a ring, its file and the thread that writes."""
    cdef LogRing ring
    cdef readonly str path
    cdef int _file
    cdef bint _closing
    cdef object _thread
    cdef object _wake
    cdef readonly object error      # the OSError that ended the writing, or None
