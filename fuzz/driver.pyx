"""libFuzzer's loop, run from Python: its runtime and AddressSanitizer's are loaded before the interpreter, and
so is this module, in which libFuzzer looks for a mutator as it is loaded.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport abort, calloc, free, malloc
from libc.string cimport memcpy

from driver cimport LLVMFuzzerMutate, Mutator, Target

cdef extern from * nogil:
    """int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *data, size_t size));"""
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *, size_t) noexcept nogil)

cdef Target target = NULL
cdef Mutator mutator = NULL


cdef int one_input(const uint8_t *data, size_t size) noexcept nogil:
    """Give the target a copy in memory of just that size, so that one octet read beyond it is noticed."""
    cdef uint8_t *copy = <uint8_t *>malloc(size if size else 1)
    if copy == NULL:
        abort()
    memcpy(copy, data, size)
    target(copy, <uint32_t>size)
    free(copy)
    return 0


cdef public size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most,
                                           unsigned int seed) noexcept nogil:
    """Called by libFuzzer for each mutation."""
    if mutator == NULL:
        return LLVMFuzzerMutate(data, size, most)
    return mutator(data, size, most, seed)


def run(capsule, list arguments, own_mutator=None):
    """Fuzz a target with libFuzzer's own arguments (bytes). Ends the process when it finds something."""
    global target, mutator
    cdef int count = len(arguments)
    cdef char **argv = <char **>calloc(count + 1, sizeof(char *))
    if argv == NULL:
        raise MemoryError
    target = <Target>PyCapsule_GetPointer(capsule, NULL)
    if own_mutator is not None:
        mutator = <Mutator>PyCapsule_GetPointer(own_mutator, NULL)
    for i, argument in enumerate(arguments):
        argv[i] = argument
    return LLVMFuzzerRunDriver(&count, &argv, one_input)
