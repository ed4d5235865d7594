"""A link that writes what passes to a capture file."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.link.link cimport Link, LinkBase

cdef enum:
    CAPTURE_BYTES = 262144      # gathered before they are written

cdef struct Capture:
    Link *below
    uint8_t *buffer
    const uint8_t *header       # what a file begins with
    uint32_t header_bytes
    uint32_t filled
    uint32_t packets            # in the buffer
    uint64_t epoch_ns
    uint64_t written            # octets of whole blocks in the file
    uint64_t lost               # packets that could not be written
    int fd
    bint torn                   # the file ends within a block and cannot be cut: nothing more is written


cdef class PcapLink(LinkBase):
    cdef readonly LinkBase inner
    cdef bytes header
    cdef Capture capture
