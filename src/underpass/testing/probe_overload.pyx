"""The thresholds of stack/overload.pyx, and a link whose receive ring is as full as a test says."""
from libc.stdint cimport uint32_t

from underpass.link.link cimport Link
from underpass.stack.overload cimport overload_asked
from underpass.stack.stack cimport Stack

cdef uint32_t told


cdef uint32_t waiting_as_told(const Link *link) noexcept nogil:
    return told


def asked(uint32_t frames, uint32_t backlog, uint32_t connections, uint32_t level):
    """The level that the shares (of 256) ask for, where it is `level` now."""
    return overload_asked(frames, backlog, connections, level)


def pretend_worker(Stack stack not None, uint32_t worker):
    """From now on the stack has this number among those that share a table of flows."""
    stack.tcp.flows.worker = worker


def pretend_backlog(Stack stack not None, uint32_t waiting):
    """From now on so many 256ths of the stack's receive ring wait."""
    global told
    told = waiting
    stack.link.link.waiting = waiting_as_told
