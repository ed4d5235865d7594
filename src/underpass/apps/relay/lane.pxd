"""One direction of a relay: what happens to a packet between the interface it came from and the one it leaves by.

    arrives -> lost? -> bottleneck: rate and a drop-tail queue -> delay -> late? -> doubled? -> leaves when due

Everything that will happen to a packet is decided when it arrives, so a lane is two queues in order of time:
that of the packets in order, and that of those which others overtake.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.apps.histogram cimport Histogram
from underpass.link.frames cimport FramePool
from underpass.link.link cimport Desc, Link

cdef enum:
    LANE_DEPTH = 131072             # packets that either queue holds: 1 Gbit/s of 64 octets for 67 ms

cdef struct LaneRules:
    uint64_t lose                   # probabilities as fractions of 2^64
    uint64_t reorder
    uint64_t duplicate
    uint64_t delay_ns
    uint64_t reorder_ns             # how much later than its due time a reordered packet leaves
    double octet_ns                 # the bottleneck's time for an octet; 0: there is none
    uint64_t queue_octets           # that may wait in front of the bottleneck

cdef struct LaneCounters:
    uint64_t packets                # that arrived
    uint64_t octets
    uint64_t lost
    uint64_t overflowed             # dropped because the bottleneck's queue was full
    uint64_t reordered
    uint64_t duplicated
    uint64_t overrun                # dropped because more were held than a lane has room for: a fault of the relay
    uint64_t sent

cdef struct Held:
    uint64_t due_ns
    Desc desc

cdef struct HeldQueue:
    Held *ring
    uint32_t head
    uint32_t tail

cdef struct Lane:
    LaneRules rules
    LaneCounters counters
    FramePool *pool
    uint64_t random
    double free_ns                  # when the bottleneck has sent all that waits
    HeldQueue ordered
    HeldQueue late
    Histogram waits                 # nanoseconds that each packet waits in front of the bottleneck

# Room for the queues: 0, or -1 without memory.
cdef int lane_open(Lane *lane, FramePool *pool) noexcept nogil
cdef void lane_close(Lane *lane) noexcept nogil
# Begin anew under other rules: counters and the generator start over; packets that are held stay due.
cdef void lane_start(Lane *lane, const LaneRules *rules, uint64_t seed) noexcept nogil
# A packet in one descriptor, whose reference is now the lane's.
cdef void lane_admit(Lane *lane, const Desc *desc, uint64_t now_ns) noexcept nogil
# Send what is due: how many packets left.
cdef uint32_t lane_send(Lane *lane, Link *link, uint64_t now_ns) noexcept nogil
# When the next packet is due, or NEVER.
cdef uint64_t lane_due(const Lane *lane) noexcept nogil
