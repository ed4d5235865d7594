from collections.abc import Mapping

class LatencyHistogram:
    """Values of 0 to 2^40 in 35 KiB, whatever their number, each kept to within 0.8 %."""

    def record(self, value: int) -> None: ...
    def quantile(self, share: float) -> int: ...
    def tally(self) -> dict[str, int]:
        """Its counts by index, as text, and "total", the values' sum: those of several can be added up."""
    @staticmethod
    def of(counts: Mapping[str, int]) -> LatencyHistogram:
        """From counts by index, as text, and "total", the values' sum. Least and greatest are then known to
        within 0.8 %. Raises ValueError for an index that no count has.
        """
    def summary(self) -> dict[str, int | float]:
        """count, mean, min, p50, p90, p99, p99.9 and max, in the unit that was recorded."""
