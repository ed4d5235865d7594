"""What programs and peers may do to the loop: cancel anywhere, reset anywhere, dribble, come and go."""

import asyncio
import contextlib
import gc
import io
import itertools
import re
import socket
import ssl
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, asking, exactly, serving
from tests.aio.test_loop import PORT, echo, running, until

from underpass.aio.stand_in import arrivals_of
from underpass.aio.transport import StackTransport
from underpass.linux.namespaces import inside

RESET = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
RSS_MAX = 40 << 20
FILE = bytes(range(256)) * 200          # while it is sent its transport does not read


def resident() -> int:
    """Octets of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def open_connections() -> list[dict[str, Any]]:
    """Those of the stack, without what only waits for old segments."""
    rows = running().nic.stack().connections()
    return [row for row in rows if row["state"] not in ("LISTEN", "TIME-WAIT")]


class Cut(Exception):
    """Raised by `cut_at` where the coroutine has ended before."""


@types.coroutine
def cut_at(number: int, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Cancel the task that runs this coroutine at the await at which it waits for the `number`th time."""
    error: BaseException | None = None
    for count in itertools.count():
        try:
            waiting = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration:
            if count <= number:
                raise Cut from None
            return
        if count == number:
            task: Any = asyncio.current_task()
            task.cancel()
        try:
            error = None
            yield waiting
        except BaseException as raised:
            error = raised


@dataclass
class Servers:
    """Where the exchanges find what they need: echo at PORT, over TLS at the next, `start_tls` at the third.
    """

    site: Site
    folder: Path

    async def start(self, holding: contextlib.AsyncExitStack) -> None:
        """Have them until `holding` ends."""
        context = serving(self.folder)

        async def starts_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                writer.write(b"go\n")
                await writer.start_tls(context)
                await echo(reader, writer)
            writer.close()

        for number, (serve, tls) in enumerate(((echo, None), (echo, context), (starts_tls, None))):
            await holding.enter_async_context(
                await asyncio.start_server(serve, self.site.host, PORT + number, ssl=tls))


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What was written comes back."""
    octets = b"x" * 3000
    writer.write(octets)
    await writer.drain()
    assert await reader.readexactly(len(octets)) == octets


async def by_streams(servers: Servers) -> None:
    """An exchange with ourselves."""
    reader, writer = await asyncio.open_connection(servers.site.host, PORT)
    try:
        await asked(reader, writer)
    finally:
        writer.close()
    await writer.wait_closed()


async def by_tls(servers: Servers) -> None:
    """The same over TLS."""
    reader, writer = await asyncio.open_connection(servers.site.host, PORT + 1, ssl=asking(servers.folder))
    try:
        await asked(reader, writer)
    finally:
        writer.close()
    await writer.wait_closed()


async def by_start_tls(servers: Servers) -> None:
    """The same over TLS that begins later."""
    reader, writer = await asyncio.open_connection(servers.site.host, PORT + 2)
    try:
        assert await reader.readline() == b"go\n"
        await writer.start_tls(asking(servers.folder), server_hostname=servers.site.host)
        await asked(reader, writer)
    finally:
        writer.close()
    await writer.wait_closed()


async def by_sendfile(servers: Servers) -> None:
    """A file, by a transport."""
    reader, writer = await asyncio.open_connection(servers.site.host, PORT)
    receiving = asyncio.create_task(reader.readexactly(len(FILE)))
    try:
        assert await running().sendfile(writer.transport, io.BytesIO(FILE)) == len(FILE)
        assert await receiving == FILE
    finally:
        receiving.cancel()
        writer.close()


@contextlib.contextmanager
def a_socket(servers: Servers) -> Iterator[socket.socket]:
    """One of the kernel's for the loop's sock_ calls."""
    with inside(servers.site.pair.server.name), socket.socket() as sock:
        sock.setblocking(False)
        yield sock


async def by_sock_calls(servers: Servers) -> None:
    """The same with sockets of one's own."""
    with a_socket(servers) as sock:
        await running().sock_connect(sock, (servers.site.host, PORT))
        await running().sock_sendall(sock, b"x" * 3000)
        assert await running().sock_recv(sock, 10) == b"x" * 10
        assert await running().sock_recv_into(sock, bytearray(10)) == 10


async def by_sock_sendfile(servers: Servers) -> None:
    """A file, read and sent, that nobody reads before it is there."""
    with a_socket(servers) as sock:
        await running().sock_connect(sock, (servers.site.host, PORT))
        assert await running().sock_sendfile(sock, io.BytesIO(b"x" * 30_000)) == 30_000
        left, buffer = 30_000, bytearray(7000)
        while left:
            left -= await running().sock_recv_into(sock, buffer)


async def by_happy_eyeballs(servers: Servers) -> None:
    """Of two addresses the first does not answer: nobody on the link has it."""
    async def both(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, PORT))
                for host in ("198.18.0.77", servers.site.host)]

    running().getaddrinfo = both            # type: ignore[method-assign]
    reader, writer = await asyncio.open_connection("a.name", PORT, happy_eyeballs_delay=0.01)
    try:
        assert writer.get_extra_info("peername") == (servers.site.host, PORT)
        await asked(reader, writer)
    finally:
        writer.close()


async def accepting(servers: Servers) -> None:
    """A server that is made, asked and closed."""
    async with await asyncio.start_server(echo, servers.site.host, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            await asked(reader, writer)
        finally:
            writer.close()


async def by_sock_accept(servers: Servers) -> None:
    """A socket that listens, and three clients."""
    loop = running()
    with inside(servers.site.pair.server.name), socket.create_server((servers.site.host, 0)) as listener:
        listener.setblocking(False)
        for _ in range(3):
            connecting = asyncio.create_task(asyncio.open_connection(*listener.getsockname()))
            try:
                sock, _address = await loop.sock_accept(listener)
                with sock:
                    await loop.sock_sendall(sock, b"hello")
                    reader, _writer = await connecting
                    assert await reader.readexactly(5) == b"hello"
            finally:
                connecting.cancel()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    (await connecting)[1].close()


EXCHANGES = [by_streams, by_tls, by_start_tls, by_sendfile, by_sock_calls, by_sock_sendfile,
             by_happy_eyeballs, accepting, by_sock_accept]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda it: it.__name__)
def test_tasks_cancelled_at_every_await_leave_nothing(
        site: Site, certificates: Path, exchange: Callable[[Servers], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        servers = Servers(site, certificates)
        async with contextlib.AsyncExitStack() as holding:
            await servers.start(holding)
            for number in range(200):
                task: Awaitable[None] = asyncio.ensure_future(cut_at(number, exchange(servers)))
                try:
                    await task
                except asyncio.CancelledError:
                    assert asyncio.current_task().cancelling() == 0         # type: ignore[union-attr]
                except Cut:
                    break
            assert 1 <= number < 199
            gc.collect()
            await until(lambda: not open_connections())
            await exchange(servers)
    site.run(main())


def test_a_cancelled_accept_loses_no_connection_and_keeps_nothing(site: Site) -> None:
    """Cancelled before the client comes, while it comes, and when it is there."""
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), socket.create_server((site.host, PORT)) as listener:
            listener.setblocking(False)
            for turns in range(6):
                waiting = asyncio.create_task(loop.sock_accept(listener))
                with await site.connected(PORT) if turns % 2 else await quickly(site) as client:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    waiting.cancel()
                    try:
                        sock, address = await waiting
                    except asyncio.CancelledError:
                        sock, address = await asyncio.wait_for(loop.sock_accept(listener), 10)
                    assert address == client.getsockname()
                    sock.close()
            for _ in range(50):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(loop.sock_accept(listener), 0.001)
            arrivals = arrivals_of(listener)
            assert arrivals is not None and len(arrivals.waiters) < 3
            await until(lambda: not open_connections())
    site.run(main())


async def quickly(site: Site) -> socket.socket:
    """A client of the peer's whose handshake has only begun."""
    client = site.client()
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.connect((site.host, PORT))
    return client


def test_happy_eyeballs_take_the_family_that_answers(site: Site) -> None:
    async def main() -> None:
        listener = site.listener()
        port = listener.getsockname()[1]

        async def both(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (site.peer6, port, 0, 0)),
                    (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (site.peer, port))]

        running().getaddrinfo = both            # type: ignore[method-assign]
        site.pair.client.run("ip", "-6", "route", "add", "blackhole", site.host6)
        try:
            _, writer = await asyncio.open_connection("a.name", port, happy_eyeballs_delay=0.05)
            assert writer.get_extra_info("peername") == (site.peer, port)
            writer.close()
            await until(lambda: all(row["state"] != "SYN-SENT" for row in open_connections()))
        finally:
            site.pair.client.run("ip", "-6", "route", "del", "blackhole", site.host6)
            listener.close()
    site.run(main())


def test_slow_clients_cost_little_and_hinder_nobody(site: Site) -> None:
    """500 clients send an octet now and then, and never a whole line."""
    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(await reader.readuntil(b"\n"))
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(line, site.host, PORT, backlog=600):
            before = resident()
            clients = [await site.connected(PORT) for _ in range(500)]
            for _ in range(3):
                for client in clients:
                    client.sendall(b"x")
                await asyncio.sleep(0)
            honest = await site.connected(PORT)
            honest.sendall(b"whole\n")
            assert await exactly(honest, 6) == b"whole\n"
            assert resident() - before < RSS_MAX
            for client in (*clients, honest):
                client.close()
            await until(lambda: not open_connections(), 60)
    site.run(main())


class Page(asyncio.Protocol):
    """Answers and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")
        self.transport.close()


@pytest.mark.timeout(300)
def test_50_000_connections_opened_and_dropped_in_turn(site: Site) -> None:
    async def main() -> None:
        async with await running().create_server(Page, site.host, PORT, backlog=1024):
            async def ab(count: int) -> str:
                done = await asyncio.to_thread(
                    site.pair.client.run, "ab", "-q", "-s", "120", "-n", str(count), "-c", "20",
                    f"http://{site.host}:{PORT}/", timeout_s=280)
                return done.stdout
            await ab(5000)
            before = resident()
            said = await ab(45_000)
            assert re.search(r"Complete requests: +45000\n", said), said
            assert re.search(r"Failed requests: +0\n", said), said
            await until(lambda: not open_connections(), 60)
            assert resident() - before < RSS_MAX
            gc.collect()
            # exactly: to isinstance() a transport says that it is asyncio's
            assert sum(type(it) is StackTransport for it in gc.get_objects()) < 100
    with inside(site.pair.server.name), asyncio.Runner(loop_factory=site.factory()) as runner:
        runner.run(main())


def tls_client(sock: socket.socket, context: ssl.SSLContext, host: str) -> Iterator[None]:
    """A handshake, a request, its answer and the end; after each thing sent or received it pauses."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inward, outward, server_hostname=host)
    for step in (tls.do_handshake, lambda: tls.write(b"x" * 100), lambda: tls.read(100), tls.unwrap):
        while True:
            try:
                step()
                wants = False
            except ssl.SSLWantReadError:
                wants = True
            if outward.pending:
                sock.sendall(outward.read())
                yield
            if not wants:
                break
            octets = sock.recv(65536)
            if not octets:
                return
            inward.write(octets)
            yield


def test_a_peer_that_resets_at_any_step_of_tls_leaves_nothing(site: Site, certificates: Path) -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, site.host, PORT, ssl=serving(certificates)):
            for steps in range(30):
                client = await site.connected(PORT)
                went = tls_client(client, asking(certificates), site.host)
                done = await asyncio.to_thread(lambda went=went, steps=steps: sum(
                    1 for _ in itertools.islice(went, steps)))
                client.setsockopt(*RESET)
                client.close()
                if done < steps:
                    break
            assert 5 < steps < 29
            await until(lambda: not open_connections())
    site.run(main())
