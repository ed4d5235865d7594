"""Who serves an address and port: a list in memory that all workers of an interface share.

The supervisor writes it, worker after worker, as they begin to listen and leave off; workers read it. What begins a flow
and comes to a worker that does not serve its port goes to one that does, always the same one while the list does not change:
the ACK that brings a SYN cookie back must come to where a connection is made of it.

A service on the address itself comes before one on any address, as with listeners.
"""
from libc.stdint cimport uint16_t, uint32_t

from underpass.tcp.tcb cimport Service, Services
from underpass.wire.address cimport Address
from underpass.wire.segment cimport Segment

# The worker that is given a segment for which nobody has a connection, `chance` decides which. NO_WORKER (flows.pxd): nobody
# serves its address and port, or `own`, who asks, does.
cdef uint32_t services_choose(const Services *services, uint32_t own, const Segment *seg, uint32_t chance) noexcept nogil


cdef class ServiceTable:
    """The memory of the list; see services.pyi."""
    cdef Services *services
    cdef readonly int memfd

    cdef Service *find(self, const Address *address, uint16_t port) noexcept
    cdef Service *room(self) except NULL
    cdef void strike(self, Service *service, uint32_t worker) noexcept
