"""Sequence numbers (RFC 9293 3.4): points on a circle of 2^32, compared modulo its size. Lengths are counts.

    cdef seq_t snd_una          a point
    cdef uint32_t snd_wnd       a length
    point + length = point, point - point = length, point + point means nothing
"""
from libc.stdint cimport int32_t, uint32_t

ctypedef uint32_t seq_t


cdef inline bint seq_before(seq_t one, seq_t other) noexcept nogil:
    return <int32_t>(one - other) < 0


cdef inline bint seq_upto(seq_t one, seq_t other) noexcept nogil:
    """one =< other"""
    return <int32_t>(one - other) <= 0


cdef inline bint seq_after(seq_t one, seq_t other) noexcept nogil:
    return <int32_t>(one - other) > 0


cdef inline uint32_t seq_span(seq_t start, seq_t end) noexcept nogil:
    """Octets from start up to end."""
    return end - start


cdef inline bint seq_within(seq_t point, seq_t start, uint32_t length) noexcept nogil:
    """start =< point < start + length"""
    return <uint32_t>(point - start) < length


cdef inline seq_t seq_max(seq_t one, seq_t other) noexcept nogil:
    return other if seq_before(one, other) else one
