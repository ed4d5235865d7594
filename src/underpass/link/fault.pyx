"""A link that loses, doubles, reorders, delays and damages packets, by seed.

Each direction is a line with a generator of its own, so what happens to received packets does not depend on
what was sent meanwhile:

    admit: drop? damage? -> ring [head .. tail), by due time -> double?
    next:  ring's head, or set aside until others have overtaken it -> caller (receive) or inner link
    (transmit)

Storage is bounded: a full line leaves packets where they are, in the inner link or with the sender.
"""
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from underpass.link.frames cimport FramePool, frame_is_outstanding, frame_ref
from underpass.link.link cimport LINK_SEGMENTATION, NEVER, Desc, Link, LinkBase, LinkCounters
from underpass.link.packet cimport (
    MAX_PARTS, packet_bytes, packet_copy, packet_octet, packet_parts, packet_release,
)


@cython.no_gc_clear
cdef class FaultLink(LinkBase):
    """A link over `inner` on which packets suffer, the same way for the same seed and the same packets.

    `drop`, `duplicate`, `reorder` and `corrupt` are probabilities, 0.0 to 1.0. A reordered packet lets up to
    3 others overtake it, or waits 2 ms. `delay_ns` plus a random part of `jitter_ns` holds packets back
    without changing their order. A corrupted packet has one bit flipped, in a copy of its own. Raises
    ValueError for values out of range.
    """

    def __init__(self, LinkBase inner not None, uint64_t seed, drop=0.0, duplicate=0.0, reorder=0.0,
                 uint64_t delay_ns=0, uint64_t jitter_ns=0, corrupt=0.0, direction="both"):
        if direction not in ("both", "receive", "transmit"):
            raise ValueError(f'direction is "both", "receive" or "transmit", not {direction!r}')
        cdef Rates rates = Rates(as_rate("drop", drop), as_rate("duplicate", duplicate),
                                 as_rate("reorder", reorder), as_rate("corrupt", corrupt), delay_ns,
                                 jitter_ns)
        self.inner = inner
        self.frames = inner.frames
        self.state.below = &inner.link
        self.link = inner.link
        self.link.offloads &= ~<uint32_t>LINK_SEGMENTATION      # each segment passes here by itself
        self.link.self = &self.state
        self.link.counters = &self.counters
        self.link.receive = fault_receive
        self.link.transmit = fault_transmit
        self.link.wake = fault_wake
        self.link.deadline = fault_deadline
        self.link.waiting = NULL
        line_open(&self.state.received, &self.link, seed)
        line_open(&self.state.sent, &self.link, ~seed)
        self.state.sent.shares_frames = True
        if direction != "transmit":
            self.state.received.rates = rates
        if direction != "receive":
            self.state.sent.rates = rates

    cdef int place_counters(self, LinkCounters *at, object owner) except -1:
        LinkBase.place_counters(self, at, owner)
        self.state.received.counters = self.state.sent.counters = at
        return 0

    def close(self):
        """Give back the frames of packets that are held, and close the inner link."""
        if not self.closed:
            self.closed = True
            line_empty(&self.state.received)
            line_empty(&self.state.sent)
            self.inner.close()

    def __dealloc__(self):
        free(self.state.received.ring)
        free(self.state.sent.ring)


cdef uint64_t as_rate(name, value) except? 0xFFFFFFFFFFFFFFFF:
    """A probability as a fraction of 2^64."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is a probability, 0.0 to 1.0, not {value}")
    return min(int(value * 2.0 ** 64), 2 ** 64 - 1)


# ---- one direction

cdef int line_open(Line *line, const Link *link, uint64_t seed) except -1:
    line.ring = <Held *>malloc(LINE_DEPTH * sizeof(Held))
    if line.ring == NULL:
        raise MemoryError(f"a line of {<int>LINE_DEPTH} packets")
    line.random = seed
    line.pool = link.pool
    line.counters = link.counters
    return 0


cdef inline uint64_t draw(Line *line) noexcept nogil:
    """splitmix64 (Steele, Lea and Flood, 2014)."""
    line.random += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = line.random
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline bint happens(Line *line, uint64_t rate) noexcept nogil:
    """Drawn at any rate: raising one rate leaves the others' decisions as they were."""
    cdef uint64_t drawn = draw(line)
    if rate == 0 or drawn > rate:
        return False
    line.counters.faults += 1
    return True


cdef inline bint line_has_room(const Line *line) noexcept nogil:
    """For a packet and its double."""
    return line.tail - line.head + 2 <= LINE_DEPTH


cdef void line_admit(Line *line, const Desc *packet, uint32_t parts, uint64_t now_ns) noexcept nogil:
    """Decide on a packet whose references are now the line's."""
    cdef bint dropped = happens(line, line.rates.drop)
    cdef bint damaged = happens(line, line.rates.corrupt)
    cdef bint doubled = happens(line, line.rates.duplicate)
    cdef bint reordered = happens(line, line.rates.reorder)
    cdef uint32_t overtaken = 1 + <uint32_t>(draw(line) % OVERTAKEN_BY) if reordered else 0
    cdef uint64_t due_ns = now_ns + line.rates.delay_ns + draw(line) % (line.rates.jitter_ns + 1)
    cdef uint64_t place = draw(line)
    cdef Held *held
    if dropped:
        packet_release(line.pool, packet, parts)
        return
    line.last_ns = max(line.last_ns, due_ns)
    held = line_append(line, overtaken)
    held.count = parts
    memcpy(held.parts, packet, parts * sizeof(Desc))
    if due_ns > now_ns or overtaken:
        make_private(line.pool, held)
    if doubled:
        line_double(line, held)
    if damaged:
        flip_bit(line.pool, held, place)


cdef Held *line_append(Line *line, uint32_t overtaken) noexcept nogil:
    cdef Held *held = &line.ring[line.tail % LINE_DEPTH]
    held.overtaken = overtaken
    held.due_ns = line.last_ns
    line.tail += 1
    return held


cdef void line_double(Line *line, const Held *held) noexcept nogil:
    """The same packet again. A received frame stands in one queue only, so its double needs its own."""
    cdef Held *double = line_append(line, 0)
    cdef uint32_t i
    if line.shares_frames:
        double.count = held.count
        memcpy(double.parts, held.parts, held.count * sizeof(Desc))
        for i in range(held.count):
            frame_ref(line.pool, held.parts[i].frame)
        return
    double.count = packet_copy(line.pool, held.parts, held.count, line.pool, double.parts)
    if double.count == 0:
        line.tail -= 1


cdef void make_private(FramePool *pool, Held *held) noexcept nogil:
    """A packet that is held back is on its way, no longer the sender's: where he keeps the frame, carry a
    copy.

    Without free frames his own are held, as a slow device would.
    """
    cdef uint32_t i
    for i in range(held.count):
        if frame_is_outstanding(pool, held.parts[i].frame):
            replace_by_copy(pool, held)
            return


cdef bint replace_by_copy(FramePool *pool, Held *held) noexcept nogil:
    """False: no free frames, nothing changed."""
    cdef Desc[MAX_PARTS] made
    cdef uint32_t count = packet_copy(pool, held.parts, held.count, pool, made)
    if count == 0:
        return False
    packet_release(pool, held.parts, held.count)
    memcpy(held.parts, made, count * sizeof(Desc))
    held.count = count
    return True


cdef void flip_bit(FramePool *pool, Held *held, uint64_t place) noexcept nogil:
    """Always in a copy: copying fills in the checksum, which the device would otherwise fit to the damage."""
    cdef uint32_t bits = 8 * packet_bytes(held.parts, held.count)
    cdef uint32_t at
    if bits and replace_by_copy(pool, held):
        at = <uint32_t>(place % bits)
        packet_octet(pool, held.parts, at // 8)[0] ^= 1 << (at % 8)


cdef Held *line_next(Line *line, uint64_t now_ns) noexcept nogil:
    """The packet whose turn it is, or NULL; `line_done` takes it out."""
    cdef Held *held
    cdef uint32_t i
    for i in range(line.aside_count):
        held = &line.aside[i]
        if held.overtaken == 0 or held.due_ns + ASIDE_NS <= now_ns:
            return held
    while line.head != line.tail:
        held = &line.ring[line.head % LINE_DEPTH]
        if held.due_ns > now_ns:
            return NULL
        if held.overtaken == 0 or held.due_ns + ASIDE_NS <= now_ns or line.aside_count == ASIDE_DEPTH:
            return held
        line.aside[line.aside_count] = held[0]
        line.aside_count += 1
        line.head += 1
    return NULL


cdef void line_done(Line *line, Held *held) noexcept nogil:
    """Take a packet out; those set aside before it have been overtaken once more."""
    cdef bint in_ring = held == &line.ring[line.head % LINE_DEPTH]
    cdef uint32_t before = line.aside_count if in_ring else <uint32_t>(held - line.aside)
    cdef uint32_t i
    for i in range(before):
        line.aside[i].overtaken -= line.aside[i].overtaken > 0
    if in_ring:
        line.head += 1
        return
    line.aside_count -= 1
    for i in range(before, line.aside_count):
        line.aside[i] = line.aside[i + 1]


cdef uint64_t line_deadline(const Line *line) noexcept nogil:
    cdef uint64_t when = NEVER
    cdef uint32_t i
    if line.head != line.tail:
        when = line.ring[line.head % LINE_DEPTH].due_ns
    for i in range(line.aside_count):
        when = min(when, line.aside[i].due_ns + ASIDE_NS)
    return when


cdef void line_empty(Line *line) noexcept nogil:
    cdef Held *held
    while True:
        held = line_next(line, NEVER - 1)
        if held == NULL:
            return
        packet_release(line.pool, held.parts, held.count)
        line_done(line, held)


# ---- the link

cdef uint32_t fault_receive(Link *link, Desc *into, uint32_t room, uint64_t now_ns) noexcept nogil:
    cdef FaultState *it = <FaultState *>link.self
    cdef Held *held
    cdef uint32_t got = 0
    send_due(it, now_ns)        # each turn of a worker receives, but only some transmit
    take_in(it, now_ns)
    while True:
        held = line_next(&it.received, now_ns)
        if held == NULL or held.count > room - got:
            return got
        memcpy(into + got, held.parts, held.count * sizeof(Desc))
        got += held.count
        link.counters.rx_packets += 1
        link.counters.rx_bytes += packet_bytes(held.parts, held.count)
        line_done(&it.received, held)


cdef void take_in(FaultState *it, uint64_t now_ns) noexcept nogil:
    """Everything that waits in the inner link, as far as the line has room."""
    cdef Desc[FAULT_BATCH] batch
    cdef Line *line = &it.received
    cdef uint32_t got, parts, at
    while line.tail - line.head + 2 * FAULT_BATCH <= LINE_DEPTH:
        got = it.below.receive(it.below, batch, FAULT_BATCH, now_ns)
        at = 0
        while at < got:
            parts = packet_parts(batch + at, got - at)
            if parts > MAX_PARTS:
                line.counters.rx_too_long += 1
                packet_release(line.pool, batch + at, parts)
            else:
                line_admit(line, batch + at, parts, now_ns)
            at += parts
        if got == 0:
            return


cdef uint32_t fault_transmit(Link *link, const Desc *packets, uint32_t count, uint64_t now_ns) noexcept nogil:
    cdef FaultState *it = <FaultState *>link.self
    cdef uint32_t taken = 0
    cdef uint32_t parts
    while taken < count:
        parts = packet_parts(packets + taken, count - taken)
        if parts == 0 or parts > MAX_PARTS or not line_has_room(&it.sent):
            break
        link.counters.tx_packets += 1
        link.counters.tx_bytes += packet_bytes(packets + taken, parts)
        line_admit(&it.sent, packets + taken, parts, now_ns)
        taken += parts
    link.counters.tx_refused += count - taken
    send_due(it, now_ns)
    return taken


cdef void send_due(FaultState *it, uint64_t now_ns) noexcept nogil:
    cdef Held *held
    while True:
        held = line_next(&it.sent, now_ns)
        if held == NULL or it.below.transmit(it.below, held.parts, held.count, now_ns) < held.count:
            return
        line_done(&it.sent, held)


cdef void fault_wake(Link *link) noexcept nogil:
    cdef FaultState *it = <FaultState *>link.self
    it.below.wake(it.below)


cdef uint64_t fault_deadline(Link *link) noexcept nogil:
    cdef FaultState *it = <FaultState *>link.self
    return min(it.below.deadline(it.below), min(line_deadline(&it.received), line_deadline(&it.sent)))
