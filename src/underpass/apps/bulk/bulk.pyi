from underpass.stack.stack import Stack

HEAD_BYTES: int
MIB: int
SERVER_PHASE: int

def head(up: int, down: int, wait: bool) -> bytes: ...
def piece(at: int, server: bool = False) -> memoryview:
    """1 MiB of a stream, the client's or the server's, from octet `at` on."""
def matches(octets: bytes | bytearray | memoryview, at: int, server: bool = False) -> bool:
    """Whether the octets (1 MiB at most) are those that stand at `at` of that stream."""

def congestion_names() -> list[str]: ...

class Bulk:
    """A source and sink of octets on a stack: serves any number of ports, is client of one plan at a time.

    `verify`: compare every octet that comes with what it must be. Raises ValueError for a congestion control
    that does not exist.
    """

    def __init__(self, stack: Stack, congestion: str = "cubic", verify: bool = True) -> None: ...
    def choose(self, congestion: str) -> None: ...
    def listen(self, address: str, port: int, backlog: int = 4096) -> None: ...
    def connect(self, address: str, port: int, *, connections: int = 1, at_a_time: int = 1, up: int = 0,
                down: int = 0, wait: bool = False) -> None:
        """Open so many connections, each to send `up` octets and ask for `down`; `wait`: one after the other.

        The stack's `run` returns when they are over.
        """
    @property
    def over(self) -> bool: ...
    def results(self) -> dict[str, int | float]:
        """Counts since the last call of connect() or reset()."""
    def reset(self) -> None: ...
