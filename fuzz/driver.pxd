"""What a fuzz target is: a function of some octets, which lie in memory of just their size.

A target module `target_NAME.pyx` has `one = fuzz_target(function)` and `SEEDS`, octets to start from. One
that finds a wrong result calls `abort`. Where the octets have a structure it has `mutator =
fuzz_mutator(function)` too, which changes an input of `size` octets in place, into at most `most`, and
returns its new size.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t

ctypedef void (*Target)(const uint8_t *data, uint32_t size) noexcept nogil
ctypedef size_t (*Mutator)(uint8_t *data, size_t size, size_t most, unsigned int seed) noexcept nogil

cdef extern from * nogil:
    """size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);"""
    # libFuzzer's own mutations.
    size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most)


cdef inline object fuzz_target(Target target):
    return PyCapsule_New(<void *>target, NULL, NULL)


cdef inline object fuzz_mutator(Mutator mutator):
    return PyCapsule_New(<void *>mutator, NULL, NULL)
