"""The worker: the arena with all state of one process, and the loop that takes it a step further."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.link.link cimport LinkBase
from underpass.stack.arena cimport Arena
from underpass.tcp.tcb cimport App, Tcp


cdef class Stack:
    """One worker. Native applications cimport this class, register an App, and use `tcp/api.pxd` on `&stack.tcp`."""
    cdef Tcp tcp
    cdef readonly LinkBase link
    cdef readonly Arena arena
    cdef list _natives              # keeps the owners of registered Apps alive
    cdef uint32_t app_count
    cdef object _connections        # index -> Connection, for the Python interface
    cdef object _python
    cdef bint stopping

    # Register an application; returns its index for tcp_listen and tcp_connect. `owner` is kept alive with the stack.
    cdef int register_app(self, const App *app, object owner) except -1
    # One turn: receive, segments, applications, output, transmit, timers. Returns packets received.
    cdef uint32_t turn(self, uint64_t now_ns) noexcept nogil
