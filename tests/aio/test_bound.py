"""Sockets that a program has bound to a device or an address: the stack's where that is the interface's."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
from tests.aio.conftest import Site, exactly
from tests.aio.test_loop import echo, running

from underpass.linux.namespaces import inside
from underpass.socket import Network

PORT = 7350
ELSEWHERE = "10.99.0.1"             # an address of this host, on its loopback, to which the peer has a route


def bound_to_device(device: str, family: int = socket.AF_INET) -> socket.socket:
    """A server's socket, on every address."""
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    sock.bind(("", PORT))
    sock.setblocking(False)
    return sock


def opened(how: str = "active_opens") -> int:
    """Connections that the stack has had."""
    return int(running().nic.stack().stats()["tcp"][how])


@pytest.fixture
def elsewhere(site: Site) -> Iterator[str]:
    site.pair.server.run("ip", "addr", "add", f"{ELSEWHERE}/32", "dev", "lo")
    site.pair.client.run("ip", "route", "add", f"{ELSEWHERE}/32", "via", site.host)
    yield ELSEWHERE
    site.pair.client.run("ip", "route", "del", f"{ELSEWHERE}/32")
    site.pair.server.run("ip", "addr", "del", f"{ELSEWHERE}/32", "dev", "lo")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_server_bound_to_another_device_is_not_served_on_the_interface(site: Site, family: int) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, sock=bound_to_device("lo", family))
        with pytest.raises(ConnectionRefusedError):
            await site.connected(PORT, family)
        reader, writer = await asyncio.open_connection("localhost", PORT)
        writer.write(b"beside")
        assert await reader.readexactly(6) == b"beside"
        writer.close()
        server.close()
        assert opened("passive_opens") == 0
    site.run(main())


def test_a_server_bound_to_the_interface_is_served_there(site: Site) -> None:
    """Beside one that is bound to another device, each has its own."""
    async def main() -> None:
        async with await asyncio.start_server(echo, sock=bound_to_device("lo")), \
                await asyncio.start_server(echo, sock=bound_to_device(site.pair.server.interface)):
            with await site.connected(PORT) as client:
                client.sendall(b"x")
                assert await exactly(client, 1) == b"x"
            assert opened("passive_opens") == 1
    site.run(main())


def test_sock_accept_takes_what_comes_by_the_device_alone(site: Site) -> None:
    async def main() -> None:
        with bound_to_device("lo") as listener:
            listener.listen()
            accepting = asyncio.create_task(running().sock_accept(listener))
            await asyncio.sleep(0.01)
            with pytest.raises(ConnectionRefusedError):
                await site.connected(PORT)
            with socket.create_connection(("127.0.0.1", PORT), 10) as client:
                sock, address = await accepting
                assert address == client.getsockname()
                sock.close()
    site.run(main())


def test_a_blocking_server_bound_to_another_device_is_not_served_on_the_interface(
        site: Site, net: Network) -> None:
    with net.socket() as server, site.client() as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        server.bind(("", PORT))
        server.listen()
        with pytest.raises(ConnectionRefusedError):
            client.connect((site.host, PORT))


def test_a_client_bound_to_another_address_stays_with_the_kernel(site: Site, elsewhere: str) -> None:
    async def main() -> None:
        with site.listener() as listener:
            _, writer = await asyncio.open_connection(*listener.getsockname(), local_addr=(elsewhere, 0))
            accepted, address = await asyncio.to_thread(listener.accept)
            assert address == writer.get_extra_info("sockname") and address[0] == elsewhere
            writer.write(b"from there")
            assert await exactly(accepted, 10) == b"from there"
            accepted.close()
            writer.close()
            assert opened() == 0
    site.run(main())


def test_a_loopback_address_reaches_this_host_s_own_server_by_the_kernel(site: Site) -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, "0.0.0.0", PORT):
            reader, writer = await asyncio.open_connection(site.host, PORT, local_addr=("127.0.0.1", 0))
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.close()
            assert opened() == opened("passive_opens") == 0
    site.run(main())


def marked(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)


def on_loopback(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")


@pytest.mark.parametrize("bind", [marked, on_loopback])
def test_a_client_with_a_mark_or_on_another_device_is_the_kernel_s(
        site: Site, bind: Callable[[socket.socket], None]) -> None:
    """Linux has no way by the loopback to the peer, and says so; a mark changes nothing without a rule."""
    async def main() -> None:
        with site.listener() as listener, inside(site.pair.server.name), socket.socket() as sock:
            sock.setblocking(False)
            bind(sock)
            try:
                await asyncio.wait_for(running().sock_connect(sock, listener.getsockname()),
                                       1 if bind is on_loopback else 20)
            except (OSError, TimeoutError):
                assert bind is on_loopback
            assert opened() == 0
    site.run(main())


def test_a_client_bound_to_the_interface_goes_by_the_stack(site: Site) -> None:
    async def main() -> None:
        with site.listener() as listener, inside(site.pair.server.name), socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, site.pair.server.interface.encode())
            await running().sock_connect(sock, listener.getsockname())
            assert opened() == 1
    site.run(main())


@pytest.mark.parametrize("timeout", [20, 0])
def test_a_blocking_socket_s_source_address_is_kept(
        site: Site, net: Network, elsewhere: str, timeout: float) -> None:
    with site.listener() as listener, net.socket() as ours:
        ours.settimeout(timeout)
        ours.bind((elsewhere, 0))
        ours.connect_ex(listener.getsockname())
        accepted, address = listener.accept()
        accepted.close()
        assert address[0] == elsewhere
        assert net.call(opened) == 0
    with site.listener() as listener, \
            net.create_connection(listener.getsockname(), 20, (elsewhere, 0)) as ours:
        assert ours.getsockname()[0] == elsewhere
