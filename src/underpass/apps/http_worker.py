"""The HTTP server as a worker runs it: everything is opened at once, and served once the worker is
confined.
"""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from underpass.apps.access_log import AccessLog
from underpass.apps.http_memory import LAYOUT
from underpass.apps.serve import HttpServer
from underpass.apps.sites import Site
from underpass.stack.stack import Stack
from underpass.workers.counters import summed


class HttpWorker:
    """Serves `sites`, each a `Site` as a dictionary; see `workers.worker.Application`. What they know of
    their connections lies in one memory, one behind the other.
    """

    layout = LAYOUT             # of each site's part of `memory`

    def __init__(self, stack: Stack, sites: Sequence[dict[str, Any]], *, memory: int = -1) -> None:
        self._sites: list[OneSite] = []
        end = 0
        for site in sites:
            one = OneSite(stack, Site(**site), memory, end)
            self._sites.append(one)
            memory, end = one.server.memory, one.server.memory_end
        if os.fstat(memory).st_size != end:
            raise ValueError(f"{os.fstat(memory).st_size} bytes are not the memory of {len(sites)} sites")
        self.memory = memory

    @property
    def open(self) -> int:
        """Connections that are open."""
        return sum(site.server.open for site in self._sites)

    def listen(self) -> None:
        """Begin to serve."""
        for site in self._sites:
            site.listen()

    def suspend(self) -> None:
        """Another process goes on: the logs are written out."""
        for site in self._sites:
            site.close_log()

    def take_up(self) -> dict[str, int]:
        """Go on instead of listening; returns how many connections were reset, by reason."""
        reset: Counter[str] = Counter()
        for site in self._sites:
            reset.update(site.take_up())
        return dict(reset)

    def tick(self) -> None:
        """Keep the servers' clock."""
        for site in self._sites:
            site.server.tick()

    def drain(self) -> None:
        """Answer what is asked, and close."""
        for site in self._sites:
            site.server.drain()

    def stats(self) -> dict[str, dict[str, int]]:
        """The counters of all sites together; the logs are written out."""
        counters = summed([site.server.stats() for site in self._sites])
        self.suspend()
        return counters


class OneSite:
    """A server and its log. `memory`, if there is one, has its connections from `at` on, or ends there."""

    def __init__(self, stack: Stack, site: Site, memory: int, at: int) -> None:
        self._site = site
        file = "/dev/stdout" if site.access_log == "-" else site.access_log
        self._log = AccessLog(file, run=False) if file else None
        self.server = HttpServer(stack, site.directory, access_log=self._log, memory=memory, memory_at=at)

    def listen(self) -> None:
        """On all its addresses."""
        if self._log is not None:
            self._log.run()
        for address in self._site.addresses:
            self.server.listen(address, self._site.port)

    def take_up(self) -> dict[str, int]:
        """Go on with its connections."""
        if self._log is not None:
            self._log.run()
        return self.server.take_up()

    def close_log(self) -> None:
        """Write it out."""
        if self._log is not None:
            self._log.close()
