"""Challenge ACKs (RFC 5961): the answer to what may be forged, at a bounded rate (RFC 5961 7)."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

cdef void challenge_ack(Tcp *tcp, uint32_t conn) noexcept nogil
# Whether one more may be sent in this second; counts it.
cdef bint challenge_allowed(Tcp *tcp) noexcept nogil
