"""Delivery rate samples (draft-ietf-ccwg-bbr 4.1): how fast the network delivers what is sent.

A frame is stamped when it leaves with what the connection had delivered by then. When it is delivered itself, the
difference is what came through meanwhile, and the time is the longer of that in which it was sent and that in which it
was acknowledged: neither ACKs that come in heaps nor bursts of our own make a sample too high.

    sent:       1 2 3 4 5 6 7 8          stamp of 8: 2 segments delivered by then
    delivered:            1 2 3 4 5 6 7 8
                            |-----------| ACK time; 6 segments

Only connections whose control has TRAIT_RATE do this. Their state, and the stamps, lie in pools of their own behind
everything else in the arena, which no other connection touches.
"""
from libc.stdint cimport uint32_t, uint64_t

from underpass.link.frames cimport Frame
from underpass.tcp.rate_sample cimport RateSample
from underpass.tcp.tcb cimport Tcp

cdef struct Rate:                   # in the arena, one for each connection block, zero when it begins
    uint64_t delivered              # C.delivered
    uint64_t delivered_ns           # C.delivered_time
    uint64_t first_sent_ns          # C.first_send_time
    uint64_t app_limited            # C.app_limited: until so much is delivered, samples are of the application's rate
    uint64_t lost                   # C.lost
    uint64_t latest                 # the last good sample, octets a second
    RateSample sample               # of the acknowledgment in work
    uint64_t[40] model              # the congestion control's own

# Begin to sample: what is outstanding counts as sent now.
cdef void rate_start(Tcp *tcp, uint32_t conn) noexcept nogil
# A frame leaves, for the first time or again.
cdef void rate_sent(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil
# A frame that was sent is cut in two.
cdef void rate_split(Tcp *tcp, uint32_t frame, uint32_t rest) noexcept nogil
# A frame, or `octets` at its head, was acknowledged or reported for the first time.
cdef void rate_delivered(Tcp *tcp, uint32_t conn, const Frame *it, uint32_t octets) noexcept nogil
# A frame is lost, or what it was sent again for.
cdef void rate_lost(Tcp *tcp, uint32_t conn, uint32_t frame) noexcept nogil
# Fill in the sample (GenerateRateSample).
cdef void rate_generate(Tcp *tcp, uint32_t conn) noexcept nogil
# The acknowledgment has done all else: its sample goes to the congestion control.
cdef void rate_acknowledged(Tcp *tcp, uint32_t conn) noexcept nogil
# What leaves from now on, for a round trip, tells of the application's rate, or of our own restraint.
cdef void rate_limit(Tcp *tcp, uint32_t conn) noexcept nogil


cdef inline Rate *rate_of(Tcp *tcp, uint32_t conn) noexcept nogil:
    return <Rate *>tcp.rates + conn


cdef inline void *rate_model(Tcp *tcp, uint32_t conn) noexcept nogil:
    """The state of a congestion control with TRAIT_RATE."""
    return rate_of(tcp, conn).model
