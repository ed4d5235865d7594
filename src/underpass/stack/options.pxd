"""Socket options of connections, by the numbers that Linux gives them."""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Tcp

cdef object option_get(Tcp *tcp, uint32_t conn, int level, int option)
cdef int option_set(Tcp *tcp, uint32_t conn, int level, int option, object value) except -1
# The number of a congestion control by its name (bytes or str); CONGESTION_CONTROLS: there is none.
cdef uint32_t congestion_index(object name) except? 0xFFFFFFFF
