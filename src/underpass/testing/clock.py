"""Time that stands still until somebody moves it."""

from __future__ import annotations

US = 1_000
MS = 1_000_000
SECOND = 1_000_000_000

# Not 0, which means 'not set' to the engine's deadlines.
START_NS = 1_000 * SECOND


class Clock:
    """A virtual monotonic clock in nanoseconds."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns
        self.start_ns = now_ns

    def advance_to(self, when_ns: int) -> None:
        """Move on to `when_ns`; a time that has passed already changes nothing."""
        self.now_ns = max(self.now_ns, when_ns)

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the clock was made."""
        return (self.now_ns - self.start_ns) / MS
