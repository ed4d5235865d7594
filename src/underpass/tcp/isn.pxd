"""Initial sequence numbers (RFC 6528) and timestamp offsets, from a secret that no peer knows."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcb, Tcp
from underpass.wire.seq cimport seq_t

cdef seq_t isn_choose(const Tcp *tcp, const Tcb *tcb) noexcept nogil
cdef uint32_t isn_timestamp_offset(const Tcp *tcp, const Tcb *tcb) noexcept nogil
# Our clock for timestamps (RFC 7323 5.4): ticks of 2^20 ns.
cdef inline uint32_t timestamp_clock(const Tcp *tcp) noexcept nogil:
    return <uint32_t>(tcp.now_ns >> 20)
