"""sock_accept and the kernel's listeners beside the stack, with the kernel's sockets as peers."""

import asyncio
import socket

import pytest
from tests.aio.conftest import Site, exactly
from tests.aio.test_loop import echo, running, until
from tests.netns.opens import opened_by_kernel

from underpass.linux.namespaces import inside, join

PORT = 7100


def listening(site: Site, host: str = "") -> socket.socket:
    with inside(site.pair.server.name):
        sock = socket.create_server((host or site.host, PORT))
    sock.setblocking(False)
    return sock


async def begun(loop: asyncio.AbstractEventLoop,
                listener: socket.socket) -> "asyncio.Task[tuple[socket.socket, tuple[str, int]]]":
    """A sock_accept() that waits."""
    accepting = asyncio.create_task(loop.sock_accept(listener))
    await asyncio.sleep(0)
    return accepting


def test_sock_accept_accepts_what_comes_by_the_interface(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), listening(site) as listener:
            accepting = await begun(loop, listener)
            client = await site.connected(PORT)
            sock, address = await accepting
            assert address == client.getsockname() == sock.getpeername()
            assert sock.getsockname() == client.getpeername()
            client.sendall(b"to us")
            assert await loop.sock_recv(sock, 100) == b"to us"
            await loop.sock_sendall(sock, b"to them")
            assert await exactly(client, 7) == b"to them"
            sock.close()
            assert await exactly(client, 1) == b""
            client.close()
            assert loop.nic.stack().stats()["tcp"]["passive_opens"] == 1
    site.run(main())


def test_sock_accept_accepts_from_the_kernel_as_well(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), listening(site, "0.0.0.0") as listener:
            for _ in range(2):
                accepting = await begun(loop, listener)
                with socket.create_connection(("127.0.0.1", PORT), 10) as client:
                    sock, address = await accepting
                    assert address == client.getsockname()
                    await loop.sock_sendall(sock, b"x")
                    assert client.recv(1) == b"x"
                    sock.close()
            assert loop.nic.stack().stats()["tcp"]["passive_opens"] == 0
    site.run(main())


@pytest.mark.parametrize("host", ["0.0.0.0", "10.9.0.2"])
def test_another_interface_is_served_by_the_kernel_s_listener(site: Site, host: str) -> None:
    """A listener on every address, or on that interface's; the stack is in the way of neither."""
    pair = site.pair
    join(pair.client, "second", pair.server, "second")
    for side, address in ((pair.client, "10.9.0.1/24"), (pair.server, "10.9.0.2/24")):
        side.run("ip", "addr", "add", address, "dev", "second")
        side.run("ip", "link", "set", "second", "up")

    async def main() -> None:
        stack = running().nic.stack()
        async with await asyncio.start_server(echo, host, PORT):
            with site.client() as client:
                await asyncio.to_thread(client.connect, ("10.9.0.2", PORT))
                client.sendall(b"beside")
                assert await exactly(client, 6) == b"beside"
            assert stack.stats()["tcp"]["passive_opens"] == 0
            if host == "0.0.0.0":
                with await site.connected(PORT) as client:
                    client.sendall(b"x")
                    assert await exactly(client, 1) == b"x"
                assert stack.stats()["tcp"]["passive_opens"] == 1

    try:
        before = opened_by_kernel(pair.server.name)
        site.run(main())
        assert opened_by_kernel(pair.server.name) == before + 1
    finally:
        pair.client.run("ip", "link", "del", "second")


def test_what_nobody_asked_for_is_reset_when_the_listener_closes(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), listening(site) as listener:
            accepting = await begun(loop, listener)
            first, second = await site.connected(PORT), await site.connected(PORT)
            sock, _ = await accepting
            await until(lambda: loop.nic.stack().stats()["tcp"]["passive_opens"] == 2)
            listener.close()
            with pytest.raises(ConnectionResetError):
                await exactly(second, 1)
            await loop.sock_sendall(sock, b"goes on")
            assert await exactly(first, 7) == b"goes on"
            sock.close()
            refused = site.client()
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(refused.connect, (site.host, PORT))
    site.run(main())


def test_an_accepted_socket_becomes_a_transport(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), listening(site) as listener:
            accepting = await begun(loop, listener)
            client = await site.connected(PORT)
            sock, _ = await accepting
            reader, writer = await asyncio.open_connection(sock=sock)
            assert writer.get_extra_info("socket").fileno() == -1
            client.sendall(b"a line\n")
            assert await reader.readline() == b"a line\n"
            writer.write(b"answer")
            writer.close()
            assert await exactly(client, 7) == b"answer"
    site.run(main())


def test_a_cancelled_sock_accept_loses_no_connection(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), listening(site) as listener:
            accepting = await begun(loop, listener)
            accepting.cancel()
            await asyncio.wait([accepting])
            client = await site.connected(PORT)
            sock, address = await loop.sock_accept(listener)
            assert address == client.getsockname()
            sock.close()
    site.run(main())


def test_sock_calls_refuse_a_blocking_socket_in_debug_mode(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with inside(site.pair.server.name), listening(site) as listener:
            listener.setblocking(True)
            with pytest.raises(ValueError, match="non-blocking"):
                await loop.sock_accept(listener)
            with socket.socket() as sock, pytest.raises(ValueError, match="non-blocking"):
                await loop.sock_connect(sock, (site.peer, 9))
    site.run(main(), debug=True)
