"""One direction of a link of the virtual network."""
import dataclasses

from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from underpass.link.link cimport NEVER
from underpass.testing.chance cimport (
    Chance, chance_below, chance_draw, chance_rate, chance_strikes, loss_seed, loss_set, loss_strikes,
)
from underpass.testing.parcel cimport (
    Parcel, parcel_copy, parcel_drop_all, parcel_insert, parcel_octets, parcel_take,
)
from underpass.wire.checksum cimport checksum_update
from underpass.wire.ethernet cimport ETHERNET_AT_TYPE, ETHERNET_BYTES, TYPE_IPV4, TYPE_IPV6
from underpass.wire.octets cimport load16, store16

from underpass.testing.conditions import Conditions

cdef enum:
    OCTET_SECOND = 8000000000       # nanoseconds that an octet takes at one bit a second
    CONGESTION_EXPERIENCED = 3      # RFC 3168 5
    IPV4_AT_CHECKSUM = 10


# ------------------------------------------------------------------------------------------ the queue

cdef bint pipe_offer(PipeState *it, Parcel *parcel, uint64_t now_ns) noexcept nogil:
    it.counters.packets += 1
    it.counters.octets += parcel.octets
    if parcel.octets > it.mtu + ETHERNET_BYTES:
        it.counters.too_big += 1
        return False
    transmit_due(it, now_ns)
    if it.queue.packets >= it.queue_packets or it.queue.octets + parcel.octets > it.queue_octets:
        it.counters.dropped += 1
        free(parcel)
        return True
    if it.queue.packets >= it.mark_packets or it.queue.octets >= it.mark_octets:
        it.counters.marked += mark(parcel)
    it.free_ns = max(it.free_ns, now_ns)
    if it.rate_bps:
        it.free_ns += parcel.octets * OCTET_SECOND // it.rate_bps
    parcel.due_ns = it.free_ns
    change_queue(it, now_ns)
    parcel_insert(&it.queue, parcel)
    it.counters.queue_packets_peak = max(it.counters.queue_packets_peak, it.queue.packets)
    it.counters.queue_octets_peak = max(it.counters.queue_octets_peak, it.queue.octets)
    transmit_due(it, now_ns)
    return True


cdef inline void change_queue(PipeState *it, uint64_t now_ns) noexcept nogil:
    """Account for the time that the queue was as it is."""
    it.octet_ns += it.queue.octets * (now_ns - it.since_ns)
    it.since_ns = now_ns


cdef bint mark(Parcel *parcel) noexcept nogil:
    """Set Congestion Experienced (RFC 3168 5), where the sender says that it understands; whether it was set."""
    cdef uint8_t *octets = parcel_octets(parcel)
    cdef uint8_t *ip = octets + ETHERNET_BYTES
    cdef uint16_t kind = load16(octets + ETHERNET_AT_TYPE)
    cdef uint16_t old
    if kind == TYPE_IPV4 and ip[1] & CONGESTION_EXPERIENCED:
        old = load16(ip)
        ip[1] |= CONGESTION_EXPERIENCED
        store16(ip + IPV4_AT_CHECKSUM, checksum_update(load16(ip + IPV4_AT_CHECKSUM), old, load16(ip)))
        return True
    if kind == TYPE_IPV6 and ip[1] & CONGESTION_EXPERIENCED << 4:
        ip[1] |= CONGESTION_EXPERIENCED << 4
        return True
    return False


cdef void transmit_due(PipeState *it, uint64_t now_ns) noexcept nogil:
    """Everything that has left the transmitter by now goes on the wire."""
    cdef Parcel *parcel
    while it.queue.head != NULL and it.queue.head.due_ns <= now_ns:
        change_queue(it, it.queue.head.due_ns)
        parcel = parcel_take(&it.queue)
        put_on_wire(it, parcel, parcel.due_ns)


# ------------------------------------------------------------------------------------------ the wire

cdef void put_on_wire(PipeState *it, Parcel *parcel, uint64_t sent_ns) noexcept nogil:
    """All is drawn for each packet, so that one harm does not shift another's choices."""
    cdef bint lost = loss_strikes(&it.loss)
    cdef bint damaged = chance_strikes(&it.corrupt)
    cdef bint doubled = chance_strikes(&it.duplicate)
    cdef bint late = chance_strikes(&it.reorder)
    cdef uint64_t jitter_ns = chance_below(&it.jitter, it.jitter_ns + 1)
    cdef Parcel *double
    if lost:
        it.counters.lost += 1
        free(parcel)
        return
    parcel.due_ns = arrival(it, sent_ns + it.delay_ns + jitter_ns, late)
    if doubled:
        double = parcel_copy(parcel)
        if double != NULL:
            it.counters.duplicated += 1
            double.due_ns = parcel.due_ns
            parcel_insert(&it.wire, double)
    if damaged:
        it.counters.corrupted += flip_bit(&it.corrupt, parcel)
    parcel_insert(&it.wire, parcel)


cdef inline uint64_t arrival(PipeState *it, uint64_t due_ns, bint late) noexcept nogil:
    """A late packet comes when it comes; the others in the order in which they were sent."""
    if late:
        it.counters.reordered += 1
        return due_ns + it.reorder_ns
    it.last_ns = max(it.last_ns, due_ns)
    return it.last_ns


cdef bint flip_bit(Chance *chance, Parcel *parcel) noexcept nogil:
    """Behind the Ethernet header: damage there is found by the next device, which says nothing."""
    cdef uint64_t at
    if parcel.octets <= ETHERNET_BYTES:
        return False
    at = chance_below(chance, 8 * (parcel.octets - ETHERNET_BYTES))
    parcel_octets(parcel)[ETHERNET_BYTES + at // 8] ^= <uint8_t>(1 << (at % 8))
    return True


cdef Parcel *pipe_take(PipeState *it, uint64_t now_ns) noexcept nogil:
    transmit_due(it, now_ns)
    if it.wire.head == NULL or it.wire.head.due_ns > now_ns:
        return NULL
    it.counters.delivered += 1
    it.counters.delivered_octets += it.wire.head.octets
    return parcel_take(&it.wire)


cdef uint64_t pipe_deadline(const PipeState *it) noexcept nogil:
    cdef uint64_t when = NEVER if it.wire.head == NULL else it.wire.head.due_ns
    if it.queue.head != NULL and it.queue.head.due_ns < when:
        when = it.queue.head.due_ns
    return when


# ------------------------------------------------------------------------------------------ for Python

cdef uint64_t limit(str name, value) except? 0:
    """0 means that there is none."""
    if value < 0:
        raise ValueError(f"{name} is not negative, but {value} is")
    return value if value else NEVER // 2


cdef class Pipe:
    """One direction of a link under some `Conditions`; `seed` decides what befalls packets.

    Raises ValueError for conditions out of range.
    """

    def __cinit__(self, object conditions, uint64_t seed):
        cdef PipeState *it = &self.state
        cdef Chance source = Chance(seed, 0)
        memset(it, 0, sizeof(PipeState))
        loss_seed(&it.loss, chance_draw(&source))
        it.reorder.random = chance_draw(&source)
        it.duplicate.random = chance_draw(&source)
        it.corrupt.random = chance_draw(&source)
        it.jitter.random = chance_draw(&source)
        self.conditions = Conditions()
        self.set_conditions(conditions)

    def __dealloc__(self):
        parcel_drop_all(&self.state.queue)
        parcel_drop_all(&self.state.wire)

    def set_conditions(self, conditions):
        """Other conditions for the packets that leave from now on; what waits keeps its time of departure."""
        cdef PipeState *it = &self.state
        if min(conditions.rate_bps, conditions.delay_ns, conditions.jitter_ns, conditions.reorder_ns) < 0:
            raise ValueError(f"a rate or a time is negative: {conditions}")
        loss_set(&it.loss, conditions.loss)
        it.reorder.rate = chance_rate("reorder", conditions.reorder)
        it.duplicate.rate = chance_rate("duplicate", conditions.duplicate)
        it.corrupt.rate = chance_rate("corrupt", conditions.corrupt)
        it.rate_bps = conditions.rate_bps
        it.delay_ns, it.jitter_ns = conditions.delay_ns, conditions.jitter_ns
        it.reorder_ns = conditions.reorder_ns
        it.queue_packets = limit("queue_packets", conditions.queue_packets)
        it.queue_octets = limit("queue_bytes", conditions.queue_bytes)
        it.mark_packets = limit("mark_packets", conditions.mark_packets)
        it.mark_octets = limit("mark_bytes", conditions.mark_bytes)
        it.mtu = limit("mtu", conditions.mtu)
        it.icmp = conditions.icmp
        self.conditions = conditions

    def change(self, **fields):
        """Change some of the conditions, for the packets that leave from now on."""
        self.set_conditions(dataclasses.replace(self.conditions, **fields))

    @property
    def queued_packets(self):
        """Packets that wait, that in transmission included, as of the last thing that happened."""
        return self.state.queue.packets

    @property
    def queued_bytes(self):
        """Octets that wait, as of the last thing that happened."""
        return self.state.queue.octets

    @property
    def queue_byte_ns(self):
        """The queue's octets integrated over time, up to its last change: for means over any time."""
        return self.state.octet_ns

    def stats(self):
        """Counters by name."""
        return dict(self.state.counters)
