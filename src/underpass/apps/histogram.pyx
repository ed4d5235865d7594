"""Latencies in fixed memory: the histogram of `underpass load`, and its face to Python."""
from libc.math cimport ceil
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.string cimport memset


cdef void histogram_reset(Histogram *histogram) noexcept nogil:
    memset(histogram, 0, sizeof(Histogram))
    histogram.least = UINT64_MAX


cdef uint64_t histogram_bound(uint32_t index) noexcept nogil:
    """The largest value that the count at `index` stands for."""
    cdef uint32_t shift
    cdef uint64_t leading
    if index < 256:
        return index
    shift = (index >> HISTOGRAM_PART_BITS) - 1
    leading = (index & ((1 << HISTOGRAM_PART_BITS) - 1)) + (1 << HISTOGRAM_PART_BITS)
    return ((leading + 1) << shift) - 1


cdef uint64_t histogram_quantile(const Histogram *histogram, double share) noexcept nogil:
    cdef uint64_t rank = <uint64_t>ceil(share * histogram.count)
    cdef uint64_t seen = 0
    cdef uint32_t index
    if histogram.count == 0:
        return 0
    if rank < 1:
        rank = 1
    for index in range(HISTOGRAM_COUNTS):
        seen += histogram.counts[index]
        if seen >= rank:
            return min(histogram_bound(index), histogram.most)
    return histogram.most


cdef class LatencyHistogram:
    """Values of 0 to 2^40 in 35 KiB, whatever their number, each kept to within 0.8 %."""
    cdef Histogram histogram

    def __cinit__(self):
        histogram_reset(&self.histogram)

    def record(self, uint64_t value):
        """Count one value."""
        histogram_record(&self.histogram, value)

    def quantile(self, double share):
        """The value that `share` (0 to 1) of the recorded ones do not exceed; 0 when there are none."""
        if not 0 <= share <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {share}")
        return histogram_quantile(&self.histogram, share)

    def summary(self):
        """count, mean, least, p50, p90, p99, p99.9 and most, in the unit that was recorded."""
        return histogram_summary(&self.histogram)

    def tally(self):
        """See histogram.pyi."""
        return histogram_tally(&self.histogram)

    @staticmethod
    def of(counts):
        """See histogram.pyi."""
        cdef LatencyHistogram made = LatencyHistogram()
        cdef Histogram *it = &made.histogram
        cdef uint32_t index
        for name, number in counts.items():
            if name == "total":
                it.total = number
                continue
            index = int(name)
            if index >= HISTOGRAM_COUNTS:
                raise ValueError(f"a histogram has {HISTOGRAM_COUNTS} counts, none at {index}")
            it.counts[index] = number
            it.count += number
            it.least = min(it.least, histogram_bound(index))
            it.most = max(it.most, histogram_bound(index))
        return made


cdef dict histogram_tally(const Histogram *histogram):
    cdef uint32_t index
    cdef dict tally = {"total": histogram.total}
    for index in range(HISTOGRAM_COUNTS):
        if histogram.counts[index]:
            tally[str(index)] = histogram.counts[index]
    return tally


cdef dict histogram_summary(const Histogram *histogram):
    cdef dict row = {"count": histogram.count}
    row["mean"] = histogram.total / histogram.count if histogram.count else 0.0
    row["min"] = histogram.least if histogram.count else 0
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        row[name] = histogram_quantile(histogram, share)
    row["max"] = histogram.most
    return row
