"""A hierarchical timing wheel (Varghese and Lauck, 1987): one entry for each connection, at its earliest deadline.

Deadlines that move later are not moved in the wheel: the entry fires early, and the caller arms it anew. Ticks are 2^20 ns
(1.05 ms). Lies in the arena: TimerNodes are named by index.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport TimerNode

cdef enum:
    WHEEL_TICK_SHIFT = 20
    WHEEL_LEVELS = 4
    WHEEL_SLOTS = 256               # per level: 268 ms, 68 s, 4.9 h, 52 days

cdef struct Wheel:
    uint64_t tick                   # next tick to be processed
    uint32_t armed                  # entries in the wheel
    uint32_t due                    # head of the entries that have expired and were not handed out yet
    uint64_t[4][4] occupied         # bit for each slot that is not empty
    uint32_t[4][256] slots

cdef void wheel_init(Wheel *wheel, uint64_t now_ns) noexcept nogil
# Arm or move; never fires before at_ns, and less than two ticks after it when expire is called in time.
cdef void wheel_arm(Wheel *wheel, TimerNode *nodes, uint32_t entry, uint64_t at_ns) noexcept nogil
cdef void wheel_cancel(Wheel *wheel, TimerNode *nodes, uint32_t entry) noexcept nogil
# One expired entry, disarmed, or 0xFFFFFFFF. Call until it returns that. Bounded work whatever the jump in time.
cdef uint32_t wheel_expire(Wheel *wheel, TimerNode *nodes, uint64_t now_ns) noexcept nogil
# A time not after the earliest deadline, and later than now where nothing is due; UINT64_MAX when nothing is armed.
cdef uint64_t wheel_next_ns(const Wheel *wheel) noexcept nogil
