from typing import Any

EVENTS: tuple[str, ...]
CAUSES: tuple[str, ...]
REASONS: tuple[str, ...]
PHASES: tuple[str, ...]
TIMERS: tuple[str, ...]

def trace_records(octets: bytes) -> list[dict[str, Any]]:
    """The records of a trace's blocks, as far as they are some (see tcp/trace.pxd), names instead of numbers.

    Each has at_ns (the worker's clock), event, cause, why, seq, length, dropped, the ends, congestion, and
    the fields of the view.
    """
