"""libFuzzer's loop, run from Python: its runtime and AddressSanitizer's are loaded before the interpreter."""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport abort, calloc, free, malloc
from libc.string cimport memcpy

from driver cimport Target

cdef extern from * nogil:
    """int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *data, size_t size));"""
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *, size_t) noexcept nogil)

cdef Target target = NULL


cdef int one_input(const uint8_t *data, size_t size) noexcept nogil:
    """Give the target a copy in memory of just that size, so that one octet read beyond it is noticed."""
    cdef uint8_t *copy = <uint8_t *>malloc(size if size else 1)
    if copy == NULL:
        abort()
    memcpy(copy, data, size)
    target(copy, <uint32_t>size)
    free(copy)
    return 0


def run(capsule, list arguments):
    """Fuzz a target with libFuzzer's own arguments (bytes). Ends the process when it finds something."""
    global target
    cdef int count = len(arguments)
    cdef char **argv = <char **>calloc(count + 1, sizeof(char *))
    if argv == NULL:
        raise MemoryError
    target = <Target>PyCapsule_GetPointer(capsule, NULL)
    for i, argument in enumerate(arguments):
        argv[i] = argument
    return LLVMFuzzerRunDriver(&count, &argv, one_input)
