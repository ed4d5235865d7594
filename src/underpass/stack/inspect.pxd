"""What a worker shows of itself: states by name, TCP_INFO, rows in the manner of ss."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.tcp.tcb cimport Tcp

cdef object state_name(uint8_t state)
cdef dict connection_info(const Tcp *tcp, uint32_t conn)
cdef list connection_rows(const Tcp *tcp)
