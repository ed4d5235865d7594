"""The timing wheel, in Python objects: entries are numbers, times are nanoseconds."""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from underpass.tcp.tcb cimport TimerNode
from underpass.tcp.wheel cimport (
    WHEEL_NONE, WHEEL_TICK_SHIFT, Wheel, wheel_arm, wheel_cancel, wheel_expire, wheel_init, wheel_is_armed,
    wheel_next_ns)

TICK_NS = 1 << WHEEL_TICK_SHIFT


cdef class WheelProbe:
    """A wheel with room for `entries` entries, which stands at `now_ns`."""
    cdef Wheel wheel
    cdef TimerNode *nodes
    cdef readonly uint32_t entries

    def __cinit__(self, uint32_t entries, uint64_t now_ns=0):
        self.nodes = <TimerNode *>calloc(entries, sizeof(TimerNode))
        if self.nodes == NULL:
            raise MemoryError(f"{entries} entries")
        self.entries = entries
        wheel_init(&self.wheel, now_ns)

    def __dealloc__(self):
        free(self.nodes)

    def arm(self, uint32_t entry, uint64_t at_ns):
        """Arm an entry, or move it."""
        wheel_arm(&self.wheel, self.nodes, entry, at_ns)

    def cancel(self, uint32_t entry):
        """Disarm an entry; nothing happens where it is not armed."""
        wheel_cancel(&self.wheel, self.nodes, entry)

    def expire_one(self, uint64_t now_ns):
        """One expired entry, or None."""
        cdef uint32_t entry = wheel_expire(&self.wheel, self.nodes, now_ns)
        return None if entry == WHEEL_NONE else entry

    def expire(self, uint64_t now_ns):
        """All entries that have expired."""
        return list(iter(lambda: self.expire_one(now_ns), None))

    def is_armed(self, uint32_t entry):
        """Whether the entry waits in the wheel."""
        return wheel_is_armed(&self.nodes[entry])

    @property
    def armed(self):
        """How many entries wait."""
        return self.wheel.armed

    @property
    def next_ns(self):
        """When to call expire again, or None when nothing is armed."""
        cdef uint64_t at = wheel_next_ns(&self.wheel)
        return None if at == UINT64_MAX else at
