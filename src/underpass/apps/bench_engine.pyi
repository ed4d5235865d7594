from underpass.stack.stack import Stack

class EngineBench:
    """Two stacks and `connections` connections between them. Raises RuntimeError if they do not open."""

    server: Stack
    def __init__(self, connections: int) -> None: ...
    def run(self, seconds: float) -> dict[str, float]:
        """Ask and answer for so long. Returns transactions, segments and nanoseconds.

        `segment_ns` is the time for each segment that either engine handled, in or out; `transaction_ns`
        the time for a question and its answer, at both ends.
        """
    def bytes_per_connection(self) -> float:
        """Shared memory of the arena for each connection that it has room for."""
    def close(self) -> None:
        """Release both stacks."""
