"""asyncio's streams, whose reader the transport fills by itself where it is asyncio's own."""

import asyncio
import os
import socket
from typing import Any

import pytest
from tests.aio.conftest import Site, close_with_reset

LIMIT = 8192
SENT = bytes(range(256)) * 4096                 # 1 MiB: more than what may wait


async def taken(site: Site, serve: Any, **options: Any) -> Any:
    """What `serve(reader)` returns for a connection on which the kernel's client sends SENT and ends."""
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            found.set_result(await serve(reader))
        except Exception as error:
            found.set_exception(error)
        finally:
            writer.close()

    server = await asyncio.start_server(accepted, site.host, 0, **options)
    client = await site.connected(server.sockets[0].getsockname()[1])
    await asyncio.to_thread(sends, client)
    async with server:
        return await found


def sends(client: socket.socket) -> None:
    """As much as is taken until the server ends it."""
    with client:
        try:
            client.sendall(SENT)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        except OSError:
            pass


def test_a_reader_gets_what_was_sent_in_order(site: Site) -> None:
    async def serve(reader: asyncio.StreamReader) -> bytes:
        head = await reader.readexactly(3)
        line = await reader.readuntil(b"\x09")
        return head + line + await reader.read(-1)

    assert site.run(taken(site, serve)) == SENT


def test_a_reader_that_is_not_read_holds_back_its_peer(site: Site) -> None:
    """Twice its limit and what came at once are the most that wait; what has come by then is read after."""
    async def serve(reader: asyncio.StreamReader) -> tuple[int, bool]:
        while not reader._paused:                               # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        waiting = len(reader._buffer)                           # type: ignore[attr-defined]
        return waiting, await reader.read(-1) == SENT

    waiting, is_whole = site.run(taken(site, serve, limit=LIMIT))
    assert 2 * LIMIT < waiting < len(SENT) and is_whole


@pytest.mark.parametrize("way", ["reader", "protocol", "feed_data", "read"])
def test_who_changes_feeding_is_fed_by_that(site: Site, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass's feed_data, or data_received, is called, and what was put into asyncio's class."""
    fed = 0
    own = {name: getattr(asyncio.StreamReader, name) for name in ("feed_data", "read")}

    class Counting(asyncio.StreamReader):
        def feed_data(self, data: bytes) -> None:
            nonlocal fed
            fed += len(data)
            super().feed_data(data)

    class CountingProtocol(asyncio.StreamReaderProtocol):
        def data_received(self, data: bytes) -> None:
            nonlocal fed
            fed += len(data)
            super().data_received(data)

    def feed_data(self: asyncio.StreamReader, data: bytes) -> None:
        nonlocal fed
        fed += len(data)
        own["feed_data"](self, data)

    async def read(self: asyncio.StreamReader, n: int = -1) -> bytes:
        nonlocal fed
        octets: bytes = await own["read"](self, n)
        fed += len(octets) if n == -1 else 0
        return octets

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        reader = Counting(loop=loop) if way == "reader" else asyncio.StreamReader(loop=loop)
        kind = CountingProtocol if way == "protocol" else asyncio.StreamReaderProtocol
        with site.listener() as listener:
            (transport, _), (kernel, _) = await asyncio.gather(
                loop.create_connection(lambda: kind(reader, loop=loop), *listener.getsockname()),
                asyncio.to_thread(listener.accept))
            sending = asyncio.create_task(asyncio.to_thread(sends, kernel))
            octets = await reader.read(-1)
            transport.close()
            await sending
            return octets

    if way in own:
        monkeypatch.setattr(asyncio.StreamReader, way, {"feed_data": feed_data, "read": read}[way])
    assert site.run(main()) == SENT
    assert fed == len(SENT)


@pytest.mark.parametrize("debug", [False, True])
def test_a_reader_is_compiled_but_in_debug_mode(site: Site, debug: bool) -> None:
    async def serve(reader: asyncio.StreamReader) -> tuple[bool, str]:
        await reader.read(1)
        return isinstance(reader, asyncio.StreamReader), type(reader).__module__

    module = "asyncio.streams" if debug else "underpass.aio.streams"
    assert site.run(taken(site, serve), debug=debug) == (True, module)


def test_reads_of_every_length(site: Site) -> None:
    """None of none, at most so many, and after the end nothing."""
    async def serve(reader: asyncio.StreamReader) -> list[int]:
        empty = await reader.read(0)
        octets = b""
        while more := await reader.read(len(octets) % 5000 + 1):
            assert len(more) <= len(octets) % 5000 + 1
            octets += more
        assert octets == SENT
        return [len(empty), len(await reader.read(1)), len(await reader.read())]

    assert site.run(taken(site, serve)) == [0, 0, 0]


def test_a_second_read_at_a_time_is_refused_and_a_cancelled_one_loses_nothing(site: Site) -> None:
    async def main() -> tuple[str, bytes]:
        with site.listener() as listener:
            (reader, writer), (kernel, _) = await asyncio.gather(
                asyncio.open_connection(*listener.getsockname()), asyncio.to_thread(listener.accept))
            with kernel:
                waiting = asyncio.create_task(reader.read(10))
                await asyncio.sleep(0.01)
                with pytest.raises(RuntimeError) as raised:
                    await reader.read(10)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.read(10), 0.01)
                kernel.sendall(b"after")
                octets = await asyncio.wait_for(reader.read(10), 10)
                writer.close()
                return str(raised.value), octets

    said, octets = site.run(main())
    assert said == "read() called while another coroutine is already waiting for incoming data"
    assert octets == b"after"


def test_a_reset_is_raised_by_read(site: Site) -> None:
    async def main() -> None:
        with site.listener() as listener:
            (reader, writer), (kernel, _) = await asyncio.gather(
                asyncio.open_connection(*listener.getsockname()), asyncio.to_thread(listener.accept))
            close_with_reset(kernel)
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    await reader.read(10)
            writer.close()

    site.run(main())


def test_a_buffer_that_somebody_holds_ends_the_connection_and_is_told(site: Site) -> None:
    """As a bytearray refuses to grow while there is a memoryview of it."""
    async def main() -> tuple[type[BaseException], bool]:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()
        loop.set_exception_handler(lambda _, context: told.done() or told.set_result(context["exception"]))
        with site.listener() as listener:
            (reader, writer), (kernel, _) = await asyncio.gather(
                asyncio.open_connection(*listener.getsockname()), asyncio.to_thread(listener.accept))
            with kernel, memoryview(reader._buffer):            # type: ignore[attr-defined]
                kernel.sendall(os.urandom(100))
                error = await told
                return type(error), writer.transport.is_closing()

    assert site.run(main()) == (BufferError, True)
