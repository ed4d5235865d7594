"""The Python side of a worker: its connections and listeners, and the application that collects events for them."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.stack.options cimport Target
from underpass.tcp.tcb cimport App, Tcp

cdef enum:
    STALE = 0x80                    # in a queue's word: what stood there was another connection's, which was let go of

cdef struct EventQueue:             # connections with events that Python has not seen; each stands in it once
    uint32_t *ring
    uint8_t *pending                # Event bits, by connection
    uint32_t mask
    uint32_t head
    uint32_t tail
    uint32_t waiting                # tail - head, where the loop can see it


cdef class PythonApp:
    """The native application behind the Python interface: it remembers what happened until Python asks."""
    cdef App app
    cdef EventQueue queue
    cdef uint32_t limit


cdef class Connection:
    cdef Tcp *tcp
    cdef object owner               # the Stack, kept alive
    cdef dict register              # the Stack's open connections by index
    cdef uint64_t handle
    cdef readonly tuple local
    cdef readonly tuple remote
    cdef public object data
    cdef object __weakref__

    cpdef object index_or_none(self)
    cdef uint32_t forget(self) except? 0xFFFFFFFF
    cdef uint32_t index(self) except? 0xFFFFFFFF
    cdef uint32_t readable_index(self) except? 0xFFFFFFFE


cdef class Listener:
    cdef Tcp *tcp
    cdef object owner
    cdef uint32_t number
    cdef readonly tuple address

    cdef int target(self, Target *target) except -1


# The index has a new connection: what the queue still has of the last one is nobody's.
cdef void events_forget(EventQueue *queue, uint32_t conn) noexcept nogil
# A Connection, kept in the register until it is closed.
cdef Connection make_connection(object owner, dict register, Tcp *tcp, uint32_t conn)
cdef Listener make_listener(object owner, Tcp *tcp, uint32_t number, tuple address)
# Copy `count` octets, which are there, out of the receive queue.
cdef void take(Tcp *tcp, uint32_t conn, uint8_t *into, size_t count) noexcept nogil
