class AccessLog:
    """A log file that is appended to, with `ring_octets` (a power of two) of lines that wait to be written.

    Raises OSError where the file cannot be opened.
    """

    path: str
    error: OSError | None
    def __init__(self, path: str, ring_octets: int = 16 << 20, run: bool = True) -> None: ...
    def run(self) -> None:
        """Start the thread, for a log that was opened without it: a sandbox confines threads begun after
        it.
        """
    def append(self, line: bytes) -> None:
        """Put a line, with its newline, into the ring; drop it where there is no room."""
    def flush(self) -> bool:
        """Write out what waits; False where there was nothing. For the thread, or after close."""
    def stats(self) -> dict[str, int]:
        """Lines taken and lines dropped."""
    def close(self) -> None: ...
