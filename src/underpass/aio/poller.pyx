"""Turning the stack until there is something for the loop to do."""
from libc.stdint cimport uint32_t, uint64_t

from underpass.aio.dispatch cimport Dispatcher
from underpass.link.link cimport NEVER
from underpass.stack.turn cimport LOOP_SIGNAL, LOOP_WAKE, LOOP_WANTED, LoopEnd, monotonic_ns

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_wait(int epoll, epoll_event *events, int room, int timeout)

cdef enum:
    ROOM = 256                      # descriptors that one wait tells of
    LOOK_NS = 200000                # how often descriptors are looked at while packets keep coming
    CONTROL_NS = 10000000           # how often the control work is while they do
    OWN_FDS = 3


cdef class Poller:
    """See poller.pyi."""

    def __init__(self, Dispatcher dispatcher not None, int epoll, tuple control_fds, control):
        self.dispatcher = dispatcher
        self.stack = dispatcher.stack
        self.epoll = epoll
        self.control = control
        self.stack.loop.fd_count = OWN_FDS
        self.stack.loop.fds[0] = epoll
        self.stack.loop.fds[1], self.stack.loop.fds[2] = control_fds

    cdef int attend(self, uint64_t now_ns, bint changed, bint asked) except -1:
        """The control work."""
        cdef double at = self.control(changed, asked)
        self.refresh_at_ns = <uint64_t>(at * 1e9)
        self.control_at_ns = now_ns + CONTROL_NS
        return 0

    cdef list ready(self, uint64_t now_ns):
        cdef epoll_event[ROOM] events
        cdef int count = epoll_wait(self.epoll, events, ROOM, 0)
        self.busy = count > 0
        self.look_at_ns = now_ns + LOOK_NS
        return [(events[i].data.fd, events[i].events) for i in range(count)]

    def refuse(self, str why):
        """See poller.pyi."""
        self.refused = why

    def wait(self, timeout):
        """See poller.pyi."""
        if timeout is None:
            return self.wait_until(NEVER)
        return self.wait_until(monotonic_ns() + <uint64_t>(max(timeout, 0) * 1e9))

    cdef list wait_until(self, uint64_t end_ns):
        cdef uint64_t now_ns = monotonic_ns()
        cdef uint32_t readable
        cdef LoopEnd why
        cdef list found = None
        if self.refused is not None:
            raise RuntimeError(self.refused)
        while True:
            if now_ns >= self.control_at_ns:
                self.attend(now_ns, False, False)
            with nogil:
                why = self.stack.loop_until(min(end_ns, self.refresh_at_ns), &self.dispatcher.app.queue.waiting)
            now_ns = monotonic_ns()
            self.dispatcher.turns(now_ns)
            readable = self.stack.loop.ready if why == LOOP_WAKE else 0
            if why == LOOP_WANTED or readable & 6 or now_ns >= self.refresh_at_ns:
                self.attend(now_ns, readable & 2 != 0, readable & 4 != 0)
            if readable & 1 or self.busy or now_ns >= self.look_at_ns or not self.dispatcher.app.queue.waiting:
                found = self.ready(now_ns)
            if found or self.dispatcher.app.queue.waiting or now_ns >= end_ns or why == LOOP_SIGNAL:
                return found
