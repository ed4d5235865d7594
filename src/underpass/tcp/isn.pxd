"""Initial sequence numbers (RFC 6528) and timestamp offsets, from a secret that no peer knows."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_after, seq_t

cdef enum:
    ISN_REOPEN_GAP = 128000         # between the old connection's last octet and the new one's first

# M + F(four-tuple, secret): M counts 4 us, F is SipHash-2-4 under state.secret.
cdef seq_t isn_choose(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# The same for each connection of a four-tuple: its timestamps go on rising over TIME_WAIT (RFC 6191 2).
cdef uint32_t isn_timestamp_offset(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# The same for an answer to a segment for which no connection is kept.
cdef uint32_t isn_answer_offset(const Tcp *tcp, const Segment *seg) noexcept nogil


cdef inline seq_t isn_above(seq_t iss, seq_t previous) noexcept nogil:
    """An ISS above the SND.NXT of the connection in TIME_WAIT that it follows (RFC 1122 4.2.2.13)."""
    return iss if seq_after(iss, previous) else previous + <uint32_t>ISN_REOPEN_GAP


# Our clock for timestamps (RFC 7323 5.4): ticks of 2^20 ns.
cdef inline uint32_t timestamp_clock(const Tcp *tcp) noexcept nogil:
    return <uint32_t>(tcp.now_ns >> 20)
