class Flood:
    """`frame`, sent by interface `ifindex` of this network namespace, each time from another source and port.

    The frame is Ethernet with IPv4 and TCP, or UDP without a checksum, at least 54 octets. Sources are the
    `sources` addresses, a power of two, from `first` on. `packets_per_s`: in bursts of 32; 0: as many as the
    kernel can. Raises OSError, ValueError.
    """

    def __init__(self, frame: bytes, ifindex: int, first: str, sources: int,
                 packets_per_s: float = 0) -> None: ...
    def send(self, runs: int = ...) -> None:
        """Look so many times whether a packet is due, and send it; until a signal comes. Raises OSError."""
    def close(self) -> None:
        """Unload the program. May be called twice."""

class BareDrop:
    """Drops every packet of an interface, in native mode, until close(). Raises OSError."""

    def __init__(self, ifindex: int) -> None: ...
    def close(self) -> None:
        """Detach and unload. May be called twice."""
