"""A connection that no transport has: one that opens, or one that is used by the sock_ calls."""
cimport cython
from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t, uint32_t

import os

from underpass.aio.dispatch cimport Dispatcher, Endpoint
from underpass.stack.sockets cimport Connection, make_connection
from underpass.tcp.tcb cimport CLOSED, NO_CONN, SYN_RECEIVED, SYN_SENT

from underpass.aio.readiness import Readiness


@cython.no_gc_clear
cdef class SocketEnd(Endpoint):
    """See socket_end.pyi."""
    cdef Connection held_connection
    cdef list waiters
    cdef object descriptor              # a Readiness, once it is asked for; None

    def __init__(self):
        self.waiters = []

    @classmethod
    def of(cls, Dispatcher dispatcher not None, uint32_t conn):
        """Hold a connection that was accepted."""
        cdef SocketEnd it = cls()
        it.hold(dispatcher, conn, False)
        return it

    cdef int hold(self, Dispatcher dispatcher, uint32_t conn, bint kept) except -1:
        Endpoint.hold(self, dispatcher, conn, kept)
        self.held_connection = make_connection(dispatcher, {}, self.tcp, conn)
        return 0

    cdef void disown(self) noexcept:
        Endpoint.disown(self)
        self.held_connection.owner = None

    @property
    def connection(self):
        """The connection, or None where it was handed over. Raises RuntimeError after a fork."""
        if self.dispatcher is not None:
            self.dispatcher.usable()
        return self.held_connection

    cdef int happened(self, uint8_t events) except -1:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return 0

    def wait(self, loop):
        """A future that is done when something has happened."""
        waiter = loop.create_future()
        self.waiters.append(waiter)
        return waiter

    def is_connected(self):
        """Whether the handshake is over. Raises the OSError that ended it."""
        self.held()
        number = self.tcp.colds[self.conn].error
        state = self.tcp.tcbs[self.conn].state
        if number and state == CLOSED:
            self.release(False)
            raise OSError(number, os.strerror(number))
        return state != SYN_SENT and state != SYN_RECEIVED

    def watch(self, loop):
        """A descriptor that tells select() and its like whether octets can be received, and sent."""
        if self.descriptor is None:
            self.held()
            self.descriptor = Readiness(lambda: self.wait(loop), self.is_readable)
        return self.descriptor.fileno()

    def is_readable(self):
        """Whether receiving would not wait."""
        if self.conn == NO_CONN:
            return True
        try:
            self.held_connection.recv(0)
        except OSError as error:
            return error.errno != EAGAIN
        return True

    def look(self, full=False):
        """Something was taken, or `full` not: its descriptor is ready no longer, until something happens."""
        if self.descriptor is not None and self.conn != NO_CONN:        # after a fork it is the parent's
            self.descriptor.full() if full else self.descriptor.look()

    cdef int unwatch(self) except -1:
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            descriptor.close()
        return 0

    def hand_over(self):
        """The connection's index, for a transport that holds it from now on."""
        self.held()
        if self.held_connection is not None:
            self.held_connection.owner = None       # it closes what it owns
            self.held_connection = None
        self.unwatch()
        return self.part()

    @property
    def closed(self):
        """Whether there is no connection any more."""
        return self.conn == NO_CONN

    def close(self):
        """Let go of the connection: what is queued is still sent."""
        self.release(False)
        self.unwatch()
        self.happened(0)

    def abort(self):
        """Reset it."""
        self.release(True)
        self.unwatch()
        self.happened(0)
