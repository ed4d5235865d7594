class KernelHttp:
    """The HTTP server over Linux's sockets: same parser, files and answers, an epoll loop instead of a stack.

    Serves `directory` on (address, port) as soon as `run` is called. Raises OSError.
    """

    def __init__(self, directory: str, address: str, port: int) -> None: ...
    def run(self, timeout_s: float) -> None:
        """Serve until nothing has happened for so long, or a signal has come."""
    def close(self) -> None:
        """End every connection. May be called twice."""
    def stats(self) -> dict[str, int]:
        """Counters, as those of `HttpServer`."""
