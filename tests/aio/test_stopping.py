"""A loop that has stopped, and may run again: what its last iteration did has happened on the wire."""

import asyncio
import socket
from typing import Any

import pytest
from tests.aio.conftest import Site

from underpass.linux.namespaces import inside

PORT = 7000
HANDLERS = [pytest.param(False, id="compiled"), pytest.param(True, id="debug")]


class Accepts(asyncio.Protocol):
    """Has the connection that was made last."""

    def __init__(self, made: "asyncio.Future[asyncio.Transport]") -> None:
        self.made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.set_result(transport)     # type: ignore[arg-type]


class Stopped:
    """A loop between two runs, a connection of its server, and the kernel's socket on the other end."""

    def __init__(self, site: Site, debug: bool) -> None:
        self.loop: Any = site.factory()()
        self.loop.set_debug(debug)
        self.server: asyncio.Server
        self.transport, self.peer = self.loop.run_until_complete(self.connect(site))

    async def connect(self, site: Site) -> tuple[asyncio.Transport, socket.socket]:
        made = self.loop.create_future()
        self.server = await self.loop.create_server(lambda: Accepts(made), site.host, PORT)
        peer = await site.connected(PORT)
        peer.settimeout(3)
        return await made, peer

    def last(self, does: Any) -> None:
        """What the loop does in its last iteration."""
        self.loop.call_soon(does)
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def last_but_one(self, does: Any) -> None:
        """What it does in the iteration before: an abort takes effect in the next one, as with asyncio."""
        async def main() -> None:
            does()
        self.loop.run_until_complete(main())


@pytest.fixture(params=HANDLERS)
def stopped(site: Site, request: pytest.FixtureRequest) -> Any:
    with inside(site.pair.server.name):
        it = Stopped(site, request.param)
        try:
            yield it
        finally:
            it.peer.close()
            it.server.close()
            it.loop.close()


def test_what_was_written_is_there(stopped: Stopped) -> None:
    stopped.last(lambda: stopped.transport.write(b"said and done"))
    assert stopped.peer.recv(100) == b"said and done"
    stopped.last(lambda: stopped.transport.writelines([b"and ", b"again"]))
    assert stopped.peer.recv(100) == b"and again"


def test_an_ended_connection_is_ended(stopped: Stopped) -> None:
    stopped.last(stopped.transport.write_eof)
    assert stopped.peer.recv(100) == b""


def test_an_aborted_connection_is_ended(stopped: Stopped) -> None:
    stopped.last_but_one(stopped.transport.abort)
    assert stopped.peer.recv(100) == b""


def test_what_raises_out_of_the_loop_takes_nothing_back(stopped: Stopped) -> None:
    def leave() -> None:
        stopped.transport.write(b"the last word")
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        stopped.last(leave)
    assert stopped.peer.recv(100) == b"the last word"
