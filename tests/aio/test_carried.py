"""Options set on a kernel socket hold for the stack's connections in its place."""

import asyncio
import socket
import struct
import sys
from typing import Any

import pytest
from tests.aio.conftest import Site, exactly
from tests.aio.test_loop import PORT, Accepting, running

from underpass.aio import carried
from underpass.aio.carried import CARRIED, LISTENING, options_of
from underpass.linux.namespaces import inside

IPPROTO_MPTCP = 262             # not in Python's socket module
SOCKET, TCP, IP, IPV6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
BOTH = [
    (SOCKET, socket.SO_KEEPALIVE, 1), (SOCKET, socket.SO_SNDBUF, 65536), (SOCKET, socket.SO_RCVBUF, 50000),
    (SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7)),
    (SOCKET, carried.SO_MAX_PACING_RATE, struct.pack("Q", 50_000_000)),
    (TCP, socket.TCP_NODELAY, 1), (TCP, socket.TCP_CORK, 1), (TCP, socket.TCP_KEEPIDLE, 77),
    (TCP, socket.TCP_KEEPINTVL, 33), (TCP, socket.TCP_KEEPCNT, 4), (TCP, socket.TCP_USER_TIMEOUT, 5000),
    (TCP, socket.TCP_SYNCNT, 3), (TCP, socket.TCP_MAXSEG, 900), (TCP, socket.TCP_LINGER2, 17),
    (TCP, socket.TCP_WINDOW_CLAMP, 30000), (TCP, socket.TCP_NOTSENT_LOWAT, 20000),
    (TCP, socket.TCP_CONGESTION, b"reno".ljust(16, b"\0")),
]
OF_IP = [(IP, socket.IP_TOS, 0x28), (IP, socket.IP_TTL, 33),
         (IP, carried.IP_RECVERR, 1), (IP, carried.IP_MTU_DISCOVER, 2)]
OF_IPV6 = [(IPV6, socket.IPV6_TCLASS, 0x28), (IPV6, socket.IPV6_UNICAST_HOPS, 33),
           (IPV6, carried.IPV6_RECVERR, 1), (IPV6, carried.IPV6_MTU_DISCOVER, 2)]
FAMILIES = {socket.AF_INET: BOTH + OF_IP, socket.AF_INET6: BOTH + OF_IPV6}
OCTETS = {(level, option): octets for level, option, octets in CARRIED + LISTENING}
TIMESTAMPS = 12                 # octets of each segment, which an open connection's TCP_MAXSEG leaves out


def asked(sock: Any, level: int, option: int) -> Any:
    """As an int, or the octets of a structure or name."""
    octets = OCTETS[level, option]
    return sock.getsockopt(level, option, octets) if octets else sock.getsockopt(level, option)


def test_every_option_is_in_one_of_the_tests() -> None:
    tested = {row[:2] for rows in FAMILIES.values() for row in rows}
    assert {row[:2] for row in CARRIED} == tested


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_not_set_is_not_carried(family: int) -> None:
    with socket.socket(family) as sock:
        assert list(options_of(sock)) == []
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        sock.listen()
        assert list(options_of(sock, listening=True)) == []


def expected(kernel: socket.socket, level: int, option: int) -> Any:
    """What the kernel's socket says of itself that an open connection is to say."""
    value = asked(kernel, level, option)
    return value - TIMESTAMPS if (level, option) == (TCP, socket.TCP_MAXSEG) else value


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_begins_with_what_was_set_before_it(site: Site, family: int) -> None:
    async def connected(level: int, option: int, value: Any) -> tuple[Any, Any]:
        with inside(site.pair.server.name), socket.socket(family) as sock:
            sock.setblocking(False)
            sock.setsockopt(level, option, value)
            wanted = expected(sock, level, option)
            await running().sock_connect(sock, listener.getsockname())
            return asked(sock, level, option), wanted

    async def main() -> None:
        told = {row: await connected(*row) for row in FAMILIES[family]}
        assert {row: both for row, both in told.items() if both[0] != both[1]} == {}
        assert running().nic.stack().stats()["tcp"]["active_opens"] == len(told)

    with site.listener(family) as listener:
        site.run(main())


@pytest.mark.parametrize("family", FAMILIES)
def test_accepted_connections_have_the_listening_socket_s(site: Site, family: int) -> None:
    host = site.host6 if family == socket.AF_INET6 else site.host

    async def accepted(level: int, option: int, value: Any) -> tuple[Any, Any]:
        accepting = Accepting()
        with inside(site.pair.server.name), socket.create_server((host, PORT), family=family) as sock:
            sock.setsockopt(level, option, value)
            wanted = expected(sock, level, option)
            async with await running().create_server(accepting, sock=sock):
                with await site.connected(PORT, family):
                    ours = (await accepting.made.get()).transport.get_extra_info("socket")
                    return asked(ours, level, option), wanted

    async def main() -> None:
        told = {row: await accepted(*row) for row in FAMILIES[family]}
        assert {row: both for row, both in told.items() if both[0] != both[1]} == {}
        assert running().nic.stack().stats()["tcp"]["passive_opens"] == len(told)
    site.run(main())


def test_the_ipv4_half_of_a_listener_on_every_address_has_them(site: Site) -> None:
    async def main() -> None:
        accepting = Accepting()
        with inside(site.pair.server.name), socket.create_server(
                ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x28)
            async with await running().create_server(accepting, sock=sock):
                client = await site.connected(PORT)
                ours = (await accepting.made.get()).transport.get_extra_info("socket")
                assert ours.getpeername()[0] == f"::ffff:{site.peer}"
                assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                client.close()
    site.run(main())


def test_an_ipv4_connection_of_a_socket_of_both_families_takes_options_of_both(site: Site) -> None:
    async def main() -> None:
        accepting = Accepting()
        with inside(site.pair.server.name), socket.create_server(
                ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
            async with await running().create_server(accepting, sock=sock):
                client = await site.connected(PORT)
                ours = (await accepting.made.get()).transport.get_extra_info("socket")
                assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == ours.family == socket.AF_INET6
                ours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x20)
                assert ours.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x20
                ours.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x28)
                assert ours.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x28
                client.close()
    site.run(main())


def test_sock_accept_gives_connections_that_have_them(site: Site) -> None:
    async def main() -> None:
        with inside(site.pair.server.name), socket.create_server((site.host, PORT)) as listener:
            listener.setblocking(False)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 7000)
            accepting = asyncio.create_task(running().sock_accept(listener))
            await asyncio.sleep(0)
            client = await site.connected(PORT)
            sock, _ = await accepting
            with sock:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            client.close()
    site.run(main())


def test_a_backlog_s_deferred_connections_come_with_their_first_octets(site: Site) -> None:
    """TCP_DEFER_ACCEPT, which only a listening socket has."""
    async def main() -> None:
        accepting = Accepting()
        with inside(site.pair.server.name), socket.create_server((site.host, PORT)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 3)
            async with await running().create_server(accepting, sock=sock):
                client = await site.connected(PORT)
                other = await site.connected(PORT)
                other.sendall(b"x")
                protocol = await accepting.made.get()
                assert protocol.transport.get_extra_info("peername") == other.getsockname()
                assert accepting.made.empty()
                client.close()
                other.close()
    site.run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="keep_alive came with Python 3.13")
def test_keep_alive_of_create_server_holds(site: Site) -> None:
    async def main() -> None:
        accepting = Accepting()
        server = await running().create_server(accepting, site.host, PORT,
                                               **{"keep_alive": True})      # type: ignore[arg-type]
        async with server:
            client = await site.connected(PORT)
            ours = (await accepting.made.get()).transport.get_extra_info("socket")
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            client.close()
    site.run(main())


def test_what_the_stack_has_not_keeps_nobody_from_connecting(site: Site) -> None:
    async def main() -> None:
        listener = site.listener()
        with inside(site.pair.server.name), socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, carried.IP_MTU_DISCOVER, 0)         # IP_PMTUDISC_DONT
            await running().sock_connect(sock, listener.getsockname())
            assert sock.getsockopt(socket.IPPROTO_IP, carried.IP_MTU_DISCOVER) == 1
        listener.close()
    site.run(main())


def test_a_listening_socket_of_mptcp_has_fewer_options(site: Site) -> None:
    """Connections are of TCP then, as RFC 8684 3.7 has it where a peer cannot do more."""
    async def main() -> None:
        accepting = Accepting()
        with inside(site.pair.server.name), socket.socket(proto=IPPROTO_MPTCP) as sock:
            with pytest.raises(OSError, match="not supported"):
                sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.bind((site.host, PORT))
            async with await running().create_server(accepting, sock=sock):
                client = await site.connected(PORT)
                ours = (await accepting.made.get()).transport.get_extra_info("socket")
                assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                client.close()
    site.run(main())


@pytest.mark.parametrize("backlog", [0, 100_000])
def test_so_linger_of_0_seconds_makes_close_a_reset(site: Site, backlog: int) -> None:
    """As the kernel's close() does, what the transport still has is sent before."""
    async def main() -> None:
        accepting = Accepting()
        async with await running().create_server(accepting, site.host, PORT):
            client = await site.connected(PORT)
            protocol = await accepting.made.get()
            ours = protocol.transport.get_extra_info("socket")
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)
            protocol.transport.write(bytes(backlog))
            protocol.transport.close()
            with pytest.raises(ConnectionResetError):
                await exactly(client, backlog + 1)
            assert await protocol.lost is None
            client.close()
    site.run(main())


@pytest.mark.parametrize("accepted", [True, False])
def test_transports_do_without_nagle(site: Site, accepted: bool) -> None:
    """As asyncio's own: RFC 9293 3.7.4."""
    async def main() -> None:
        accepting = Accepting()
        async with await running().create_server(accepting, site.host, PORT):
            listener = site.listener()
            client = await site.connected(PORT)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            transport = (await accepting.made.get()).transport if accepted else writer.transport
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            writer.close()
            client.close()
            listener.close()
    site.run(main())
