from underpass.stack.stack import Stack

class PrimesServer:
    """Answers HTTP requests for /X with how many primes lie below X, found anew for each by trial division.

    With `threads` they are found by a second thread, which the stack's hands each request to; `wake_fd` is
    readable when there are answers: have the stack's `run` wait on it, then call `woken`. Raises OSError.
    """

    wake_fd: int
    def __init__(self, stack: Stack, address: str, port: int, threads: bool = False) -> None: ...
    def woken(self) -> None:
        """Answers will be sent in the next turn."""
    def stats(self) -> dict[str, int]:
        """Requests answered, and connections refused: no such request, or too many at a time."""
    def close(self) -> None:
        """End the second thread."""

def count_primes(limit: int) -> int:
    """How many primes lie below the limit."""
