"""An HTTP client in plain Python over the virtual network, and the server that it asks."""

import errno
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from underpass.apps.access_log import AccessLog
from underpass.apps.serve import HttpServer
from underpass.stack.sockets import Connection
from underpass.stack.stack import CLOSED, READABLE
from underpass.testing.network import Network

SECOND = 1_000_000_000
MS = 1_000_000
WALL_S = 1_700_000_000          # when the virtual network starts: Tue, 14 Nov 2023 22:13:20 GMT


class Web:
    """A server of `directory` on one host, a client on another, and time that passes only in `run`."""

    def __init__(self, directory: Path, *, network: dict[str, Any] | None = None,
                 log: AccessLog | None = None, family: int = 4, **server: Any) -> None:  # fmt: skip
        self.network = Network(seed=1)
        self.stepped_ns = 0         # by how much somebody has set the wall's clock
        self._started_ns = self.network.clock.now_ns
        self.client, self.host = self.network.pair(**(network or {}))
        self.server = HttpServer(self.host.stack, str(directory), access_log=log, wall=self.wall_ns,
                                 now=lambda: self.network.clock.now_ns, **server)  # fmt: skip
        self.server.listen("" if family == 4 else "::", 80)
        self.address = self.host.station.v4 if family == 4 else self.host.station.v6
        self.client.application = self._happened
        self.open: dict[Connection, Browser] = {}

    def wall_ns(self) -> int:
        return WALL_S * SECOND + self.network.clock.now_ns - self._started_ns + self.stepped_ns

    def connect(self) -> "Browser":
        return Browser(self)

    def ask(self, octets: bytes) -> bytes:
        """What comes back for these octets until the server ends the connection."""
        browser = self.connect()
        browser.send(octets)
        assert self.run(lambda: browser.ended)
        return browser.received

    def run(self, until: Any = None, for_ns: int | None = 30 * SECOND) -> bool:
        return self.network.run(until=until, for_ns=for_ns)

    def http(self) -> dict[str, int]:
        return self.server.stats()["http"]

    def _happened(self, conn: Connection, ready: int) -> None:
        browser = self.open[conn]
        if ready & READABLE and not browser.paused:
            browser.read()
        if ready & CLOSED:
            browser.read()          # whether by a reset
            browser.ended = True
        browser.push()

    def __enter__(self) -> Self:
        self.network.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.network.__exit__(kind, error, trace)


class Browser:
    """One connection of the client."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.conn = web.client.stack.connect((web.address, 80))
        web.open[self.conn] = self
        self.received = b""
        self.waiting = b""
        self.ended = False
        self.reset = False
        self.paused = False         # reads nothing, so that the window closes

    def send(self, octets: bytes) -> None:
        self.waiting += octets
        self.push()

    def push(self) -> None:
        try:
            while self.waiting:
                self.waiting = self.waiting[self.conn.send(self.waiting):]
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOTCONN):
                self.waiting = b""

    def read(self) -> None:
        while True:
            try:
                octets = self.conn.recv()
            except BlockingIOError:
                return
            except OSError as error:
                self.reset = error.errno == errno.ECONNRESET
                self.ended = True
                return
            if not octets:
                self.ended = True
                self.conn.close()
                return
            self.received += octets

    def finish(self) -> None:
        """Half-close."""
        self.conn.shutdown()


def parts(response: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, fields by lower-case name, and what follows."""
    head, _, body = response.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    pairs = (each.partition(":") for each in fields)
    return line, {name.lower(): value.strip() for name, _, value in pairs}, body


def split(octets: bytes) -> list[tuple[str, dict[str, str], bytes]]:
    """Every response of a connection, by Content-Length."""
    responses = []
    while octets:
        line, fields, rest = parts(octets)
        length = int(fields.get("content-length", 0)) if " 304 " not in line else 0
        responses.append((line, fields, rest[:length]))
        octets = rest[length:]
    return responses
