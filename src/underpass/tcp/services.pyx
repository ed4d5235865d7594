"""Who serves an address and port."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

import errno

from underpass.link.memfd cimport memfd_map, memfd_unmap
from underpass.tcp.flows cimport NO_WORKER
from underpass.tcp.tcb cimport MAX_SERVICES, Service, Services
from underpass.wire.address cimport Address, address_equal, address_from_text, address_is_any, address_is_v4
from underpass.wire.segment cimport Segment

cdef extern from * nogil:
    uint64_t load_with "__atomic_load_n"(const uint64_t *slot, int order)
    void store_with "__atomic_store_n"(uint64_t *slot, uint64_t value, int order)
    int bits_in "__builtin_popcountll"(uint64_t word)
    int lowest_bit "__builtin_ctzll"(uint64_t word)
    enum:
        ACQUIRE "__ATOMIC_ACQUIRE"
        RELEASE "__ATOMIC_RELEASE"

cdef enum:
    MAX_WORKERS = 64                # as many as hand packets over to each other (link/handover.pyx)


cdef inline bint is_of_family(const Service *service, const Segment *seg) noexcept nogil:
    return address_is_any(&service.address) and address_is_v4(&service.address) == address_is_v4(&seg.dst)


cdef const Service *service_of(const Services *services, const Segment *seg) noexcept nogil:
    """The one on the segment's address itself, or else on any; NULL: there is none."""
    cdef const Service *service
    cdef const Service *on_any = NULL
    cdef uint64_t i
    for i in range(min(load_with(&services.count, ACQUIRE), <uint64_t>MAX_SERVICES)):
        service = &services.them[i]
        if service.port != seg.dst_port or not load_with(&service.workers, ACQUIRE):
            continue
        if address_equal(&service.address, &seg.dst):
            return service
        if is_of_family(service, seg):
            on_any = service
    return on_any


cdef inline uint32_t worker_of(uint64_t workers, uint32_t which) noexcept nogil:
    """The number of the bit that has `which` others below it."""
    while which:
        workers &= workers - 1
        which -= 1
    return <uint32_t>lowest_bit(workers)


cdef uint32_t services_choose(const Services *services, uint32_t own, const Segment *seg, uint32_t chance) noexcept nogil:
    cdef const Service *service
    cdef uint64_t workers
    if services == NULL:
        return NO_WORKER
    service = service_of(services, seg)
    if service == NULL:
        return NO_WORKER
    workers = load_with(&service.workers, ACQUIRE)
    if workers == 0 or workers >> own & 1:
        return NO_WORKER
    return worker_of(workers, chance % <uint32_t>bits_in(workers))


cdef class ServiceTable:
    def __cinit__(self, int memfd=-1):
        self.services = NULL
        self.memfd = -1
        self.services = <Services *>memfd_map(&self.memfd, memfd, b"underpass-services", 0, sizeof(Services),
                                              "the list of services")

    def __dealloc__(self):
        memfd_unmap(self.memfd, self.services, sizeof(Services))

    cdef Service *find(self, const Address *address, uint16_t port) noexcept:
        cdef Service *service
        cdef uint64_t i
        for i in range(min(self.services.count, <uint64_t>MAX_SERVICES)):
            service = &self.services.them[i]
            if service.port == port and address_equal(&service.address, address):
                return service
        return NULL

    cdef Service *room(self) except NULL:
        """A place that nobody is served by: readers pass it over while it is written."""
        cdef uint64_t i
        for i in range(min(self.services.count, <uint64_t>MAX_SERVICES)):
            if self.services.them[i].workers == 0:
                return &self.services.them[i]
        if self.services.count >= MAX_SERVICES:
            raise OSError(errno.ENOSPC, f"workers serve {MAX_SERVICES} addresses and ports at most")
        return &self.services.them[self.services.count]

    def serve(self, str address, uint16_t port, uint32_t worker):
        """See services.pyi."""
        cdef Address local
        cdef Service *service
        address_from_text(address or "0.0.0.0", &local)
        if worker >= MAX_WORKERS:
            raise ValueError(f"workers have numbers below {MAX_WORKERS}, not {worker}")
        service = self.find(&local, port)
        if service == NULL:
            service = self.room()
            service.address, service.port = local, port
        store_with(&service.workers, service.workers | <uint64_t>1 << worker, RELEASE)
        if service == &self.services.them[self.services.count]:
            store_with(&self.services.count, self.services.count + 1, RELEASE)

    cdef void strike(self, Service *service, uint32_t worker) noexcept:
        if worker < MAX_WORKERS:
            store_with(&service.workers, service.workers & ~(<uint64_t>1 << worker), RELEASE)

    def leave(self, str address, uint16_t port, uint32_t worker):
        """See services.pyi."""
        cdef Address local
        cdef Service *service
        address_from_text(address or "0.0.0.0", &local)
        service = self.find(&local, port)
        if service != NULL:
            self.strike(service, worker)

    def forget(self, uint32_t worker):
        """See services.pyi."""
        cdef uint64_t i
        for i in range(min(self.services.count, <uint64_t>MAX_SERVICES)):
            self.strike(&self.services.them[i], worker)

    def workers(self, str address, uint16_t port):
        """See services.pyi."""
        cdef Address local
        cdef Service *service
        address_from_text(address or "0.0.0.0", &local)
        service = self.find(&local, port)
        if service == NULL:
            return []
        return [worker for worker in range(MAX_WORKERS) if service.workers >> worker & 1]
