"""Challenge ACKs (RFC 5961): the answer to what may be forged, at a bounded rate (RFC 5961 7)."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

cdef enum:
    CHALLENGE_MS = 500              # as Linux' tcp_invalid_ratelimit

cdef void challenge_ack(Tcp *tcp, uint32_t conn) noexcept nogil
# Whether the connection may answer one more segment that brings nothing: one in CHALLENGE_MS, so that two sides which
# take each other's numbers for wrong do not answer each other for ever.
cdef bint challenge_due(Tcp *tcp, uint32_t conn) noexcept nogil
# Whether one more may be sent in this second; counts it.
cdef bint challenge_allowed(Tcp *tcp) noexcept nogil
