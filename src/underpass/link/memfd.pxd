"""Memory in a memfd, mapped shared, that outlives its process where another one holds the descriptor."""
from libc.stdint cimport uint64_t

cdef enum:
    MEMFD_PAGE = 4096

# Map `bytes` from `at` on, for reading and writing: of another process's memfd `given` (or map of BPF), which stays the
# caller's, or (-1) of a new memfd of this name. Where it ends at `at` it is made longer by them. `own` becomes a descriptor of
# ours before anything else can fail: memfd_unmap closes it. Raises OSError, in which `what` names the memory.
cdef void *memfd_map(int *own, int given, const char *name, size_t at, size_t bytes, str what) except NULL
# Either may be missing: NULL, -1.
cdef void memfd_unmap(int own, void *base, size_t bytes) noexcept


cdef inline uint64_t memfd_place(uint64_t *end, uint64_t octets) noexcept:
    """Room for `octets` at a page boundary: where it begins; `end` moves behind it."""
    cdef uint64_t at = end[0]
    end[0] = (at + octets + MEMFD_PAGE - 1) // MEMFD_PAGE * MEMFD_PAGE
    return at
