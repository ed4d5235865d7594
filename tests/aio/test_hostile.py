"""What programs and peers may do to the loop: cancel anywhere, reset anywhere, dribble, come and go."""

import asyncio
import contextlib
import gc
import itertools
import re
import socket
import ssl
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, exactly
from tests.aio.test_loop import PORT, echo, running, until
from tests.aio.test_tls import asking, certificates, serving
from tests.netns.inside import inside

from underpass.aio.transport import StackTransport

__all__ = ["certificates"]
RESET = (socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
RSS_MAX = 40 << 20


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
    """Cancel a coroutine at the await at which it waits for the `number`th time."""
    cut = False
    for count in itertools.count():
        try:
            waiting = coroutine.throw(asyncio.CancelledError()) if cut else coroutine.send(None)
        except StopIteration:
            raise Cut from None
        cut = count == number
        if not cut:
            yield waiting
        elif waiting is not None:
            waiting._asyncio_future_blocking = False
            waiting.cancel()


async def by_streams(site: Site) -> None:
    """An exchange with ourselves."""
    reader, writer = await asyncio.open_connection(site.host, PORT)
    try:
        writer.write(b"x" * 3000)
        await writer.drain()
        assert await reader.readexactly(3000) == b"x" * 3000
    finally:
        writer.close()
    await writer.wait_closed()


async def by_sock_calls(site: Site) -> None:
    """The same with sockets of one's own."""
    with inside(site.pair.server.name), socket.socket() as sock:
        sock.setblocking(False)
        await running().sock_connect(sock, (site.host, PORT))
        await running().sock_sendall(sock, b"x" * 3000)
        assert await running().sock_recv(sock, 10) == b"x" * 10


async def accepting(site: Site) -> None:
    """A server that is made, asked and closed."""
    async with await asyncio.start_server(echo, site.host, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()


@pytest.mark.parametrize("exchange", [by_streams, by_sock_calls, accepting])
def test_tasks_cancelled_at_every_await_leave_nothing(
        site: Site, exchange: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, site.host, PORT):
            for number in range(200):
                task: Awaitable[None] = asyncio.ensure_future(cut_at(number, exchange(site)))
                try:
                    await task
                except asyncio.CancelledError:
                    continue
                except Cut:
                    break
            assert 1 <= number < 199
            gc.collect()
            await until(lambda: not open_connections())
            await exchange(site)
    site.run(main())


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
