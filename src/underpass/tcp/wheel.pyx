"""The timing wheel: arm, cancel and expire in constant time, whatever the number of entries."""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t

from underpass.tcp.tcb cimport TimerNode

cdef extern from * nogil:
    int __builtin_ctzll(unsigned long long)

# The first entry of a list names the list in `prev`: this bit, level and slot; or DUE for what has expired.
cdef enum:
    LIST = 0x80000000
    DUE = 0x80000400                # as if it were a level above the others


cdef void wheel_init(Wheel *wheel, uint64_t now_ns) noexcept nogil:
    cdef uint32_t level, slot
    wheel.tick = now_ns >> WHEEL_TICK_SHIFT
    wheel.armed = 0
    wheel.due = WHEEL_NONE
    for level in range(WHEEL_LEVELS):
        for slot in range(4):
            wheel.occupied[level][slot] = 0
        for slot in range(WHEEL_SLOTS):
            wheel.slots[level][slot] = WHEEL_NONE


cdef void wheel_arm(Wheel *wheel, TimerNode *nodes, uint32_t entry, uint64_t at_ns) noexcept nogil:
    cdef uint64_t tick
    wheel_cancel(wheel, nodes, entry)
    nodes[entry].at_ns = at_ns if at_ns else 1      # 0 stands for an entry that is not armed
    tick = _tick_after(at_ns)
    _file(wheel, nodes, entry, tick if tick > wheel.tick else wheel.tick + 1)
    wheel.armed += 1


cdef void wheel_cancel(Wheel *wheel, TimerNode *nodes, uint32_t entry) noexcept nogil:
    cdef TimerNode *node = &nodes[entry]
    if node.at_ns == 0:
        return
    if node.next != WHEEL_NONE:
        nodes[node.next].prev = node.prev
    if not node.prev & LIST:
        nodes[node.prev].next = node.next
    elif node.prev == DUE:
        wheel.due = node.next
    else:
        _set_head(wheel, (node.prev & ~LIST) >> WHEEL_SLOT_BITS, node.prev & (WHEEL_SLOTS - 1), node.next)
    node.at_ns = 0
    wheel.armed -= 1


cdef uint32_t wheel_expire(Wheel *wheel, TimerNode *nodes, uint64_t now_ns) noexcept nogil:
    cdef uint64_t tick = now_ns >> WHEEL_TICK_SHIFT
    cdef uint32_t entry
    if tick > wheel.tick:
        _advance(wheel, nodes, tick)
    entry = wheel.due
    if entry != WHEEL_NONE:
        wheel_cancel(wheel, nodes, entry)
    return entry


cdef uint64_t wheel_next_ns(const Wheel *wheel) noexcept nogil:
    cdef uint32_t level, distance
    if wheel.due != WHEEL_NONE:
        return wheel.tick << WHEEL_TICK_SHIFT
    for level in range(WHEEL_LEVELS):
        distance = _next_slot(wheel, level, wheel.tick)
        if distance:
            return _slot_tick(wheel.tick, level, distance) << WHEEL_TICK_SHIFT
    return UINT64_MAX


cdef inline uint64_t _tick_after(uint64_t at_ns) noexcept nogil:
    """The first tick that begins at at_ns or later."""
    return (at_ns >> WHEEL_TICK_SHIFT) + ((at_ns & ((1 << WHEEL_TICK_SHIFT) - 1)) != 0)


cdef inline uint64_t _slot_tick(uint64_t tick, uint32_t level, uint32_t distance) noexcept nogil:
    """The tick at which the slot `distance` slots behind the current one begins."""
    return ((tick >> (level * WHEEL_SLOT_BITS)) + distance) << (level * WHEEL_SLOT_BITS)


cdef uint32_t _next_slot(const Wheel *wheel, uint32_t level, uint64_t tick) noexcept nogil:
    """Slots from the one that holds `tick` to the next occupied one, going round; 0: all are empty."""
    cdef uint32_t here = (tick >> (level * WHEEL_SLOT_BITS)) & (WHEEL_SLOTS - 1)
    cdef uint32_t start = (here + 1) & (WHEEL_SLOTS - 1)
    cdef uint32_t word = start >> 6
    cdef uint64_t bits = wheel.occupied[level][word] & (UINT64_MAX << (start & 63))
    for _ in range(5):                      # the first word again at the end, for the bits below `start`
        if bits:
            return ((word << 6) + __builtin_ctzll(bits) - here) & (WHEEL_SLOTS - 1)
        word = (word + 1) & 3
        bits = wheel.occupied[level][word]
    return 0


cdef inline void _set_head(Wheel *wheel, uint32_t level, uint32_t slot, uint32_t entry) noexcept nogil:
    """Make `entry` the first of a slot's list, and keep the bit that says whether there is one."""
    cdef uint64_t bit = <uint64_t>1 << (slot & 63)
    wheel.slots[level][slot] = entry
    if entry == WHEEL_NONE:
        wheel.occupied[level][slot >> 6] &= ~bit
    else:
        wheel.occupied[level][slot >> 6] |= bit


cdef void _file(Wheel *wheel, TimerNode *nodes, uint32_t entry, uint64_t tick) noexcept nogil:
    """Put an entry into the slot of a tick to come, as far as the wheel reaches."""
    cdef uint64_t reach = wheel.tick + (<uint64_t>(WHEEL_SLOTS - 1) << ((WHEEL_LEVELS - 1) * WHEEL_SLOT_BITS))
    cdef uint32_t level = 0
    cdef uint32_t slot, head
    tick = min(tick, reach)
    while level < WHEEL_LEVELS - 1 and (tick ^ wheel.tick) >> ((level + 1) * WHEEL_SLOT_BITS):
        level += 1
    slot = (tick >> (level * WHEEL_SLOT_BITS)) & (WHEEL_SLOTS - 1)
    head = wheel.slots[level][slot]
    nodes[entry].prev = LIST | (level << WHEEL_SLOT_BITS) | slot
    nodes[entry].next = head
    if head != WHEEL_NONE:
        nodes[head].prev = entry
    _set_head(wheel, level, slot, entry)


cdef inline void _file_due(Wheel *wheel, TimerNode *nodes, uint32_t entry) noexcept nogil:
    """Put an entry in the list of those that wait to be handed out."""
    nodes[entry].prev = DUE
    nodes[entry].next = wheel.due
    if wheel.due != WHEEL_NONE:
        nodes[wheel.due].prev = entry
    wheel.due = entry


cdef void _advance(Wheel *wheel, TimerNode *nodes, uint64_t tick) noexcept nogil:
    """Go to `tick`: what is due by then becomes due, what stood in a slot that has begun is filed anew."""
    cdef uint32_t lists = _detach(wheel, nodes, tick)
    cdef uint32_t entry, following
    cdef uint64_t at
    wheel.tick = tick
    while lists != WHEEL_NONE:
        entry = lists
        lists = nodes[entry].prev
        while entry != WHEEL_NONE:
            following = nodes[entry].next
            at = _tick_after(nodes[entry].at_ns)
            if at <= tick:
                _file_due(wheel, nodes, entry)
            else:
                _file(wheel, nodes, entry, at)
            entry = following


cdef uint32_t _detach(Wheel *wheel, TimerNode *nodes, uint64_t tick) noexcept nogil:
    """Empty the slots that begin by `tick`; their lists are chained through their first entries' `prev`."""
    cdef uint32_t lists = WHEEL_NONE
    cdef uint32_t level, distance, slot, head
    for level in range(WHEEL_LEVELS):
        if wheel.tick >> (level * WHEEL_SLOT_BITS) == tick >> (level * WHEEL_SLOT_BITS):
            break                           # neither this level nor one above it comes to a new slot
        while True:
            distance = _next_slot(wheel, level, wheel.tick)
            if distance == 0 or _slot_tick(wheel.tick, level, distance) > tick:
                break
            slot = (_slot_tick(wheel.tick, level, distance) >> (level * WHEEL_SLOT_BITS)) & (WHEEL_SLOTS - 1)
            head = wheel.slots[level][slot]
            _set_head(wheel, level, slot, WHEEL_NONE)
            nodes[head].prev = lists
            lists = head
    return lists
