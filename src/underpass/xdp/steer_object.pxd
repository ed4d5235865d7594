"""The XDP program loaded into the kernel, with its maps."""
from libc.stdint cimport uint32_t

from underpass.xdp.libbpf cimport bpf_object


cdef class SteerObject:
    cdef bpf_object *object
    cdef char *log                  # what the verifier says, where it is asked; else NULL
    cdef readonly int program_fd
    cdef readonly int other_fd      # the program for packets of the other kind, or -1
    cdef readonly frozenset features
    cdef readonly bint multi_buffer

    cdef _choose_maps(self, dict reuse, dict entries)
    cdef uint32_t _sources(self, dict reuse, dict entries) except 0
    cdef _load(self, bytes name, bytes other)
    cdef _bind_maps(self)
    cdef int map_fd(self, str name) except -2
