class ServiceTable:
    """An empty list of services, or another process's by its memfd, which stays the caller's. One process
    writes it. Addresses are texts; "" is every IPv4 address, "::" every IPv6 one.

    Raises OSError where memory is refused.
    """

    memfd: int
    def __init__(self, memfd: int = -1) -> None: ...
    def serve(self, address: str, port: int, worker: int) -> None:
        """The worker, 0 to 63, serves it from now on. Raises OSError ENOSPC beyond 64 addresses and ports."""
    def leave(self, address: str, port: int, worker: int) -> None:
        """It serves it no more; it need not have."""
    def forget(self, worker: int) -> None:
        """It serves nothing any more."""
    def workers(self, address: str, port: int) -> list[int]:
        """Who serves it."""
