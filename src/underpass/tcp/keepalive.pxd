"""Keepalive (RFC 9293 3.8.4): a probe after long silence, and the end of a connection that does not answer."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

# See that the timer runs where keepalive is on, from the last segment that was heard.
cdef void keepalive_arm(Tcp *tcp, uint32_t conn) noexcept nogil
# The timer fired, in a synchronized state.
cdef void keepalive_timeout(Tcp *tcp, uint32_t conn) noexcept nogil
