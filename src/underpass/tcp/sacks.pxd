"""The receiver's SACK blocks (RFC 2018 4): the runs it holds beyond the first gap, most recently changed first."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.seq cimport seq_t

# Payload start..end was kept out of order: its run becomes the first block.
cdef void sacks_note(Tcp *tcp, uint32_t conn, seq_t start, seq_t end) noexcept nogil
# RCV.NXT moved: forget what lies below it.
cdef void sacks_trim(Tcp *tcp, uint32_t conn, seq_t rcv_nxt) noexcept nogil
