"""A map of BPF by its descriptor."""
from libc.stdint cimport uint32_t


cdef class BpfMap:
    cdef readonly int fd
    cdef readonly str name
    cdef readonly uint32_t id, kind, key_size, value_size, max_entries, flags

    cdef uint32_t _room(self)
    cdef _check(self, bytes octets, uint32_t size, str what)
    cdef _error(self, str verb, int error)
