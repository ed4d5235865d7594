"""Loss recovery: fast retransmit and fast recovery with SACK (RFC 6675 5) and without (RFC 6582 3.2), and after timeouts."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport Segment

# A duplicate ACK (RFC 5681 2) or one that brought new SACK information: enter or go on with recovery.
cdef void recovery_duplicate(Tcp *tcp, uint32_t conn, uint32_t newly_sacked) noexcept nogil
# `acked` octets were acknowledged: leave recovery, go on with it, or let the window grow.
cdef void recovery_advance(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
# The retransmission timer fired (RFC 6298 5.4 to 5.6, RFC 5681 3.1).
cdef void recovery_timeout(Tcp *tcp, uint32_t conn) noexcept nogil
