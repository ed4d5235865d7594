"""The engine alone, measured: what its variants share."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.stack.stack cimport Stack

cdef struct Bench:
    uint32_t *opened                # connections in the order in which they are used
    uint32_t established
    uint32_t cursor
    uint32_t closed
    bint running
    uint64_t transactions
    uint8_t[64] message

cdef enum:
    FRAMES = 131072                 # what 50,000 connections hold until delayed acknowledgments come, and more

cdef uint64_t clock_ns() noexcept nogil


cdef class EngineBench:
    cdef Bench bench
    cdef Stack client
    cdef readonly Stack server
    cdef uint32_t connections
    cdef uint8_t client_app

    cdef int _make(self) except -1
    cdef Stack _client_on(self, link)
    cdef Stack _server_on(self, link)
    cdef int _register(self) except -1
    cdef int _open(self) except -1
    cdef int _connect(self, uint32_t number) except -1
    # So many times: each stack takes a turn.
    cdef void _turns(self, uint32_t count) noexcept nogil
    cdef uint64_t _segments(self) noexcept
