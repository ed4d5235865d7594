from libc.stdint cimport uint8_t

cdef size_t mutate_program(uint8_t *data, size_t size, size_t most, unsigned int seed) noexcept nogil
