"""SYN cookies (RFC 4987 3.6): a sequence number that stands for the half-open connection that is not kept.

The cookie carries the peer's MSS (one of eight), a counter of 64 s, and a SipHash of the four-tuple, the
peer's sequence number, the counter, the MSS and the options below:

     31                                             4 3 2   0
    |  SipHash-2-4 under state.cookie_key, 28 bits   | c | MSS |       c: the counter's lowest bit

One bit tells the counter, because a cookie lives for the count that it was made in and the one after.

Where the peer offers timestamps, the SYN-ACK's TSval carries the rest of what the SYN offered in its lowest bits, and
comes back as the TSecr of the ACK:

     31                                         6   5     4    3     0
    |  our clock, never ahead of what it shows    | ECN | SACK | scale |      scale: of the window; 15: none
"""
from libc.stdint cimport uint32_t

from underpass.tcp.tcb cimport Preset, Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

cdef enum:
    COOKIE_PERIOD_S = 64
    COOKIE_MSS_MIN = 64
    # what a cookie's timestamp carries
    COOKIE_SCALE = 0x0F             # the peer's shift
    COOKIE_NO_SCALE = 0x0F
    COOKIE_SACK = 0x10
    COOKIE_ECN = 0x20
    COOKIE_BITS = 0x3F
    COOKIE_STAMPED = 0x40           # the SYN offered timestamps: there are such bits at all

# What the cookie for this SYN is to carry in its timestamp, COOKIE_STAMPED with the rest; 0: it offers no timestamps.
# `ecn`: we would agree to ECN where the SYN offers it.
cdef uint32_t cookie_options(const Segment *syn, bint ecn) noexcept nogil
# The initial sequence number to answer the SYN with, and the TSval.
cdef seq_t cookie_make(const Tcp *tcp, const Segment *syn, uint32_t options) noexcept nogil
cdef uint32_t cookie_stamp(uint32_t ts_val, uint32_t options) noexcept nogil
# Answer a SYN by a cookie; nothing is kept. `preset`: the listener's. `ecn`: as in cookie_options.
cdef void cookie_send(Tcp *tcp, const Segment *syn, const Preset *preset, bint ecn) noexcept nogil
# Whether this segment acknowledges a cookie of ours, not older than two counts. Then `syn` becomes the SYN as it must
# have been: its number, its MSS (never more than the peer offered, but at least COOKIE_MSS_MIN), and what the timestamp
# carries.
cdef bint cookie_check(const Tcp *tcp, const Segment *ack, Segment *syn) noexcept nogil
