"""One direction of a relay, decided packet by packet from a seed."""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from underpass.apps.histogram cimport histogram_record, histogram_reset
from underpass.link.frames cimport FramePool, frame_ref, frame_unref
from underpass.link.link cimport NEVER, Desc, Link

cdef enum:
    BATCH = 64


cdef int lane_open(Lane *lane, FramePool *pool) noexcept nogil:
    memset(lane, 0, sizeof(Lane))
    lane.pool = pool
    lane.ordered.ring = <Held *>calloc(LANE_DEPTH, sizeof(Held))
    lane.late.ring = <Held *>calloc(LANE_DEPTH, sizeof(Held))
    histogram_reset(&lane.waits)
    return 0 if lane.ordered.ring != NULL and lane.late.ring != NULL else -1


cdef void lane_close(Lane *lane) noexcept nogil:
    _drop_all(lane, &lane.ordered)
    _drop_all(lane, &lane.late)


cdef void _drop_all(Lane *lane, HeldQueue *queue) noexcept nogil:
    while queue.head != queue.tail:
        frame_unref(lane.pool, _at(queue, queue.head).desc.frame)
        queue.head += 1
    free(queue.ring)
    queue.ring = NULL


cdef void lane_start(Lane *lane, const LaneRules *rules, uint64_t seed) noexcept nogil:
    lane.rules = rules[0]
    lane.random = seed
    lane.free_ns = 0
    memset(&lane.counters, 0, sizeof(LaneCounters))
    histogram_reset(&lane.waits)


cdef inline Held *_at(const HeldQueue *queue, uint32_t place) noexcept nogil:
    return &queue.ring[place & (LANE_DEPTH - 1)]


cdef inline bint _happens(Lane *lane, uint64_t probability) noexcept nogil:
    """splitmix64 (Steele, Lea and Flood, 2014); drawn at any probability, so that raising one moves no other's choices."""
    lane.random += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = lane.random
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return (z ^ (z >> 31)) < probability


cdef void lane_admit(Lane *lane, const Desc *desc, uint64_t now_ns) noexcept nogil:
    cdef LaneRules *rules = &lane.rules
    cdef bint lost = _happens(lane, rules.lose)
    cdef bint late = _happens(lane, rules.reorder)
    cdef bint doubled = _happens(lane, rules.duplicate)
    cdef uint64_t due_ns = now_ns
    lane.counters.packets += 1
    lane.counters.octets += desc.length
    if lost:
        lane.counters.lost += 1
        frame_unref(lane.pool, desc.frame)
        return
    if rules.octet_ns > 0 and not _pass_bottleneck(lane, desc.length, now_ns, &due_ns):
        lane.counters.overflowed += 1
        frame_unref(lane.pool, desc.frame)
        return
    due_ns += rules.delay_ns
    if doubled:
        frame_ref(lane.pool, desc.frame)
        lane.counters.duplicated += 1
        _hold(lane, &lane.ordered, desc, due_ns)
    if late:
        lane.counters.reordered += 1
        _hold(lane, &lane.late, desc, due_ns + rules.reorder_ns)
    else:
        _hold(lane, &lane.ordered, desc, due_ns)


cdef inline bint _pass_bottleneck(Lane *lane, uint32_t octets, uint64_t now_ns, uint64_t *due_ns) noexcept nogil:
    """A link of fixed rate behind a drop-tail queue: when its last octet is through, or False where it does not fit."""
    cdef double wait_ns = lane.free_ns - now_ns if lane.free_ns > now_ns else 0.0
    if wait_ns / lane.rules.octet_ns + octets > lane.rules.queue_octets:
        return False
    histogram_record(&lane.waits, <uint64_t>wait_ns)
    lane.free_ns = now_ns + wait_ns + octets * lane.rules.octet_ns
    due_ns[0] = <uint64_t>lane.free_ns
    return True


cdef inline void _hold(Lane *lane, HeldQueue *queue, const Desc *desc, uint64_t due_ns) noexcept nogil:
    cdef Held *held = _at(queue, queue.tail)
    if queue.tail - queue.head == LANE_DEPTH:
        lane.counters.overrun += 1
        frame_unref(lane.pool, desc.frame)
        return
    held.due_ns = due_ns
    held.desc = desc[0]
    queue.tail += 1


cdef inline HeldQueue *_next(Lane *lane, uint64_t now_ns) noexcept nogil:
    """The queue whose head is due, and earlier than the other's; NULL: nothing is due."""
    cdef HeldQueue *queue = &lane.ordered
    if queue.head == queue.tail or (lane.late.head != lane.late.tail and
                                    _at(&lane.late, lane.late.head).due_ns < _at(queue, queue.head).due_ns):
        queue = &lane.late
    if queue.head == queue.tail or _at(queue, queue.head).due_ns > now_ns:
        return NULL
    return queue


cdef uint32_t lane_send(Lane *lane, Link *link, uint64_t now_ns) noexcept nogil:
    cdef Desc[BATCH] batch
    cdef bint[BATCH] was_late
    cdef HeldQueue *queue = _next(lane, now_ns)
    cdef uint32_t count = 0
    cdef uint32_t taken, i
    while queue != NULL and count < BATCH:
        batch[count] = _at(queue, queue.head).desc
        was_late[count] = queue == &lane.late
        queue.head += 1
        count += 1
        queue = _next(lane, now_ns)
    taken = link.transmit(link, batch, count, now_ns) if count else 0
    for i in range(taken, count):           # what the device did not take is the first to go next time
        if was_late[i]:
            lane.late.head -= 1
        else:
            lane.ordered.head -= 1
    lane.counters.sent += taken
    return taken


cdef uint64_t lane_due(const Lane *lane) noexcept nogil:
    cdef uint64_t at = NEVER
    if lane.ordered.head != lane.ordered.tail:
        at = _at(&lane.ordered, lane.ordered.head).due_ns
    if lane.late.head != lane.late.tail and _at(&lane.late, lane.late.head).due_ns < at:
        at = _at(&lane.late, lane.late.head).due_ns
    return at
