"""What a protocol's callbacks may do, and in which context they are called."""

import asyncio
import contextlib
import contextvars
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, asking, exactly, serving
from tests.aio.test_hostile import open_connections
from tests.aio.test_loop import PORT, echo, running, until

PART = bytes(15_000_000)
COPIED = ["connection_made", "data_received", "eof_received", "pause_writing", "resume_writing",
          "connection_lost"]
BUFFERED = ["get_buffer", "buffer_updated"]


class Mishap(Exception):
    """What the protocols raise."""


class Raises:
    """A protocol that raises in the callback that is named, the first time. Asked to pause or to resume, it
    answers with more than fits.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.buffer = bytearray(100)
        self.transport: Any = None

    def at(self, name: str) -> None:
        if name == self.where:
            self.where = ""
            raise Mishap(name)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.at("connection_made")

    def data_received(self, data: bytes) -> None:
        self.at("data_received")
        if self.where in ("pause_writing", "resume_writing"):
            for _ in range(2):              # over TLS the second of them
                self.transport.write(PART)

    def get_buffer(self, sizehint: int) -> bytearray:
        self.at("get_buffer")
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.at("buffer_updated")

    def eof_received(self) -> None:
        self.at("eof_received")

    def pause_writing(self) -> None:
        self.at("pause_writing")

    def resume_writing(self) -> None:
        self.at("resume_writing")

    def connection_lost(self, error: BaseException | None) -> None:
        self.at("connection_lost")


class RaisesCopied(Raises, asyncio.Protocol):
    """Octets come as bytes."""


class RaisesBuffered(Raises, asyncio.BufferedProtocol):     # type: ignore[misc]
    """Octets come in its buffer."""


def provoke(client: socket.socket, where: str, context: ssl.SSLContext | None, host: str) -> None:
    """What a peer does for that callback to be called, and then its end of the connection."""
    with contextlib.suppress(OSError):      # a reset, perhaps before connect() has returned
        client.connect((host, PORT))
        if context is not None:
            client = context.wrap_socket(client, server_hostname=host)
        client.sendall(b"x")
        if where in ("pause_writing", "resume_writing"):
            got = 0
            while got < 2 * len(PART) and (more := len(client.recv(1 << 20))):
                got += more
        elif where == "eof_received":
            client.unwrap() if isinstance(client, ssl.SSLSocket) else client.shutdown(socket.SHUT_WR)
            client.recv(1)
    client.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("where", ["factory", *COPIED, *BUFFERED])
def test_what_a_callback_raises_is_told_and_ends_no_other_connection(
        site: Site, certificates: Path, where: str, tls: bool) -> None:
    def factory() -> asyncio.BaseProtocol:
        if where == "factory":
            raise Mishap(where)
        return RaisesBuffered(where) if where in BUFFERED else RaisesCopied(where)

    async def main() -> None:
        heard: list[dict[str, Any]] = []
        running().set_exception_handler(lambda _, context: heard.append(context))
        context = serving(certificates) if tls else None
        async with await running().create_server(factory, site.host, PORT, ssl=context), \
                await asyncio.start_server(echo, site.host, PORT + 1):
            other = await site.connected(PORT + 1)
            asked_by = asking(certificates) if tls else None
            await asyncio.to_thread(provoke, site.client(), where, asked_by, site.host)
            await until(lambda: heard)
            await until(lambda: len(open_connections()) == 1)
            assert [repr(it["exception"]) for it in heard] == [repr(Mishap(where))]
            other.sendall(b"y")
            assert await exactly(other, 1) == b"y"
            other.close()
    site.run(main())


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class Tells(asyncio.Protocol):
    """Remembers what the variable was in each callback; its factory sets it, which nobody else is to see."""

    def __init__(self, told: list[tuple[str, str, str]], side: str) -> None:
        self.told, self.side = told, side
        self.tell("factory")

    def tell(self, name: str) -> None:
        self.told.append((self.side, name, variable.get()))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.tell("connection_made")

    def data_received(self, data: bytes) -> None:
        self.tell("data_received")
        if self.side == "server":
            self.transport.write(data)
        elif self.transport.can_write_eof():
            self.transport.write_eof()

    def eof_received(self) -> None:
        self.tell("eof_received")

    def connection_lost(self, error: BaseException | None) -> None:
        self.tell("connection_lost")


async def contexts(host: str, listening: ssl.SSLContext | None,
                   connecting: ssl.SSLContext | None) -> list[Any]:
    """What the callbacks of both sides see of a variable that is set before, between and after."""
    loop = asyncio.get_running_loop()
    told: list[Any] = []

    def factory() -> asyncio.Protocol:
        made = Tells(told, "server")
        variable.set("the factory's")
        return made

    variable.set("the server's")
    async with await loop.create_server(factory, host, 0, ssl=listening) as server:
        port = server.sockets[0].getsockname()[1]
        for number in range(2):
            variable.set(f"client {number}'s")
            transport, _ = await loop.create_connection(
                lambda: Tells(told, "client"), host, port, ssl=connecting)
            variable.set("later")
            transport.write(b"x")
            if connecting is not None:
                await until(lambda: ("client", "data_received", f"client {number}'s") in told)  # noqa: B023
                transport.close()
            await until(lambda: sum(it[1] == "connection_lost" for it in told) == 2 * number + 2)   # noqa: B023
    return sorted(told)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_callbacks_see_the_variables_that_they_see_in_asyncio_s_own_loop(
        site: Site, certificates: Path, tls: bool) -> None:
    def program(host: str) -> Any:
        return contexts(host, serving(certificates) if tls else None, asking(certificates) if tls else None)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        expected = runner.run(program("localhost"))
    assert site.run(program(site.host)) == expected
