def check(program: bytes) -> bool:
    """Whether a program (struct sock_filter, one after the other) may be run."""

def run(program: bytes, packet: bytes, wire_bytes: int | None = None) -> int:
    """What it accepts of the packet. Raises ValueError for a program that may not be run."""
