"""TCP_INFO in the layout of Linux' struct tcp_info, for tools that read it from a socket."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.tcp.tcb cimport Listener, Tcb, TcbCold, Tcp

# The structure of one connection.
cdef bytes tcp_info_octets(Tcp *tcp, uint32_t conn)
# That of a listener: handshakes under way, and the backlog, where a connection has `unacked` and `sacked`.
cdef bytes tcp_info_listener(const Listener *listener)
# Linux' TCP_CA_OPEN to TCP_CA_LOSS.
cdef uint8_t tcp_info_phase(const Tcb *tcb, const TcbCold *cold) noexcept nogil
# Octets sent more than once, each time counted.
cdef uint64_t tcp_info_resent(const Tcb *tcb, const TcbCold *cold) noexcept nogil
