"""The maps that the XDP program and the worker share, as memory."""
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset, strerror
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from underpass.xdp.contract cimport QUEUES_MAX, admission, pressure


cdef void gate_tell(Gate *gate, uint32_t level, uint32_t half_open, uint64_t until_ns) noexcept nogil:
    """The level last: it is believed only until `until_ns`, which stands before it does."""
    cdef volatile admission *entry
    cdef uint32_t i
    for i in range(gate.count):
        entry = <admission *>gate.entries + gate.queues[i]
        entry.half_open = half_open
        entry.until_ns = until_ns
        entry.level = level


cdef class GateMemory:
    def __cinit__(self, int admissions, int pressures, queues):
        memset(&self.gate, 0, sizeof(Gate))
        self.entries_map = self.pressure_map = NULL
        self.entries_map = self.map(admissions, QUEUES_MAX * sizeof(admission), PROT_READ | PROT_WRITE)
        self.pressure_map = self.map(pressures, sizeof(pressure), PROT_READ)
        self.gate.entries = self.entries_map
        self.gate.cookie_ns = <const uint64_t *>&(<const pressure *>self.pressure_map).cookie_ns
        self.set_queues(queues)

    cdef void *map(self, int fd, size_t bytes, int protection) except NULL:
        cdef void *base = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            raise OSError(errno, f"memory of the XDP program's maps: {strerror(errno).decode()}")
        return base

    def set_queues(self, queues):
        """See gate.pyi."""
        numbers = list(queues)
        if any([not 0 <= queue < QUEUES_MAX for queue in numbers]):
            raise ValueError(f"queues are 0 to {QUEUES_MAX - 1}")
        self.gate.count = 0
        for queue in numbers:
            self.gate.queues[self.gate.count] = queue
            self.gate.count += 1
        gate_tell(&self.gate, 0, 0, 0)

    def __dealloc__(self):
        if self.entries_map != NULL:
            munmap(self.entries_map, QUEUES_MAX * sizeof(admission))
        if self.pressure_map != NULL:
            munmap(self.pressure_map, sizeof(pressure))
