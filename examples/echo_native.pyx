"""An echo server as a native application: it runs inside the stack's loop, without Python.

Build it with `cythonize -3 -i echo_native.pyx`, then register it with a stack: `Echo(stack, "10.0.0.1", 7)`.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.stack.stack cimport Stack
from underpass.tcp.api cimport tcp_at_end, tcp_close, tcp_consume, tcp_listen, tcp_peek, tcp_write
from underpass.tcp.tcb cimport NO_LISTENER, App, Tcp
from underpass.wire.address cimport Address, address_from_text, address_is_v4

import os

cdef struct Tally:                      # what the callbacks write: no Python object can be touched in them
    uint64_t octets                     # sent back
    uint64_t ended                      # connections that are over


cdef void echo(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    """Send back what has arrived, as far as there is room; the rest waits until `writable` is called."""
    cdef const uint8_t *octets = NULL
    cdef uint32_t count = tcp_peek(tcp, conn, &octets)
    cdef uint32_t taken
    while count:
        taken = tcp_write(tcp, conn, octets, count)
        tcp_consume(tcp, conn, taken)
        (<Tally *>self).octets += taken
        if taken < count:
            return
        count = tcp_peek(tcp, conn, &octets)
    if tcp_at_end(tcp, conn):
        (<Tally *>self).ended += 1
        tcp_close(tcp, conn)            # from here on the index is no longer ours: `closed` is not called


cdef void opened(Tcp *tcp, uint32_t conn, void *self) noexcept nogil:
    pass


cdef void closed(Tcp *tcp, uint32_t conn, int error, void *self) noexcept nogil:
    """The peer reset the connection, or it timed out."""
    (<Tally *>self).ended += 1


cdef class Echo:
    """An echo service on (address, port) of a stack, which keeps it alive. Raises OSError where it cannot listen."""
    cdef App app
    cdef Tally tally

    def __init__(self, Stack stack, str address, int port):
        cdef Address local
        cdef int error = 0
        self.app.self = &self.tally
        self.app.accepted = self.app.connected = opened
        self.app.readable = self.app.writable = echo
        self.app.closed = closed
        number = stack.register_app(&self.app, self)
        address_from_text(address, &local)
        family = 4 if address_is_v4(&local) else 6
        if tcp_listen(&stack.tcp, &local, family, port, number, 1024, 0, 0, &error) == NO_LISTENER:
            raise OSError(error, f"{os.strerror(error)}: {address} port {port}")

    @property
    def octets(self):
        """Octets sent back."""
        return self.tally.octets

    @property
    def ended(self):
        """Connections that are over."""
        return self.tally.ended
