"""The HTTP server as a native application: the callbacks that an App names, with `self` an `Http`."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.apps.http_state cimport Http
from underpass.tcp.tcb cimport Tcp

cdef void http_accepted(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
cdef void http_readable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
cdef void http_writable(Tcp *tcp, uint32_t conn, void *self) noexcept nogil
cdef void http_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil
cdef uint64_t http_tick(Tcp *tcp, void *self) noexcept nogil
# Close what is idle; what is being answered is the last on its connection.
cdef void http_drain(Tcp *tcp, Http *http) noexcept nogil
