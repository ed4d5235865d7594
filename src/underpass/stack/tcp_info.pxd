"""TCP_INFO in the layout of Linux' struct tcp_info, for tools that read it from a socket."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

# The structure of one connection; NO_CONN: of a listener.
cdef bytes tcp_info_octets(Tcp *tcp, uint32_t conn)
