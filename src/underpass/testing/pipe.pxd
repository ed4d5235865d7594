"""One direction of a link: a queue that a transmitter empties at its rate, and the wire behind it.

    offer -> full? mark? -> queue [ .. ) -> transmitter -> loss? damage? double? -> wire, by arrival -> take
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from underpass.testing.chance cimport Chance, Loss
from underpass.testing.parcel cimport Parcel, ParcelList

cdef struct PipeCounters:
    uint64_t packets            # offered
    uint64_t octets
    uint64_t dropped            # the queue was full
    uint64_t too_big            # beyond the MTU
    uint64_t marked             # ECN: congestion experienced
    uint64_t lost               # by the wire
    uint64_t reordered
    uint64_t duplicated
    uint64_t corrupted
    uint64_t delivered
    uint64_t delivered_octets
    uint64_t queue_packets_peak
    uint64_t queue_octets_peak

cdef struct PipeState:
    # what it is like; no limit is the highest value
    uint64_t rate_bps           # 0: no limit
    uint64_t delay_ns
    uint64_t jitter_ns
    uint64_t queue_packets
    uint64_t queue_octets
    uint64_t mark_packets
    uint64_t mark_octets
    uint64_t mtu
    uint64_t reorder_ns
    bint icmp
    Loss loss
    Chance reorder
    Chance duplicate
    Chance corrupt
    Chance jitter
    # what is on it
    ParcelList queue
    ParcelList wire
    uint64_t free_ns            # when the transmitter has sent all that waits
    uint64_t last_ns            # when the last packet in order arrives
    uint64_t since_ns           # last change of the queue
    uint64_t octet_ns           # integral of its octets over time
    uint32_t to                 # node at the far end
    PipeCounters counters

# Takes the parcel over. False: beyond the MTU; it is still the caller's.
cdef bint pipe_offer(PipeState *it, Parcel *parcel, uint64_t now_ns) noexcept nogil
# A parcel that has arrived by now, which is the caller's, or NULL.
cdef Parcel *pipe_take(PipeState *it, uint64_t now_ns) noexcept nogil
# When something on it happens next, or NEVER.
cdef uint64_t pipe_deadline(const PipeState *it) noexcept nogil


cdef class Pipe:
    """One direction of a link, for Python."""
    cdef PipeState state
    cdef readonly object conditions
