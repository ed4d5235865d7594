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
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import pytest
from tests.aio.conftest import Site
from tests.forked import in_child

import underpass.socket
from underpass.aio.stand_in import arrivals_of
from underpass.linux.namespaces import inside, until
from underpass.socket import Network

PORT = 7200


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


def test_a_connect_that_nobody_answers_ends_in_time(site: Site, net: Network) -> None:
    site.pair.client.run("ip", "route", "add", "blackhole", site.host)
    try:
        sock = net.socket()
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError, match="timed out"):
            sock.connect((site.peer, 9))
        assert sock.connect_ex((site.peer, 9)) == errno.EAGAIN
        sock.close()
        with pytest.raises(TimeoutError):
            net.create_connection((site.peer, 9), 0.2)
        assert opened(net) == 3
    finally:
        site.pair.client.run("ip", "route", "del", "blackhole", site.host)


def test_an_accept_to_which_nobody_comes_ends_in_time(site: Site, net: Network) -> None:
    with net.create_server((site.host, PORT)) as server:
        server.settimeout(0.2)
        with pytest.raises(TimeoutError, match="timed out"):
            server.accept()
        with site.client() as client:           # and the next one has who comes then
            client.connect((site.host, PORT))
            ours, _ = server.accept()
            ours.close()


def test_peeking_leaves_octets_where_they_are(site: Site, net: Network) -> None:
    """Those of several frames, too."""
    octets = os.urandom(20_000)
    with connected(site, net) as (ours, theirs):
        ours.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ours.recv(1, socket.MSG_PEEK)
        ours.settimeout(20)
        for part in range(0, len(octets), 1000):
            theirs.sendall(octets[part:part + 1000])
        while len(ours.recv(len(octets), socket.MSG_PEEK)) < len(octets):
            pass
        assert ours.recv(7, socket.MSG_PEEK) == octets[:7]
        buffer = bytearray(3000)
        assert ours.recv_into(buffer, 0, socket.MSG_PEEK) == 3000 and buffer == octets[:3000]
        assert ours.recv(5) == octets[:5]
        assert ours.recv(30_000, socket.MSG_PEEK) == octets[5:]
        assert ours.recv(len(octets) - 5, socket.MSG_WAITALL) == octets[5:]
        with pytest.raises(BlockingIOError):
            ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        theirs.close()
        assert ours.recv(1, socket.MSG_PEEK) == b""


def test_waitall_waits_for_all_or_the_end(site: Site, net: Network) -> None:
    octets = os.urandom(3_000_000)
    with connected(site, net) as (ours, theirs), ThreadPoolExecutor() as threads:
        sending = threads.submit(theirs.sendall, octets + b"rest")
        assert ours.recv(len(octets), socket.MSG_WAITALL) == octets
        sending.result()
        ours.settimeout(0.2)
        assert ours.recv(100, socket.MSG_WAITALL) == b"rest"        # as Linux, when its time is over
        ours.settimeout(20)
        theirs.sendall(b"the end")
        theirs.close()
        buffer = bytearray(100)
        assert ours.recv_into(buffer, 0, socket.MSG_WAITALL) == 7 and buffer[:7] == b"the end"


def test_calls_of_datagrams_work_as_on_a_connected_tcp_socket(site: Site, net: Network) -> None:
    with connected(site, net) as (ours, theirs):
        assert ours.sendto(b"to", (site.peer, 1)) == 2
        assert ours.sendto(b"flags", socket.MSG_NOSIGNAL, (site.peer, 1)) == 5
        assert ours.sendmsg([b"sent", bytearray(b" in "), memoryview(b"parts")]) == 13
        assert theirs.makefile("rb").read(20) == b"toflagssent in parts"
        theirs.sendall(b"1234567890abcdefghij")
        while len(ours.recv(20, socket.MSG_PEEK)) < 20:
            pass
        assert ours.recvfrom(5) == (b"12345", None)
        first, second = bytearray(2), bytearray(2)
        assert ours.recvfrom_into(first) == (2, None) and first == b"67"
        assert ours.recvmsg(1) == (b"8", [], 0, None)
        assert ours.recvmsg_into([first, second, bytearray(1)]) == (5, [], 0, None)
        assert first + second == b"90ab"
        with pytest.raises(OSError, match="no ancillary data"):
            ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"\0\0\0\0")])
        with pytest.raises(OSError, match=r"flags 0x1: .*MSG_NOSIGNAL, MSG_MORE"):
            ours.send(b"x", socket.MSG_OOB)
        with pytest.raises(OSError, match=r"flags 0x1: .*MSG_PEEK"):
            ours.recv(1, socket.MSG_OOB)
        assert not ours.get_inheritable()
        ours.set_inheritable(False)
        with pytest.raises(OSError, match="no other process"):
            ours.set_inheritable(True)


def test_a_connect_with_a_timeout_of_0_goes_on_by_itself(site: Site, net: Network) -> None:
    with site.listener() as listener, net.socket() as ours:
        ours.setblocking(False)
        site.pair.client.run("ip", "route", "add", "blackhole", site.host)
        try:
            assert ours.connect_ex(listener.getsockname()) == errno.EINPROGRESS
            assert select.select([ours], [ours], [], 0)[:2] == ([], [])
            assert ours.connect_ex(listener.getsockname()) == errno.EALREADY
            for call in (lambda: ours.send(b"x"), lambda: ours.recv(1)):
                with pytest.raises(BlockingIOError):
                    call()
        finally:
            site.pair.client.run("ip", "route", "del", "blackhole", site.host)
        assert select.select([], [ours], [], 20)[1] == [ours]
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert ours.connect_ex(listener.getsockname()) == errno.EISCONN
        theirs, address = listener.accept()
        with theirs:
            assert ours.getsockname() == address
            assert ours.send(b"sent") == 4 and theirs.recv(10) == b"sent"
            theirs.sendall(b"x")
            assert select.select([ours], [], [], 20)[0] == [ours]
            assert ours.recv(10) == b"x"
        assert opened(net) == 1


def test_a_connect_with_a_timeout_of_0_that_is_refused(site: Site, net: Network) -> None:
    with net.socket() as ours:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError) as caught:
            ours.connect((site.peer, 9))
        assert caught.value.errno == errno.EINPROGRESS
        assert select.select([], [ours], [], 20)[1] == [ours]
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    with net.socket() as ours:                  # whoever sets a timeout then waits for it
        ours.setblocking(False)
        assert ours.connect_ex((site.peer, 9)) == errno.EINPROGRESS
        ours.settimeout(20)
        with pytest.raises(ConnectionRefusedError):
            ours.recv(1)


def test_a_full_send_queue_is_not_writable(site: Site, net: Network) -> None:
    with connected(site, net) as (ours, theirs):
        ours.setblocking(False)
        sent = 0
        while select.select([], [ours], [], 0.3)[1]:        # it ends when the peer takes no more
            with contextlib.suppress(BlockingIOError):
                sent += ours.send(bytes(1_000_000))
        assert len(theirs.makefile("rb").read(sent)) == sent
        assert select.select([], [ours], [], 20)[1] == [ours]


@pytest.mark.parametrize("dualstack", [False, True])
def test_a_server_of_both_families(site: Site, net: Network, dualstack: bool) -> None:
    with net.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=dualstack) as server, \
            site.client(socket.AF_INET6) as first, site.client() as second:
        assert server.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == (not dualstack)
        first.connect((site.host6, PORT))
        server.accept()[0].close()
        with contextlib.nullcontext() if dualstack else pytest.raises(ConnectionRefusedError):
            second.connect((site.host, PORT))
            ours, address = server.accept()
            assert address == (f"::ffff:{site.peer}", second.getsockname()[1], 0, 0) == ours.getpeername()
            assert ours.family == socket.AF_INET6
            ours.close()
        assert opened(net, "passive_opens") == 1 + dualstack
    with pytest.raises(ValueError, match="AF_INET6"):
        net.create_server((site.host, PORT), dualstack_ipv6=True)


def test_servers_share_a_port_that_they_reuse(site: Site, net: Network) -> None:
    with net.create_server((site.host, PORT), reuse_port=True) as first, \
            net.create_server((site.host, PORT), reuse_port=True) as second:
        for server in (first, second, first, second):
            server.settimeout(20)
        clients = [site.client() for _ in range(4)]
        for client in clients:
            client.connect((site.host, PORT))
        for server in (first, second, first, second):
            server.accept()[0].close()
        for client in clients:
            client.close()
    with net.create_server((site.host, PORT)), pytest.raises(OSError, match="in use"):
        net.create_server((site.host, PORT), reuse_port=True)


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


def test_threads_that_accept_on_one_socket_are_given_connections_of_both(site: Site, net: Network) -> None:
    """Each accepts one, and serves it as long as the test lasts."""
    with net.create_server((site.host, 0)) as server, ThreadPoolExecutor() as threads, \
            contextlib.ExitStack() as held:
        server.settimeout(20)
        accepting = [threads.submit(server.accept) for _ in range(4)]
        assert until(lambda: net.call(lambda: len(arrivals_of(server._inner).waiters) == 4), 5)
        for near in (True, True, False, True):              # from this host, or over the interface
            with inside((site.pair.server if near else site.pair.client).name):
                client = held.enter_context(socket.create_connection(server.getsockname(), 5))
            done, rest = wait(accepting, 10, FIRST_COMPLETED)
            ours, address = done.pop().result()
            held.enter_context(ours)
            assert address == client.getsockname() and not done
            accepting = list(rest)
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
        said = in_child(lambda: ours.recv(1))
        assert said.startswith("RuntimeError(") and "after a fork" in said
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
def peer_s_http(site: Site, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """An HTTP server on the kernel's TCP at the peer, over TLS where there is a context."""
    with inside(site.pair.client.name):
        server = http.server.ThreadingHTTPServer((site.peer, 0), Page)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
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
