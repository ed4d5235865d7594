"""NewReno: slow start and congestion avoidance (RFC 5681). Fast recovery (RFC 6582) is the caller's."""
from libc.stdint cimport uint32_t

from underpass.tcp.congestion.hystart cimport HyStart
from underpass.tcp.tcb cimport Tcp

cdef struct NewReno:                # in TcbRare.congestion_state
    HyStart hystart
    uint32_t bytes_acked            # octets acknowledged towards the next segment

cdef void newreno_acked(Tcp *tcp, uint32_t conn, uint32_t acked) noexcept nogil
cdef void newreno_lost(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
cdef void newreno_timed_out(Tcp *tcp, uint32_t conn, uint32_t flight) noexcept nogil
