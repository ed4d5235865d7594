"""SYN cookies (RFC 4987 3.6): a sequence number that stands for the half-open connection that is not kept.

The cookie carries the peer's MSS (one of eight), a counter of 64 s, and a SipHash of the four-tuple, the
peer's sequence number, the counter and the MSS:

     31                                             4 3 2   0
    |  SipHash-2-4 under state.cookie_key, 28 bits   | c | MSS |       c: the counter's lowest bit

One bit tells the counter, because a cookie lives for the count that it was made in and the one after.
"""
from libc.stdint cimport uint16_t, uint32_t

from underpass.tcp.tcb cimport Tcp
from underpass.wire.segment cimport Segment
from underpass.wire.seq cimport seq_t

# The initial sequence number to answer the SYN with.
cdef seq_t cookie_make(const Tcp *tcp, const Segment *syn) noexcept nogil
# The MSS that the cookie acknowledged by this segment carries, never more than the peer offered (but at least
# COOKIE_MSS_MIN); or 0: not a cookie of ours, or older than two counts. A cookie says nothing of the SYN's
# other options.
cdef uint16_t cookie_check(const Tcp *tcp, const Segment *ack) noexcept nogil

cdef enum:
    COOKIE_PERIOD_S = 64
    COOKIE_MSS_MIN = 64
