"""Timeouts (RFC 9293 3.10.8)."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

# The wheel handed out this connection: do what is due. It is attended to, and its timer armed anew, with the step.
cdef void expire(Tcp *tcp, uint32_t conn) noexcept nogil
