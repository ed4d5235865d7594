"""TLS over blocking sockets, with the kernel's sockets, curl and requests as peers and users."""

import contextlib
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, asking, serving
from tests.aio.test_socket import Page, connected, opened, peer_s_http

from underpass.socket import Network

PORT = 7500


@contextlib.contextmanager
def secured(site: Site, net: Network, certificates: Path) -> Iterator[tuple[Any, ssl.SSLSocket]]:
    """A socket of ours that speaks TLS to one of the peer's kernel."""
    with connected(site, net) as (ours, theirs), ThreadPoolExecutor() as threads:
        context = asking(certificates)
        context.set_alpn_protocols(["http/1.1"])
        shaking = threads.submit(serving(certificates).wrap_socket, theirs, server_side=True)
        with context.wrap_socket(ours, server_hostname=site.peer) as wrapped, shaking.result() as other:
            yield wrapped, other


def test_octets_pass_in_both_directions(site: Site, net: Network, certificates: Path) -> None:
    octets = os.urandom(3_000_000)
    with secured(site, net, certificates) as (ours, theirs), ThreadPoolExecutor() as threads:
        sending = threads.submit(ours.sendall, octets)
        assert theirs.makefile("rb").read(len(octets)) == octets
        sending.result()
        sending = threads.submit(theirs.sendall, octets)
        assert ours.makefile("rb").read(len(octets)) == octets
        sending.result()
        assert ours.send(b"sent") == ours.write(b"more") == 4
        assert theirs.makefile("rb").read(8) == b"sentmore"
        assert ours.sendfile(io.BytesIO(b"of a file"), 3) == 6
        assert theirs.recv(6) == b"a file"
        theirs.sendall(b"into")
        buffer = bytearray(10)
        assert ours.recv_into(buffer) == 4 and buffer[:4] == b"into"
        assert opened(net) == 1


def exchanged(theirs: ssl.SSLSocket, octets: bytes) -> bytes:
    """What a peer receives that sends as much at the same time. In one thread: an SSL object is not for two
    at once, and as calls of an ssl.SSLSocket of the kernel's do not exclude each other, one of them may hear
    of an end that has not come.
    """
    theirs.setblocking(False)
    rest, received = memoryview(octets), bytearray()
    while rest or len(received) < len(octets):
        assert any(select.select([theirs], [theirs] if rest else [], [], 20))
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while rest:
                rest = rest[theirs.send(rest[:1 << 16]):]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while len(received) < len(octets):
                received += theirs.recv(1 << 16) or pytest.fail(f"the end came after {len(received)} octets")
    return bytes(received)


def test_both_directions_at_once(site: Site, net: Network, certificates: Path) -> None:
    """One thread sends while another receives."""
    octets, other_octets = os.urandom(3_000_000), os.urandom(3_000_000)
    with secured(site, net, certificates) as (ours, theirs), ThreadPoolExecutor() as threads:
        exchanging = threads.submit(exchanged, theirs, other_octets)
        sending = threads.submit(ours.sendall, octets)
        assert ours.makefile("rb").read(len(other_octets)) == other_octets
        sending.result()
        assert exchanging.result() == octets


def test_who_reads_does_not_wait_for_who_sends(site: Site, net: Network, certificates: Path) -> None:
    """The peer takes nothing before it was read from."""
    octets = os.urandom(10_000_000)
    with secured(site, net, certificates) as (ours, theirs), ThreadPoolExecutor() as threads:
        sending = threads.submit(ours.sendall, octets)
        for _ in range(20):
            theirs.sendall(b"first")
            assert ours.recv(5) == b"first"
        assert not sending.done()
        assert theirs.makefile("rb").read(len(octets)) == octets
        sending.result()


def test_what_a_call_that_does_not_wait_has_taken_arrives_although_the_socket_is_closed(
        site: Site, net: Network, certificates: Path) -> None:
    octets = os.urandom(10_000_000)
    with secured(site, net, certificates) as (ours, theirs):
        theirs.sendall(b"first")
        assert ours.recv(5) == b"first"         # and the session's tickets: else it is reset
        ours.setblocking(False)
        taken = 0
        with contextlib.suppress(ssl.SSLWantWriteError):
            while True:
                taken += ours.send(octets[taken:])
        ours.close()
        assert theirs.makefile("rb").read() == octets[:taken]


def test_it_tells_what_an_ssl_socket_tells(site: Site, net: Network, certificates: Path) -> None:
    with secured(site, net, certificates) as (ours, theirs):
        assert ours.version() == theirs.version() == "TLSv1.3"
        assert ours.cipher() == theirs.cipher()
        assert ours.selected_alpn_protocol() == "http/1.1"
        assert ours.getpeercert()["subject"] == ((("commonName", "server"),),)
        assert isinstance(ours.getpeercert(binary_form=True), bytes)
        assert ours.getpeercert(True) == ours.getpeercert(binary_form=True)
        assert ours.compression() is None and not ours.session_reused and not ours.server_side
        assert ours.server_hostname == site.peer and isinstance(ours.context, ssl.SSLContext)
        assert ours.getpeername() == theirs.getsockname()
        with pytest.raises(ValueError, match="flags"):
            ours.recv(1, socket.MSG_PEEK)
        for call in (ours.sendto, ours.recvfrom, ours.sendmsg, ours.recvmsg):
            with pytest.raises(NotImplementedError, match="not allowed over TLS"):
                call(b"x")


def test_octets_that_were_decrypted_are_pending(site: Site, net: Network, certificates: Path) -> None:
    """The descriptor does not tell of those, of several records neither."""
    with secured(site, net, certificates) as (ours, theirs):
        theirs.sendall(b"one")
        theirs.sendall(b"another")
        assert select.select([ours], [], [], 20)[0] == [ours]
        got = ours.recv(1)
        while len(got) < 10:
            assert ours.pending() or select.select([ours], [], [], 20)[0]
            got += ours.recv(10)
        assert got == b"oneanother" and ours.pending() == 0


def test_timeouts_and_no_waiting(site: Site, net: Network, certificates: Path) -> None:
    with secured(site, net, certificates) as (ours, theirs):
        ours.settimeout(0.1)
        with pytest.raises(TimeoutError):
            ours.recv(1)
        ours.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            ours.recv(1)
        theirs.sendall(b"x")
        assert select.select([ours], [], [], 20)[0] == [ours]
        assert ours.recv(10) == b"x"
        sent = 0
        with pytest.raises(ssl.SSLWantWriteError):
            while True:
                sent += ours.send(b"y" * 50_000)
        assert theirs.makefile("rb").read(sent) == b"y" * sent      # all that it has taken arrives


def test_the_end_of_tls(site: Site, net: Network, certificates: Path) -> None:
    with secured(site, net, certificates) as (ours, theirs), ThreadPoolExecutor() as threads:
        ending = threads.submit(theirs.unwrap)
        assert ours.recv(1) == b""
        plain, other = ours.unwrap(), ending.result()
        plain.sendall(b"in the clear")
        assert other.recv(20) == b"in the clear"
        assert ours.version() is None
        with pytest.raises(ValueError, match="No SSL wrapper"):
            ours.unwrap()


@pytest.mark.parametrize("suppressed", [True, False])
def test_an_end_without_a_word(site: Site, net: Network, certificates: Path, suppressed: bool) -> None:
    with connected(site, net) as (ours, theirs), ThreadPoolExecutor() as threads:
        shaking = threads.submit(serving(certificates).wrap_socket, theirs, server_side=True)
        wrapped = asking(certificates).wrap_socket(ours, server_hostname=site.peer,
                                                   suppress_ragged_eofs=suppressed)
        shaking.result().close()
        with contextlib.nullcontext() if suppressed else pytest.raises(ssl.SSLEOFError):
            assert wrapped.recv(1) == b""
        wrapped.close()
        assert ours.fileno() == wrapped.fileno() == -1


def test_a_socket_connects_once_it_is_wrapped(site: Site, net: Network, certificates: Path) -> None:
    context = asking(certificates)
    with site.listener() as listener, ThreadPoolExecutor() as threads, \
            context.wrap_socket(net.socket(), server_hostname=site.peer) as ours:
        def accept() -> ssl.SSLSocket:
            return serving(certificates).wrap_socket(listener.accept()[0], server_side=True)
        accepting = threads.submit(accept)
        ours.settimeout(20)
        ours.connect(listener.getsockname())
        with accepting.result() as theirs:
            ours.sendall(b"x")
            assert theirs.recv(1) == b"x"
            with pytest.raises(ValueError, match="already-connected"):
                ours.connect(listener.getsockname())


def test_handshakes_that_fail(site: Site, net: Network, certificates: Path) -> None:
    with connected(site, net) as (ours, theirs), ThreadPoolExecutor() as threads:
        shaking = threads.submit(serving(certificates).wrap_socket, theirs, server_side=True)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(ours, server_hostname=site.peer)
        assert ours.fileno() == -1
        with pytest.raises(ssl.SSLError, match="unknown ca"):       # the peer is told why
            shaking.result()
    with connected(site, net) as (ours, theirs):
        theirs.sendall(b"220 speak up\r\n")
        with pytest.raises(ssl.SSLError, match=r"(?i)version"):
            asking(certificates).wrap_socket(ours, server_hostname=site.peer)
    with connected(site, net) as (ours, _):
        ours.settimeout(0.1)
        with pytest.raises(TimeoutError):                           # nobody answers
            asking(certificates).wrap_socket(ours, server_hostname=site.peer)
    with connected(site, net) as (ours, _):
        with pytest.raises(ValueError, match="requires server_hostname"):
            asking(certificates).wrap_socket(ours)
        ours.setblocking(False)
        with pytest.raises(ValueError, match="non-blocking"):
            asking(certificates).wrap_socket(ours, server_hostname=site.peer)


def test_a_handshake_without_waiting(site: Site, net: Network, certificates: Path) -> None:
    with connected(site, net) as (ours, theirs), ThreadPoolExecutor() as threads:
        shaking = threads.submit(serving(certificates).wrap_socket, theirs, server_side=True)
        ours.setblocking(False)
        with asking(certificates).wrap_socket(ours, server_hostname=site.peer,
                                              do_handshake_on_connect=False) as wrapped:
            with pytest.raises(ssl.SSLWantReadError):
                wrapped.do_handshake()
            wrapped.do_handshake(block=True)
            assert wrapped.gettimeout() == 0
            shaking.result().sendall(b"x")
            assert select.select([wrapped], [], [], 20)[0]


def test_the_kernel_s_sockets_are_wrapped_as_ever(net: Network, certificates: Path) -> None:
    first, second = socket.socketpair()
    with ThreadPoolExecutor() as threads:
        shaking = threads.submit(serving(certificates).wrap_socket, first, server_side=True)
        with asking(certificates).wrap_socket(second, server_hostname="localhost") as wrapped:
            assert type(wrapped) is ssl.SSLSocket
            assert type(shaking.result()) is ssl.SSLSocket
            shaking.result().close()


def test_http_client_asks(site: Site, net: Network, certificates: Path) -> None:
    with peer_s_http(site, serving(certificates)) as where, net.lend(http.client):
        client = http.client.HTTPSConnection(where, timeout=20, context=asking(certificates))
        for path in ("/a", "/b"):
            client.request("GET", path)
            assert client.getresponse().read() == path.encode() * 1000
        client.close()
        assert opened(net) == 1


def test_http_server_serves_curl(site: Site, net: Network, certificates: Path) -> None:
    class Server(http.server.ThreadingHTTPServer):
        def server_bind(self) -> None:
            """A listening socket that speaks TLS."""
            self.socket = serving(certificates).wrap_socket(self.socket, server_side=True)
            super().server_bind()

    with net.lend(socketserver), Server((site.host, PORT), Page) as server:
        serve = threading.Thread(target=server.serve_forever, args=(0.05,))
        serve.start()
        try:
            url = f"https://{site.host}:{PORT}"
            done = site.pair.client.run("curl", "-sS", "--http1.1", "--max-time", "20", "--cacert",
                                        str(certificates / "server.crt"), f"{url}/a", f"{url}/b")
        finally:
            server.shutdown()
            serve.join()
        assert done.stdout == "/a" * 1000 + "/b" * 1000
        assert opened(net, "passive_opens") == 1


def test_requests_ask_by_an_adapter(site: Site, net: Network, certificates: Path) -> None:
    """Other sessions are the kernel's."""
    requests = pytest.importorskip("requests")
    with peer_s_http(site) as plain, peer_s_http(site, serving(certificates)) as tls, \
            requests.Session() as session, requests.Session() as other:
        for it in (session, other):
            it.verify = str(certificates / "server.crt")
            it.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, net.adapter())
        for url in (f"http://{plain}", f"https://{tls}"):
            for path in ("/a", "/b"):
                for it in (session, other):
                    assert it.get(f"{url}{path}", timeout=20).text == path * 1000
        assert opened(net) == 2
        assert session.get(f"https://{tls}/c", timeout=20, stream=True).raw.read(4) == b"/c/c"


def test_requests_errors_are_its_own(site: Site, net: Network, certificates: Path) -> None:
    requests = pytest.importorskip("requests")
    with requests.Session() as session, peer_s_http(site, serving(certificates)) as tls:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, net.adapter(max_retries=0))
        with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
            session.get(f"http://{site.peer}:9/", timeout=20)
        with pytest.raises(requests.exceptions.SSLError, match="certificate"):
            session.get(f"https://{tls}/", timeout=20)
        site.pair.client.run("ip", "route", "add", "blackhole", site.host)
        try:
            with pytest.raises(requests.exceptions.ConnectTimeout):
                session.get(f"http://{site.peer}:9/", timeout=0.2)
        finally:
            site.pair.client.run("ip", "route", "del", "blackhole", site.host)


def test_requests_go_by_a_proxy(site: Site, net: Network) -> None:
    requests = pytest.importorskip("requests")
    with peer_s_http(site) as proxy, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", net.adapter())
        answer = session.get("http://nowhere.example/a", timeout=20, proxies={"http": f"http://{proxy}"})
        assert answer.text == "http://nowhere.example/a" * 1000
        assert opened(net) == 1
