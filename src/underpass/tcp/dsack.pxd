"""Duplicates, reported in the first SACK block (RFC 2883): by the peer to us, and by us to the peer.

    ACK 4000, SACK 1000-2000            1000-2000 came twice: it lies below the acknowledgment
    ACK 4000, SACK 6000-7000 5000-9000  6000-7000 came twice: it lies in the block that follows
"""
from libc.stdint cimport uint32_t

from underpass.tcp.delivery cimport Delivery
from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport SackBlock, Segment
from underpass.wire.seq cimport seq_t

# Read what the peer reports, if it does (4.1): to `news`, the reordering window, and the undoing of recovery.
cdef void dsack_read(Tcp *tcp, uint32_t conn, const Segment *seg, Delivery *news) noexcept nogil
# Octets start..end have come, and were there: the next acknowledgment says so.
cdef void dsack_note(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil
# The SACK blocks of an acknowledgment, the duplicate first; returns how many of at most `room`.
cdef uint32_t dsack_blocks(Tcp *tcp, uint32_t conn, SackBlock *blocks, uint32_t room) noexcept nogil
