"""What only some connections need: those that lose, reorder, pace, measure their rate or probe their path.

A third block of each connection in the arena, all zero when its use begins. Its memory is touched first by
`rare_of`, so that a connection which never needs it pays nothing for it.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from underpass.tcp.tcb cimport CONN_RARE, Tcb, Tcp
from underpass.wire.seq cimport seq_t

cdef struct TcbRare:
    # receiving
    seq_t[8] sack_recent            # start and end of each block, the one that changed last first (RFC 2018 4)
    # the congestion control's own, zero when it begins
    uint64_t[16] congestion_state


cdef inline TcbRare *rare_of(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The connection's block, in use from now on."""
    cdef TcbRare *rare = <TcbRare *>tcp.rares + conn
    cdef Tcb *tcb = &tcp.tcbs[conn]
    if not tcb.flags & CONN_RARE:
        tcb.flags |= CONN_RARE
        memset(rare, 0, sizeof(TcbRare))
    return rare
