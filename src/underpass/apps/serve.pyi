from collections.abc import Callable

from underpass.apps.access_log import AccessLog
from underpass.apps.file_cache import FileCache
from underpass.stack.stack import Stack

class HttpServer:
    """Static files over HTTP/1.1, as a native application of a stack.

    directory: what is served; no path leads out of it. Seconds: header_timeout_s for a request to be
    complete, idle_timeout_s between two requests, send_timeout_s without progress. requests: of one
    connection, 0 for any number. blocks: requests that may be in parts at the same time. memory: another
    process's, to go on with (see `take_up`), from memory_at on; where it ends there, it is made longer for
    this server. `wall` gives nanoseconds since 1970 and `now` the stack's clock. Raises OSError for a
    directory that cannot be served.
    """

    stack: Stack
    files: FileCache
    access_log: AccessLog | None
    def __init__(
        self,
        stack: Stack,
        directory: str,
        *,
        access_log: AccessLog | None = None,
        files: FileCache | None = None,
        header_timeout_s: float = 10.0,
        idle_timeout_s: float = 75.0,
        send_timeout_s: float = 60.0,
        linger_timeout_s: float = 5.0,
        requests: int = 0,
        blocks: int = 1024,
        memory: int = -1,
        memory_at: int = 0,
        wall: Callable[[], int] = ...,
        now: Callable[[], int] = ...,
    ) -> None: ...
    def listen(self, address: str = "", port: int = 80, backlog: int = 1024) -> None:
        """Accept connections; "" is every IPv4 address that the stack has, "::" every IPv6 one.

        On an attached interface the port is claimed from the kernel. Raises OSError: EADDRINUSE,
        EADDRNOTAVAIL.
        """
    @property
    def open(self) -> int:
        """Connections that are open."""
    def tick(self) -> None:
        """Follow the wall clock; about once a second, or less often where it is never set."""
    def drain(self) -> None:
        """Listen no more and let every connection end after the response in work."""
    @property
    def memory(self) -> int:
        """The memfd in which everything about open connections stands, for another process."""
    @property
    def memory_end(self) -> int:
        """Where it ends in there."""
    def take_up(self) -> dict[str, int]:
        """Go on with another process's connections and listeners, over its memory and on a stack that took
        its arena over. A response whose file has changed since is reset, and so is what a crash has left in
        disorder. Returns how many were, by reason.
        """
    def stats(self) -> dict[str, dict[str, int]]:
        """Counters: "http", "files" and, with an access log, "log"."""
