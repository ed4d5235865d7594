"""Servers on the stack: several in one place, one in several, one that begins later; accepted sockets."""

import asyncio
import collections
import contextlib
import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, asking, exactly, serving
from tests.aio.test_loop import Accepting, Recorder, echo, running, until

from underpass.aio.member import ProgramMember
from underpass.linux.namespaces import inside

PORT = 7300


def opened() -> int:
    """Connections that the stack has accepted."""
    return int(running().nic.stack().stats()["tcp"]["passive_opens"])


def named(name: bytes) -> type[asyncio.Protocol]:
    """A protocol that says a name."""
    class Named(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(name)
    return Named


async def asked(site: Site, times: int) -> collections.Counter[bytes]:
    """Which servers answered how often."""
    seen: collections.Counter[bytes] = collections.Counter()
    for _ in range(times):
        with await site.connected(PORT) as client:
            seen[await exactly(client, 1)] += 1
    return seen


def test_the_stack_listens_before_the_kernel_does(site: Site) -> None:
    """A client that comes in between must not be accepted by the kernel, whose connection would be reset."""
    class Listening(socket.socket):
        def listen(self, backlog: int = 128) -> None:
            served.append(running()._dispatcher.serves(*self.getsockname()))
            super().listen(backlog)

    served: list[bool] = []

    async def main() -> None:
        for begins_later in (False, True):
            with Listening() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((site.host, PORT))
                server = await running().create_server(named(b"1"), sock=sock, start_serving=not begins_later)
                assert len(served) == (not begins_later)
                async with server:
                    await server.start_serving()
                    assert served == [True]
                    assert await asked(site, 2) == {b"1": 2}
            served.clear()
    site.run(main())


def test_a_socket_that_is_bound_to_nothing_gets_a_port(site: Site) -> None:
    async def main() -> None:
        async with await running().create_server(named(b"1"), sock=socket.socket()) as server:
            client = await site.connected(server.sockets[0].getsockname()[1])
            assert await exactly(client, 1) == b"1"
            client.close()
            assert opened() == 1
    site.run(main())


def test_a_server_that_the_kernel_refuses_leaves_the_port(site: Site) -> None:
    class Refused(socket.socket):
        def listen(self, backlog: int = 128) -> None:
            raise OSError(errno.EADDRINUSE, "taken")

    async def main() -> None:
        with Refused() as sock:
            sock.bind((site.host, PORT))
            with pytest.raises(OSError, match="taken"):
                await running().create_server(named(b"1"), sock=sock)
            assert not running()._dispatcher.serves(site.host, PORT)
        async with await running().create_server(named(b"2"), site.host, PORT):
            assert await asked(site, 1) == {b"2": 1}
    site.run(main())


def test_clients_that_come_while_a_server_begins_are_refused_or_served(site: Site) -> None:
    """And not reset once they are connected."""
    async def served(port: int) -> bytes:
        while True:
            try:
                with await site.connected(port) as client:
                    return await exactly(client, 1)
            except ConnectionRefusedError:
                await asyncio.sleep(0)

    async def main() -> None:
        for port in range(PORT, PORT + 30):
            clients = [asyncio.create_task(served(port)) for _ in range(3)]
            await asyncio.sleep(0.005)
            async with await running().create_server(named(b"1"), site.host, port):
                assert await asyncio.gather(*clients) == [b"1"] * 3
    site.run(main())


def test_servers_that_reuse_a_port_share_its_connections(site: Site) -> None:
    """Each is served as long as it is there; who closes one does not close the other."""
    async def main() -> None:
        first, second = [await running().create_server(named(name), site.host, PORT, reuse_port=True)
                         for name in (b"1", b"2")]
        assert await asked(site, 6) == {b"1": 3, b"2": 3}
        first.close()
        assert await asked(site, 3) == {b"2": 3}
        third = await running().create_server(named(b"3"), site.host, PORT, reuse_port=True)
        assert await asked(site, 4) == {b"2": 2, b"3": 2}
        assert opened() == 13
        second.close()
        third.close()
        with pytest.raises(ConnectionRefusedError):
            await site.connected(PORT)
    site.run(main())


def test_a_port_that_is_not_reused_is_in_use(site: Site) -> None:
    async def main() -> None:
        async with await running().create_server(Recorder, site.host, PORT):
            with pytest.raises(OSError, match="in use"):
                await running().create_server(Recorder, site.host, PORT, reuse_port=True)
    site.run(main())


def test_a_server_has_several_addresses(site: Site) -> None:
    async def main() -> None:
        async with await asyncio.start_server(echo, [site.host, site.host6], PORT) as server:
            assert {sock.getsockname()[0] for sock in server.sockets} == {site.host, site.host6}
            for family in (socket.AF_INET, socket.AF_INET6):
                with await site.connected(PORT, family) as client:
                    client.sendall(b"x")
                    assert await exactly(client, 1) == b"x"
            assert opened() == 2
        for family in (socket.AF_INET, socket.AF_INET6):
            with pytest.raises(ConnectionRefusedError):
                await site.connected(PORT, family)
    site.run(main())


def test_a_server_that_is_to_begin_later_refuses_until_then(site: Site) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, site.host, PORT, start_serving=False)
        async with server:
            assert not server.is_serving()
            with pytest.raises(ConnectionRefusedError):
                await site.connected(PORT)
            await server.start_serving()
            with await site.connected(PORT) as client:
                client.sendall(b"x")
                assert await exactly(client, 1) == b"x"
            assert opened() == 1
    site.run(main())


def on_both_families() -> socket.socket:
    """A server's socket that IPv4 clients reach as well."""
    sock = socket.socket(socket.AF_INET6)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", PORT))
    return sock


def test_a_socket_of_both_families_tells_ipv4_addresses_as_ipv6_s(site: Site) -> None:
    """RFC 4291 2.5.5.2: as Linux, by transports, by sockets, and after the end."""
    async def main() -> None:
        accepting = Accepting()
        with site.client() as client, site.client(socket.AF_INET6) as other:
            async with await running().create_server(accepting, sock=on_both_families()):
                await asyncio.to_thread(client.connect, (site.host, PORT))
                await asyncio.to_thread(other.connect, (site.host6, PORT))
                first, second = [(await accepting.made.get()).transport for _ in range(2)]
                sock = first.get_extra_info("socket")
                for _ in range(2):
                    ours, theirs = first.get_extra_info("sockname"), first.get_extra_info("peername")
                    assert ours == (f"::ffff:{site.host}", PORT, 0, 0)
                    assert theirs == (f"::ffff:{site.peer}", client.getsockname()[1], 0, 0)
                    assert sock.family == socket.AF_INET6
                    first.abort()
                    await asyncio.sleep(0.01)
                assert second.get_extra_info("peername") == other.getsockname()
                second.abort()
            assert opened() == 2
    site.run(main())


def test_sock_accept_of_both_families_tells_ipv4_addresses_as_ipv6_s(site: Site) -> None:
    async def main() -> None:
        loop = running()
        with on_both_families() as listener:
            listener.listen()
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await asyncio.sleep(0)
            with await site.connected(PORT) as client:
                sock, address = await accepting
                assert address == (f"::ffff:{site.peer}", client.getsockname()[1], 0, 0) == sock.getpeername()
                assert sock.getsockname() == (f"::ffff:{site.host}", PORT, 0, 0)
                assert sock.family == socket.AF_INET6
                transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, sock)
                assert transport.get_extra_info("peername") == address
                assert transport.get_extra_info("socket").family == socket.AF_INET6
                transport.close()
            assert opened() == 1
    site.run(main())


@contextlib.asynccontextmanager
async def accepted(site: Site) -> Any:
    """A socket of sock_accept, and the peer's."""
    with inside(site.pair.server.name), socket.create_server((site.host, PORT)) as listener:
        listener.setblocking(False)
        accepting = asyncio.create_task(running().sock_accept(listener))
        await asyncio.sleep(0)
        client = await site.connected(PORT)
        sock, _ = await accepting
        with client:
            yield sock, client


def test_an_accepted_socket_is_connected_to_a_protocol(site: Site) -> None:
    async def main() -> None:
        made = Accepting()
        async with accepted(site) as (sock, client):
            transport, protocol = await running().connect_accepted_socket(made, sock)
            assert made.made.get_nowait() is protocol and transport.get_extra_info("socket").fileno() == -1
            assert transport.get_extra_info("peername") == client.getsockname()
            client.sendall(b"ask")
            await until(lambda: protocol.octets == b"ask")
            transport.write(b"answer")
            transport.close()
            assert await exactly(client, 7) == b"answer"
            assert await protocol.lost is None
            assert opened() == 1
    site.run(main())


def test_an_accepted_socket_speaks_tls(site: Site, certificates: Path) -> None:
    async def main() -> None:
        made = Accepting()
        async with accepted(site) as (sock, client):
            wrapping = asyncio.create_task(asyncio.to_thread(
                asking(certificates).wrap_socket, client, server_hostname=site.host))
            transport, protocol = await running().connect_accepted_socket(
                made, sock, ssl=serving(certificates))
            with await wrapping as wrapped:
                assert transport.get_extra_info("socket").fileno() == -1
                assert transport.get_extra_info("ssl_object").version() == wrapped.version()
                wrapped.sendall(b"ask")
                await until(lambda: protocol.octets == b"ask")
                transport.write(b"answer")
                assert await exactly(wrapped, 6) == b"answer"
                transport.close()
            assert opened() == 1
    site.run(main())


def test_an_accepted_socket_whose_handshake_fails_is_closed(site: Site, certificates: Path) -> None:  
    async def main() -> None:
        async with accepted(site) as (sock, client):
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(ssl.SSLError):
                await running().connect_accepted_socket(Accepting(), sock, ssl=serving(certificates))
            with contextlib.suppress(ConnectionResetError):
                while await exactly(client, 1):
                    pass
    site.run(main())


def test_a_worker_keeps_a_port_until_its_last_server_ends() -> None:
    """What it shows a new supervisor is the socket of a server that goes on."""
    said: list[str] = []
    member = ProgramMember.__new__(ProgramMember)
    vars(member).update(_claims={}, _lingering=[], _settle_at=0.0,
                        _request=lambda what, *_: said.append(what))
    with contextlib.ExitStack() as holding:
        first, second = [holding.enter_context(socket.socket()) for _ in range(2)]
        held, other = [member.claim(("10.0.0.2", PORT), it) for it in (first, second)]
        first.close()
        member.leave(("10.0.0.2", PORT), held)
        assert member.claims == [(("10.0.0.2", PORT), second.fileno())]
        assert said == ["claim", "claim"]
        member.leave(("10.0.0.2", PORT), other)
        assert member.claims == [] and said[2:] == ["leave"]
