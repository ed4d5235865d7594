"""Between the engine and the event loop: which Python object a connection belongs to, and what it has yet to be told.

    turn (no GIL)                         loop iteration (GIL)
    App callbacks --> EventQueue  ----->  Dispatcher.dispatch --> Endpoint.happened --> protocol.data_received
                                          transport.write --> send queue, which the next turn sends
"""
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.stack.options cimport Target
from underpass.stack.sockets cimport PythonApp
from underpass.stack.stack cimport Stack
from underpass.tcp.tcb cimport Tcp

cdef extern from "<stdbool.h>":
    ctypedef bint flag "bool"       # one octet of each endpoint, where a bint has four

cdef enum:
    TURN_WITHIN_NS = 200000         # callbacks that take longer are interrupted by a turn, so that peers are acknowledged
    WRITTEN_WITHIN = 131072         # octets that are written within an iteration before a turn sends them


cdef class Endpoint:
    """Whoever holds a connection. `conn` is its index while it is held, which `release` ends; NO_CONN without one.

    The dispatcher keeps a reference to those that are `kept`: to transports, which nobody else may hold.
    """
    cdef readonly Dispatcher dispatcher
    cdef Tcp *tcp
    cdef uint32_t conn
    cdef flag kept
    cdef flag v6                    # tells what was held after its end as well
    cdef public flag mapped         # over IPv4, to a socket of IPv6 (RFC 4291 2.5.5.2)
    cdef object __weakref__

    # What happened to the connection, as Event bits. Only what must end the loop is raised.
    cdef int happened(self, uint8_t events) except -1
    # Hold a connection, which another endpoint or nobody held before.
    cdef int hold(self, Dispatcher dispatcher, uint32_t conn, bint kept) except -1
    # Let go of it without ending it; returns its index.
    cdef uint32_t part(self) noexcept
    # It is another process's: let go of it, and touch nothing.
    cdef void disown(self) noexcept
    # End it: what is queued is still sent, or with `reset` it is not.
    cdef void release(self, bint reset) noexcept
    # The loop closes: end it; where that loses what was written, the peer is to know.
    cdef void abandon(self) noexcept
    cdef int held(self) except -1
    cdef int aim(self, int level, Target *target) except -1


cdef class Dispatcher:
    """The application that the event loop is to the stack."""
    cdef readonly Stack stack
    cdef Tcp *tcp
    cdef PythonApp app
    cdef uint8_t number
    cdef uint32_t limit
    cdef PyObject **endpoints       # by connection; NULL: nobody's
    cdef uint64_t turned_ns         # when the latest turn was made
    cdef uint32_t written           # octets, since then: less than WRITTEN_WITHIN
    cdef dict acceptors             # by a listener's word
    cdef uint64_t words
    cdef readonly dict inherited    # listeners that another process has left, by address and port: see succession.pyx
    cdef readonly dict left         # its connections that wait for their listener: what it knew of them
    cdef bint puts_off              # what comes is left to another process
    cdef object resumed             # called with who holds such a connection now, and that
    cdef str refused                # why nothing can be done with it: after a fork; or None
    cdef readonly uint64_t stretched    # turns made between two callbacks of an iteration

    # Have `happened` called once more for a connection, in the next iteration.
    cdef void again(self, uint32_t conn, uint8_t events) noexcept nogil
    # Raises RuntimeError where it is `refused`.
    cpdef int usable(self) except -1
    cdef Endpoint step(self)
    cdef int accepted(self, uint32_t conn) except -1
    # Accept by a listener that another process has left, and what waits for it; its number.
    cdef uint32_t take_over(self, uint32_t number, object accepted) except? 0xFFFFFFFF
    cdef bint is_awaited(self, uint32_t conn) except -1
    cpdef void turn(self) noexcept
    # A turn is made at this time.
    cdef void turns(self, uint64_t now_ns) noexcept
    # So many octets were written: a turn, if they are many.
    cdef void wrote(self, uint32_t octets) noexcept
    # Called between callbacks: a turn, if the latest one is long ago.
    cdef void breathe(self) noexcept
