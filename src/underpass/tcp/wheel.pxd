"""A hierarchical timing wheel (Varghese and Lauck, 1987): one entry a connection.

An entry stands at its connection's earliest deadline. Deadlines that move later are not moved in the wheel:
the entry fires early, and the caller arms it anew. Ticks are 2^20 ns (1.05 ms). Lies in the arena: TimerNodes
are named by index, and one that is all zero is not armed.

    | 12 bits | level 3 | level 2 | level 1 | level 0 |      a tick's number, 8 bits a level

The highest digit in which an entry's tick differs from the wheel's is its level, the digit itself its slot.

What stands in a level is therefore due before all that stands in the levels above it, and the next entry is
found in the lowest level that is occupied. Level 3 goes round: an entry further away than it reaches waits in
its last slot and is filed anew there.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.tcp.tcb cimport TimerNode

cdef enum:
    WHEEL_TICK_SHIFT = 20
    WHEEL_LEVELS = 4
    WHEEL_SLOT_BITS = 8
    WHEEL_SLOTS = 256               # per level: 268 ms, 68 s, 4.9 h, 52 days
    WHEEL_NONE = 0xFFFFFFFF

cdef struct Wheel:
    uint64_t tick                   # last tick that was processed
    uint32_t armed                  # entries in the wheel
    uint32_t due                    # head of the entries that have expired and were not handed out yet
    uint64_t[4][4] occupied         # bit for each slot that is not empty
    uint32_t[4][256] slots

cdef void wheel_init(Wheel *wheel, uint64_t now_ns) noexcept nogil
# Arm or move; never fires before at_ns, and less than two ticks after it when expire is called in time. A
# deadline that has passed fires with the next tick, not within the same run of wheel_expire.
cdef void wheel_arm(Wheel *wheel, TimerNode *nodes, uint32_t entry, uint64_t at_ns) noexcept nogil
cdef void wheel_cancel(Wheel *wheel, TimerNode *nodes, uint32_t entry) noexcept nogil
# One expired entry, disarmed, or WHEEL_NONE. Call until it returns that. A jump in time touches each entry
# once at most.
cdef uint32_t wheel_expire(Wheel *wheel, TimerNode *nodes, uint64_t now_ns) noexcept nogil
# When to call wheel_expire next: not after the tick in which the earliest deadline fires, and later than now
# where nothing is due; UINT64_MAX when nothing is armed.
cdef uint64_t wheel_next_ns(const Wheel *wheel) noexcept nogil


cdef inline bint wheel_is_armed(const TimerNode *node) noexcept nogil:
    """Whether the entry waits in the wheel; at_ns is then its deadline."""
    return node.at_ns != 0
