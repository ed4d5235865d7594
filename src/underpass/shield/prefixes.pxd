"""Prefixes of one list, in C."""
from libc.stdint cimport uint8_t, uint64_t

ctypedef struct Prefix:
    uint64_t high               # IPv4: 0
    uint64_t low                # host order; IPv4: the address in the lower 32 bits
    uint8_t length
    uint8_t version


cdef class Prefixes:
    cdef Prefix *at
    cdef readonly size_t count
    cdef size_t room
    cdef int _append(self, Prefix one) except -1
