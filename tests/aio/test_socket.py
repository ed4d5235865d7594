"""Blocking sockets on the stack, with the kernel's sockets and ordinary programs as peers."""

import contextlib
import errno
import gc
import http.client
import http.server
import io
import os
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.aio.conftest import Site
from tests.netns.inside import inside

import underpass.socket
from underpass.socket import Network

PORT = 7200


@pytest.fixture
def net(site: Site) -> Iterator[Network]:
    with inside(site.pair.server.name), \
            underpass.socket.attach(site.pair.server.interface, source_ports=1024) as network:
        yield network


@contextlib.contextmanager
def connected(site: Site, net: Network) -> Iterator[tuple[Any, socket.socket]]:
    """A socket of ours that has connected to one of the peer's kernel."""
    listener = site.listener()
    with net.create_connection(listener.getsockname(), 20) as ours:
        theirs, address = listener.accept()
        theirs.settimeout(20)
        assert ours.getsockname() == address
        with theirs, listener:
            yield ours, theirs


def opened(net: Network, how: str = "active_opens") -> int:
    """Connections that the stack itself has had."""
    return int(net.call(lambda: net.loop.nic.stack().stats()["tcp"][how]))


def test_octets_both_ways(site: Site, net: Network) -> None:
    octets = os.urandom(3_000_000)
    with connected(site, net) as (ours, theirs), ThreadPoolExecutor() as threads:
        assert ours.getpeername() == theirs.getsockname()
        sending = threads.submit(ours.sendall, octets)
        assert theirs.makefile("rb").read(len(octets)) == octets
        sending.result()
        assert ours.send(b"sent") == 4
        assert theirs.recv(10) == b"sent"
        sending = threads.submit(theirs.sendall, octets)
        assert ours.makefile("rb").read(len(octets)) == octets
        sending.result()
        theirs.sendall(b"into")
        buffer = bytearray(10)
        assert ours.recv_into(buffer) == 4 and buffer[:4] == b"into"
        assert ours.sendfile(io.BytesIO(b"of a file")) == 9
        assert theirs.recv(9) == b"of a file"
        ours.shutdown(socket.SHUT_WR)
        assert theirs.recv(1) == b""
        theirs.close()
        assert ours.recv(1) == b""
        assert opened(net) == 1


def test_timeouts(site: Site, net: Network) -> None:
    with connected(site, net) as (ours, theirs):
        ours.settimeout(0.05)
        with pytest.raises(TimeoutError, match="timed out"):
            ours.recv(1)
        with pytest.raises(TimeoutError, match="timed out"):
            ours.sendall(bytes(100_000_000))
        ours.settimeout(0)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        assert not ours.getblocking() and ours.timeout == 0
        theirs.sendall(b"x")
        assert select.select([ours], [], [], 20)[0] == [ours]
        assert ours.recv(10) == b"x"
        assert select.select([ours], [], [], 0)[0] == []
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        assert select.select([ours], [], [], 20)[0] == [ours]
        with pytest.raises(ConnectionResetError):
            ours.recv(1)


def test_a_server(site: Site, net: Network) -> None:
    with net.create_server((site.host, PORT)) as server:
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
        server.settimeout(20)
        with site.client() as client, ThreadPoolExecutor() as threads:
            accepting = threads.submit(server.accept)
            client.connect((site.host, PORT))
            ours, address = accepting.result()
            with ours:
                assert address == client.getsockname() == ours.getpeername()
                client.sendall(b"a line\nand")
                with ours.makefile("r") as lines:
                    assert lines.readline() == "a line\n"
                ours.sendall(b"answer")
            # closed with octets that nobody read: a reset (RFC 2525 2.17)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(6) == b"answer"
        assert opened(net, "passive_opens") == 1


def test_errors_are_those_of_sockets(site: Site, net: Network) -> None:
    with pytest.raises(ConnectionRefusedError):
        net.create_connection((site.peer, 9), 20)
    sock = net.socket()
    assert sock.connect_ex((site.peer, 9)) == errno.ECONNREFUSED
    sock.close()
    assert sock.fileno() == -1
    with pytest.raises(OSError) as caught:
        sock.recv(1)
    assert caught.value.errno == errno.EBADF
    with pytest.raises(OSError, match="no descriptor"):
        sock.detach()
    with pytest.raises(ValueError, match="belongs to the kernel"):
        net.socket(fileno=3)


def test_other_addresses_are_the_kernel_s(site: Site, net: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            net.create_connection(listener.getsockname(), 20) as ours:
        theirs, _ = listener.accept()
        with theirs:
            theirs.sendall(b"x")
            assert select.select([ours], [], [], 20)[0] == [ours]
            assert ours.recv(1) == b"x"
    assert opened(net) == 0


def test_a_socket_that_is_forgotten_is_closed(site: Site, net: Network) -> None:
    listener = site.listener()
    ours = net.create_connection(listener.getsockname(), 20)
    theirs, _ = listener.accept()
    theirs.settimeout(20)
    del ours
    gc.collect()
    assert theirs.recv(1) == b""
    theirs.close()
    listener.close()


def test_detached_sockets_say_so(site: Site) -> None:
    with inside(site.pair.server.name):
        network = underpass.socket.attach(site.pair.server.interface, source_ports=1024)
        sock = network.socket()
        network.close()
        network.close()
        with pytest.raises(OSError, match="attach again"):
            sock.recv(1)
        with pytest.raises(OSError, match="eth9"):
            underpass.socket.attach("eth9")


def test_a_forked_process_is_told(site: Site, net: Network) -> None:
    with connected(site, net) as (ours, theirs):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                try:
                    ours.recv(1)
                except RuntimeError as error:
                    os._exit(7 if "after a fork" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"         # and the parent goes on


def test_socketserver_serves(site: Site, net: Network) -> None:
    class Echo(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line)

    with net.lend(socketserver), socketserver.ThreadingTCPServer((site.host, PORT), Echo) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            clients = [site.client() for _ in range(5)]
            for number, client in enumerate(clients):
                client.connect((site.host, PORT))
                client.sendall(b"line %d\n" % number)
            for number, client in enumerate(clients):
                assert client.recv(100) == b"line %d\n" % number
                client.close()
        finally:
            server.shutdown()
            serving.join()
        assert opened(net, "passive_opens") == 5
    assert socketserver.socket is socket         # type: ignore[attr-defined]


class Page(http.server.BaseHTTPRequestHandler):
    """Says what it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        body = self.path.encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_http_server_serves_curl(site: Site, net: Network) -> None:
    with net.lend(socketserver), http.server.ThreadingHTTPServer((site.host, PORT), Page) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            url = f"http://{site.host}:{PORT}"
            done = site.pair.client.run("curl", "-sS", "--max-time", "20", f"{url}/a", f"{url}/b")
        finally:
            server.shutdown()
            serving.join()
        assert done.stdout == "/a" * 1000 + "/b" * 1000
        assert opened(net, "passive_opens") == 1


@contextlib.contextmanager
def peer_s_http(site: Site) -> Iterator[str]:
    """An HTTP server on the kernel's TCP at the peer."""
    with inside(site.pair.client.name):
        server = http.server.ThreadingHTTPServer((site.peer, 0), Page)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield f"{site.peer}:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_http_client_asks(site: Site, net: Network) -> None:
    with peer_s_http(site) as where, net.lend(http.client):
        asking = http.client.HTTPConnection(where, timeout=20)
        for path in ("/a", "/b"):
            asking.request("GET", path)
            assert asking.getresponse().read() == path.encode() * 1000
        asking.close()
        assert opened(net) == 1


def test_requests_asks(site: Site, net: Network) -> None:
    requests = pytest.importorskip("requests")
    import urllib3.util.connection

    with peer_s_http(site) as where, net.lend(urllib3.util.connection), requests.Session() as session:
        for path in ("/a", "/b"):
            assert session.get(f"http://{where}{path}", timeout=20).text == path * 1000
        assert opened(net) == 1
