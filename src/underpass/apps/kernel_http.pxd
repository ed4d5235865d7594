"""The epoll loop over Linux's sockets, for applications that answer requests in their own way."""
from libc.stdint cimport uint8_t, uint32_t

from underpass.apps.file_cache cimport FileCache
from underpass.apps.http_request cimport HEAD_LIMIT
from underpass.apps.http_state cimport Http, HttpConn, HttpCounters
from underpass.tcp.tcb cimport Tcp

cdef struct Client:
    HttpConn conn
    uint32_t count                  # octets received and not yet taken
    uint8_t[HEAD_LIMIT] octets

cdef class KernelHttp:
    cdef Http http
    cdef HttpCounters counters
    cdef Tcp *tcp                   # of which http_answer asks the time alone
    cdef Client *clients            # by descriptor
    cdef FileCache files
    cdef object _listener
    cdef int epoll
    cdef int high                   # no connection has a descriptor from here on

    cdef void _set_time(self) noexcept nogil
    cdef void _accept(self, int listener) noexcept nogil
    cdef void _turn(self, int fd) noexcept nogil
    # Answer the requests that have come from a client.
    cdef void _take(self, Client *it, int fd) noexcept nogil
    cdef bint _after(self, Client *it, int fd, int sent) noexcept nogil
    cdef void _close(self, int fd) noexcept nogil
