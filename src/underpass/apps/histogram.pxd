"""A log-linear histogram of fixed size: each power of two is cut into 128 parts, 0.8 % of a value at most."""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    HISTOGRAM_PART_BITS = 7
    HISTOGRAM_LIMIT_BITS = 40           # larger values (in ns: 18 minutes) count as the largest
    HISTOGRAM_COUNTS = 4352             # (40 - 7 - 1) * 128 + 256

cdef extern from * nogil:
    int __builtin_clzll(unsigned long long)

cdef struct Histogram:
    uint64_t count
    uint64_t total                      # sum of the values, for the mean
    uint64_t least
    uint64_t most
    uint64_t[4352] counts

cdef void histogram_reset(Histogram *histogram) noexcept nogil
# The value that `share` (0 to 1) of the recorded ones do not exceed; 0 when there are none.
cdef uint64_t histogram_quantile(const Histogram *histogram, double share) noexcept nogil
cdef dict histogram_summary(const Histogram *histogram)
# Its counts by index, as text, and "total": those of several can be summed. `LatencyHistogram.of` makes one of them again.
cdef dict histogram_tally(const Histogram *histogram)


cdef inline uint32_t histogram_index(uint64_t value) noexcept nogil:
    """Values below 256 have a count each; above, the leading 8 bits and their place choose it."""
    cdef uint32_t shift
    if value < 256:
        return <uint32_t>value
    if value >> HISTOGRAM_LIMIT_BITS:
        return HISTOGRAM_COUNTS - 1
    shift = 63 - HISTOGRAM_PART_BITS - __builtin_clzll(value)
    return (shift << HISTOGRAM_PART_BITS) + <uint32_t>(value >> shift)


cdef inline void histogram_record(Histogram *histogram, uint64_t value) noexcept nogil:
    histogram.counts[histogram_index(value)] += 1
    histogram.count += 1
    histogram.total += value
    if value < histogram.least:
        histogram.least = value
    if value > histogram.most:
        histogram.most = value
