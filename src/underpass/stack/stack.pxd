"""The worker: the arena with all state of one process, and the loop that takes it a step further."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.gate cimport GateMemory
from underpass.link.link cimport LinkBase
from underpass.stack.arena cimport Arena
from underpass.stack.overload cimport Overload
from underpass.stack.sockets cimport PythonApp
from underpass.stack.tap cimport PacketTap
from underpass.stack.tracer cimport Tracer
from underpass.stack.turn cimport LOOP_TIMEOUT, Loop, LoopEnd
from underpass.tcp.flows cimport FlowTable
from underpass.tcp.services cimport ServiceTable
from underpass.tcp.steering cimport Steering
from underpass.tcp.tcb cimport App, Tcp


cdef class Stack:
    """One worker. Native applications cimport this class, register an App, and use `tcp/api.pxd` on `&stack.tcp`."""
    cdef Tcp tcp
    cdef readonly LinkBase link
    cdef readonly Arena arena
    cdef Loop loop
    cdef list natives               # keeps the owners of registered Apps alive
    cdef uint32_t app_count
    cdef PythonApp python
    cdef uint32_t python_app
    cdef readonly object recovery   # what became of the connections of a process that died, or None
    cdef dict open_connections      # index -> Connection
    cdef FlowTable flow_table       # kept while the engine points into it
    cdef ServiceTable service_table # likewise
    cdef GateMemory gate            # likewise
    cdef Overload overload
    cdef Steering *steering         # NULL until set for the first time
    cdef PacketTap tap              # None: nobody captures
    cdef Tracer tracer              # None: nobody follows a connection
    cdef bint stopping
    cdef bint closed
    cdef object __weakref__

    # Register an application; returns its index for tcp_listen and tcp_connect. `owner` is kept alive with the stack.
    cdef uint32_t register_app(self, const App *app, object owner) except? 0xFFFFFFFF
    # One turn: receive, segments, applications, output, transmit, timers. Returns packets received.
    cdef uint32_t turn(self, uint64_t now_ns) noexcept nogil
    # Turns until `deadline_ns`, until one of loop.fds is readable, or until `events` (NULL: none) is not zero.
    cdef LoopEnd loop_until(self, uint64_t deadline_ns, const uint32_t *events) noexcept nogil

    cdef int set_limits(self, dict limits) except -1
    cdef int lay_out(self) except -1
    cdef object recover(self)
    cdef int count_starved(self) except -1
    cdef int first_state(self, bytes seed) except -1
    cdef LoopEnd run_loop(self, object timeout, bint for_python) except? LOOP_TIMEOUT
    cdef list run_until(self, object timeout, object wake_fds, bint for_python)
    cdef list take_events(self)
