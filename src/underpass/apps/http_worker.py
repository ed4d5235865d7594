"""The HTTP server as a worker runs it: everything is opened at once, and served once the worker is
confined.
"""

from collections.abc import Sequence

from underpass.apps.access_log import AccessLog
from underpass.apps.http_memory import LAYOUT
from underpass.apps.serve import HttpServer
from underpass.stack.stack import Stack


class HttpWorker:
    """Serves `directory` on `port` of `addresses`; see `workers.worker.Application`."""

    layout = LAYOUT             # of `memory`

    def __init__(self, stack: Stack, directory: str, addresses: Sequence[str], port: int,
                 access_log: str | None, *, memory: int = -1) -> None:
        self._addresses, self._port = addresses, port
        file = "/dev/stdout" if access_log == "-" else access_log
        self._log = AccessLog(file, run=False) if file else None
        self._server = HttpServer(stack, directory, access_log=self._log, memory=memory)

    @property
    def open(self) -> int:
        """Connections that are open."""
        return self._server.open

    def listen(self) -> None:
        """Begin to serve."""
        if self._log is not None:
            self._log.run()
        for address in self._addresses:
            self._server.listen(address, self._port)

    @property
    def memory(self) -> int:
        """The memfd with everything that another process needs to go on."""
        return self._server.memory

    def suspend(self) -> None:
        """Another process goes on: the log is written out."""
        if self._log is not None:
            self._log.close()

    def take_up(self) -> dict[str, int]:
        """Go on instead of listening; returns how many connections were reset, by reason."""
        if self._log is not None:
            self._log.run()
        return self._server.take_up()

    def tick(self) -> None:
        """Keep the server's clock."""
        self._server.tick()

    def drain(self) -> None:
        """Answer what is asked, and close."""
        self._server.drain()

    def stats(self) -> dict[str, dict[str, int]]:
        """The server's counters; the log is written out."""
        counters = self._server.stats()
        if self._log is not None:
            self._log.close()
        return counters
