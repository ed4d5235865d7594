"""An application whose only deadline is set in a callback, for tests of the loop."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from underpass.link.link cimport NEVER
from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport tcp_connect
from underpass.tcp.tcb cimport NO_CONN, App, Tcp
from underpass.wire.address cimport Address, address_from_text

cdef struct Clock:
    uint64_t after_ns
    uint64_t due_ns
    uint64_t late_ns


cdef void nothing(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """Of no interest."""


cdef void on_closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    cdef Clock *clock = <Clock *>self
    clock.due_ns = tcp.now_ns + clock.after_ns


cdef uint64_t on_tick(Tcp *tcp, void *self) noexcept nogil:
    cdef Clock *clock = <Clock *>self
    if tcp.now_ns < clock.due_ns:
        return clock.due_ns
    clock.late_ns = tcp.now_ns - clock.due_ns
    clock.due_ns = NEVER
    return NEVER


cdef class Alarm:
    """Connects to an address; `after_ns` behind the end of that connection its alarm is due."""
    cdef Clock clock
    cdef Stack stack

    def __init__(self, Stack stack not None, str address, int port, uint64_t after_ns):
        cdef App app
        cdef Address local, remote
        cdef int error = 0
        self.stack = stack
        self.clock.after_ns = after_ns
        self.clock.due_ns = self.clock.late_ns = NEVER
        memset(&app, 0, sizeof(App))
        memset(&local, 0, sizeof(Address))
        address_from_text(address, &remote)
        app.self = &self.clock
        app.accepted = app.connected = app.readable = app.writable = nothing
        app.closed, app.tick = on_closed, on_tick
        number = stack.register_app(&app, self)
        if tcp_connect(&stack.tcp, &local, 0, &remote, port, <uint8_t>number, 0, &error) == NO_CONN:
            raise OSError(error, f"{address} port {port}")

    @property
    def late_ns(self):
        """How late it went off; None: it has not yet."""
        return None if self.clock.late_ns == NEVER else self.clock.late_ns
