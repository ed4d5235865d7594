"""What a worker tells the XDP program and hears from it through memory that both have, without a system call.

The worker writes how much it can take: a level (xdp/contract.h, enum admission_level), which holds for a while only, and
how much of its room for half-open connections is used. It reads when the program last sent a SYN cookie.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    GATE_QUEUES = 256

cdef struct Gate:
    void *entries                   # struct admission, by queue of the interface
    const uint64_t *cookie_ns       # of struct pressure
    uint32_t[256] queues            # ours
    uint32_t count

# For each of our queues. `half_open` in 256ths of the room; the level ends at `until_ns`.
cdef void gate_tell(Gate *gate, uint32_t level, uint32_t half_open, uint64_t until_ns) noexcept nogil


cdef class GateMemory:
    """The two maps as memory; see gate.pyi."""
    cdef Gate gate
    cdef void *entries_map
    cdef void *pressure_map

    cdef void *map(self, int fd, size_t bytes, int protection) except NULL
