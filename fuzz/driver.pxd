"""What a fuzz target is: a function of some octets, which lie in memory of just their size.

A target module `target_NAME.pyx` has `one = fuzz_target(function)` and `SEEDS`, octets to start from. One
that finds a wrong result calls `abort`.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t

ctypedef void (*Target)(const uint8_t *data, uint32_t size) noexcept nogil


cdef inline object fuzz_target(Target target):
    return PyCapsule_New(<void *>target, NULL, NULL)
