"""Sockets of sock_connect() and sock_accept(): what the program calls on them itself."""

import asyncio
import contextlib
import errno
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.aio.conftest import Site, exactly
from tests.aio.test_loop import running, until

from underpass.linux.namespaces import inside

PORT = 7600


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """One that sock_connect() has connected to a socket of the peer's kernel, and that."""
    with site.listener() as listener, inside(site.pair.server.name), socket.socket() as ours:
        ours.setblocking(False)
        await running().sock_connect(ours, listener.getsockname())
        theirs, _ = await asyncio.to_thread(listener.accept)
        with theirs:
            yield ours, theirs


async def readable(sock: socket.socket) -> None:
    """As anyio's wait_readable() does it."""
    loop, happened = running(), asyncio.Event()
    loop.add_reader(sock.fileno(), happened.set)
    try:
        await asyncio.wait_for(happened.wait(), 10)
    finally:
        assert loop.remove_reader(sock.fileno())


def test_octets_by_the_calls_of_a_socket(site: Site) -> None:
    async def main() -> None:
        async with connected(site) as (ours, theirs):
            ours.sendall(b"all, ")
            assert ours.send(b"some, ", socket.MSG_NOSIGNAL) == 6
            assert ours.sendmsg([b"in ", bytearray(b"parts, ")]) == 10
            assert ours.sendto(b"and to", (site.peer, 1)) == 6
            assert await exactly(theirs, 27) == b"all, some, in parts, and to"
            theirs.sendall(b"1234567890abcdefghij")
            await readable(ours)
            while len(ours.recv(20, socket.MSG_PEEK)) < 20:
                await asyncio.sleep(0.001)
            buffer, other = bytearray(3), bytearray(4)
            assert ours.recv_into(buffer) == 3 and buffer == b"123"
            assert ours.recv_into(buffer, 2, socket.MSG_PEEK) == 2 and buffer == b"453"
            assert ours.recv_into(buffer, 1) == 1 and buffer == b"453"
            assert ours.recvfrom(1) == (b"5", None)
            assert ours.recvfrom_into(buffer, 2) == (2, None) and buffer == b"673"
            assert ours.recvmsg(2) == (b"89", [], 0, None)
            assert ours.recvmsg_into([buffer, other]) == (7, [], 0, None) and buffer + other == b"0abcdef"
            assert ours.recv(10) == b"ghij"
            theirs.close()
            await readable(ours)
            assert ours.recv_into(buffer) == 0
    site.run(main())


def test_what_a_connection_of_the_stack_has_not_is_said(site: Site) -> None:
    async def main() -> None:
        async with connected(site) as (ours, _):
            for call in (lambda: ours.recv(1), lambda: ours.recv_into(bytearray(1)), lambda: ours.recvmsg(1)):
                with pytest.raises(BlockingIOError):
                    call()
            with pytest.raises(BlockingIOError):
                ours.sendall(bytes(100_000_000))
            for refused, why in ((lambda: ours.recv(1, socket.MSG_OOB), r"flags 0x1: .*MSG_PEEK"),
                                 (lambda: ours.send(b"x", socket.MSG_OOB), r"flags 0x1: .*MSG_MORE"),
                                 (lambda: ours.sendmsg([b"x"], [(1, 1, b"")]), "no ancillary data"),
                                 (ours.detach, "no descriptor"), (ours.dup, "no descriptor")):
                with pytest.raises(OSError, match=why):
                    refused()
            with pytest.raises(ValueError, match="a buffer of 1"):
                ours.recv_into(bytearray(1), 2)
            assert ours.connect_ex((site.peer, 9)) == errno.EISCONN
            with pytest.raises(OSError, match="already connected"):
                ours.connect((site.peer, 9))
    site.run(main())


def test_a_reader_is_called_when_there_is_something_to_read(site: Site) -> None:
    """And not before, and not after."""
    async def main() -> None:
        loop = running()
        async with connected(site) as (ours, theirs):
            called: list[bytes] = []
            loop.add_reader(ours, lambda: called.append(ours.recv(100)))
            await asyncio.sleep(0.05)
            assert called == []
            for octets in (b"first", b"second"):
                theirs.sendall(octets)
                await until(lambda: called)
                await asyncio.sleep(0.02)
                assert called == [octets]
                called.clear()
            assert loop.remove_reader(ours)
    site.run(main())


def test_octets_that_sock_recv_takes_are_not_told_of_again(site: Site) -> None:
    async def main() -> None:
        loop = running()
        async with connected(site) as (ours, theirs):
            theirs.sendall(b"x")
            await readable(ours)
            assert await loop.sock_recv(ours, 1) == b"x"
            assert select.select([ours], [ours], [], 0)[:2] == ([], [ours])
            theirs.sendall(b"y")
            await readable(ours)
            assert await loop.sock_recv_into(ours, bytearray(1)) == 1
            assert select.select([ours], [], [], 0)[0] == []
    site.run(main())


def test_a_writer_is_called_when_there_is_room(site: Site) -> None:
    async def main() -> None:
        loop = running()
        async with connected(site) as (ours, theirs):
            rest, calls = memoryview(bytes(20_000_000)), 0

            def write() -> None:
                nonlocal rest, calls
                calls += 1
                with contextlib.suppress(BlockingIOError):
                    rest = rest[ours.send(rest):]
                if not rest:
                    loop.remove_writer(ours)

            loop.add_writer(ours, write)
            before = -1
            while calls > before:               # the peer does not read: in the end the queue is full
                before = calls
                await asyncio.sleep(0.2)
            assert rest
            assert len(await exactly(theirs, 20_000_000)) == 20_000_000
            assert not rest
    site.run(main())


@pytest.mark.parametrize("way", [lambda ours: ours, lambda ours: ours.fileno()], ids=["socket", "number"])
def test_anyio_waits_for_them(site: Site, way: Callable[[socket.socket], socket.socket | int]) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async with connected(site) as (ours, theirs):
            await anyio.wait_writable(way(ours))
            with pytest.raises(TimeoutError), anyio.fail_after(0.05):
                await anyio.wait_readable(way(ours))
            for octets in (b"1", b"2"):
                theirs.sendall(octets)
                with anyio.fail_after(10):
                    await anyio.wait_readable(way(ours))
                assert ours.recv(10) == octets
    site.run(main())


def test_a_reader_ends_with_the_socket_or_its_transport(site: Site) -> None:
    async def main() -> None:
        loop = running()
        async with connected(site) as (ours, theirs):
            number = ours.fileno()
            assert number == ours.fileno() != socket.socket.fileno(ours)
            reader, writer = await asyncio.open_connection(sock=ours)
            with pytest.raises(OSError, match="Bad file descriptor"):
                loop.add_reader(number, print)
            theirs.sendall(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.close()
        async with connected(site) as (ours, theirs):
            ours.fileno()
            ours.close()
            assert ours.fileno() == -1
            assert await exactly(theirs, 1) == b""
    site.run(main())


class Own(socket.socket):
    """Of a program's own class, which it remains."""


@pytest.mark.parametrize("kind", [socket.socket, Own])
def test_a_descriptor_that_is_always_ready_is_refused(site: Site, kind: type[socket.socket]) -> None:
    """The kernel's, by the number that it had before, or by a socket that goes on giving that."""
    async def main() -> None:
        loop = running()
        with site.listener() as listener, inside(site.pair.server.name), kind() as ours:
            ours.setblocking(False)
            before = ours.fileno()
            await loop.sock_connect(ours, listener.getsockname())
            for add in (loop.add_reader, loop.add_writer):
                for watched in (before, ours) if kind is Own else (before,):
                    with pytest.raises(RuntimeError, match=rf"descriptor {before} is a kernel socket's"):
                        add(watched, print)
            ours.close()
        near, far = socket.socketpair()
        with near, far:                         # the number may be another's now
            loop.add_reader(near, print)
            assert loop.remove_reader(near)
    site.run(main())


def test_accepted_ones_are_the_same(site: Site) -> None:
    async def main() -> None:
        with inside(site.pair.server.name), socket.create_server((site.host, PORT)) as listener:
            listener.setblocking(False)
            accepting = asyncio.create_task(running().sock_accept(listener))
            await asyncio.sleep(0)
            with await site.connected(PORT) as client:
                ours, _ = await accepting
                client.sendall(b"to us")
                await readable(ours)
                assert ours.recv(10) == b"to us"
                ours.sendall(b"to them")
                assert await exactly(client, 7) == b"to them"
                ours.close()
    site.run(main())


def test_one_that_outlives_its_loop_can_be_closed(site: Site) -> None:
    kept: list[socket.socket] = []

    async def main() -> None:
        with site.listener() as listener, inside(site.pair.server.name):
            kept.append(socket.socket())
            kept[0].setblocking(False)
            await running().sock_connect(kept[0], listener.getsockname())
            assert select.select(kept, kept, [], 0)[:2] == ([], kept)
    site.run(main())
    kept[0].close()
    assert kept[0].fileno() == -1
