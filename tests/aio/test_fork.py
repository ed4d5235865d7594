"""A process that is forked off while a loop has connections: it cannot use them, and the parent goes on."""

import asyncio
import select
import socket
import threading

import pytest
from tests.aio.conftest import Site, exactly
from tests.aio.test_loop import Accepting, running, until
from tests.forked import in_child

from underpass.linux.namespaces import inside

PORT = 7350


def test_it_cannot_run_the_loop(site: Site) -> None:
    with inside(site.pair.server.name):
        loop = site.factory()()
        try:
            said = in_child(lambda: loop.run_until_complete(asyncio.sleep(0)))
            assert "after a fork this event loop" in said
            loop.run_until_complete(asyncio.sleep(0.01))
        finally:
            loop.close()


@pytest.mark.parametrize("octets", [100, 300_000])
def test_it_cannot_write(site: Site, octets: int) -> None:
    """Nor let go of a server: connections and ports are the parent's still."""
    async def main() -> None:
        accepting = Accepting()
        async with await running().create_server(accepting, site.host, PORT) as server:
            client = await site.connected(PORT)
            transport = (await accepting.made.get()).transport
            assert "after a fork" in in_child(lambda: transport.write(b"c" * octets))
            assert in_child(transport.abort) == in_child(transport.close) == in_child(server.close) == "None"
            with inside(site.pair.server.name):             # by the kernel's listener
                here = await asyncio.to_thread(socket.create_connection, (site.host, PORT), 20)
            served = await accepting.made.get()
            await until(lambda: served.told == ["made"])
            here.close()
            transport.write(b"parent")
            assert await exactly(client, 6) == b"parent"
            other = await site.connected(PORT)
            (await accepting.made.get()).transport.write(b"served")
            assert await exactly(other, 6) == b"served"
            client.close()
            other.close()
    site.run(main())


def test_it_may_close_the_sockets_that_it_inherits(site: Site) -> None:
    async def main() -> None:
        with site.listener() as listener, socket.socket() as sock:
            accepted: list[socket.socket] = []
            accepting = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
            accepting.start()
            sock.setblocking(False)
            await running().sock_connect(sock, listener.getsockname())
            accepting.join()
            sock.fileno()               # a descriptor that is ready when the connection is
            assert "after a fork" in in_child(lambda: sock.send(b"child"))
            assert "after a fork" in in_child(lambda: sock.recv(1))
            assert select.select([sock], [], [], 0)[0] == []
            assert in_child(sock.close) == "None"
            await running().sock_sendall(sock, b"parent")
            assert await exactly(accepted[0], 6) == b"parent"
            accepted[0].close()
    site.run(main())


def test_it_cannot_listen(site: Site) -> None:
    """A server of the parent's on that port is served."""
    async def main() -> None:
        loop = running()
        async with await loop.create_server(Accepting(), site.host, PORT):
            with socket.socket() as sock:
                sock.bind((site.host, PORT + 1))
                assert "after a fork" in in_child(lambda: loop.serve_first(sock, 1, print))
            with await site.connected(PORT):
                pass
            with pytest.raises(ConnectionRefusedError):
                await site.connected(PORT + 1)
    site.run(main())
