"""Fast Open (RFC 7413) with the kernel at the other end, as client and as server."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import underpass
from underpass.linux.namespaces import Namespace, Pair, inside
from underpass.nic import NicStack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

SYSCTL = Path("/proc/sys/net/ipv4/tcp_fastopen")
CLIENT, SERVER = 1, 2
TCP, TCP_FASTOPEN_CONNECT = socket.IPPROTO_TCP, 30
REQUEST = b"a request that fits a segment"


def allow(where: Namespace, what: int) -> None:
    """What Linux does of it in a namespace."""
    with inside(where.name):
        try:
            SYSCTL.write_text(str(what))
        except OSError:
            pytest.skip("net.ipv4.tcp_fastopen cannot be set here")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as it:
        yield it


@pytest.fixture
def stack(pair: Pair) -> Iterator[NicStack]:
    with inside(pair.server.name), underpass.attach(pair.server.interface, source_ports=1024) as nic:
        yield nic.stack()


class Echo:
    """Sends back what came, in capitals."""

    def __init__(self, stack: NicStack) -> None:
        self.stack = stack
        self.states: list[str] = []

    def drive(self, true: Callable[[], object], timeout_s: float = 10) -> bool:
        end = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > end:
                return False
            for conn, _ in self.stack.poll(0.05):
                try:
                    data = conn.recv()
                    self.states.append(conn.state)
                    conn.send(data.upper()) if data else conn.close()
                except OSError:
                    pass
        return True


def ask(pair: Pair, echo: Echo, port: int) -> bytes:
    """One connection of the kernel's client, which sends its request with MSG_FASTOPEN."""
    with inside(pair.client.name):
        client = socket.socket()
    client.setblocking(False)
    sent = 0
    got = b""

    def answered() -> bool:
        nonlocal sent, got
        try:
            if not sent:
                sent = client.sendto(REQUEST, socket.MSG_FASTOPEN, (pair.server.address, port))
            got += client.recv(100)
        except BlockingIOError:
            if not sent and connected(client):
                sent = client.send(REQUEST)
        return len(got) == len(REQUEST)

    with client:
        assert echo.drive(answered)
    return got


def connected(client: socket.socket) -> bool:
    return client.getsockopt(TCP, socket.TCP_INFO, 1)[0] == 1


def test_linux_as_client_is_served_before_its_handshake_ends(pair: Pair, stack: NicStack) -> None:
    """RFC 7413 4: a cookie with the first connection, data with the SYN of the next"""
    allow(pair.client, CLIENT)
    stack.listen(("", 7)).setsockopt(TCP, socket.TCP_FASTOPEN, 16)
    echo = Echo(stack)
    for number in range(3):
        assert ask(pair, echo, 7) == REQUEST.upper()
        counted = stack.stats()["tcp"]
        assert counted["fast_open_requests"] == 1
        assert counted["fast_open_accepted"] == number
    assert counted["fast_open_refused"] == counted["fast_open_limit"] == 0


def test_linux_as_server_takes_our_data_with_the_syn(pair: Pair, stack: NicStack) -> None:
    """RFC 7413 4"""
    allow(pair.client, SERVER)
    with inside(pair.client.name):
        listener = socket.create_server((pair.client.address, 7))
    listener.setsockopt(TCP, socket.TCP_FASTOPEN, 16)
    listener.settimeout(10)
    for number in range(3):
        conn = stack.connect((pair.client.address, 7), options=[(TCP, TCP_FASTOPEN_CONNECT, 1)])
        if number == 0:
            while conn.state != "ESTABLISHED":
                stack.poll(0.05)
        assert conn.send(REQUEST) == len(REQUEST)
        stack.poll(0.2)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(100) == REQUEST
            accepted.send(b"answer")
        got = b""
        end = time.monotonic() + 10
        while not got and time.monotonic() < end:
            stack.poll(0.05)
            try:
                got = conn.recv()
            except BlockingIOError:
                continue
        assert got == b"answer"
        conn.close()
        assert stack.stats()["tcp"]["fast_open_acked"] == number
    listener.close()
    assert stack.stats()["tcp"]["fast_open_fallbacks"] == 0
