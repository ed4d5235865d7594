"""One wait for everything: packets, timers of TCP, the loop's descriptors, and the control work."""
from libc.stdint cimport uint64_t

from underpass.aio.dispatch cimport Dispatcher
from underpass.stack.stack cimport Stack


cdef class Poller:
    cdef Dispatcher dispatcher
    cdef Stack stack
    cdef object control
    cdef object refused             # why it waits no more, or None
    cdef int epoll
    cdef uint64_t look_at_ns
    cdef uint64_t control_at_ns     # under load
    cdef uint64_t refresh_at_ns     # whatever happens
    cdef bint busy                  # the latest look at the descriptors found something

    # See poller.pyi: up to `end_ns` of the monotonic clock.
    cdef list wait_until(self, uint64_t end_ns)
    cdef int attend(self, uint64_t now_ns, bint changed, bint asked) except -1
    cdef list ready(self, uint64_t now_ns)
