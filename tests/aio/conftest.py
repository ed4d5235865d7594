"""A loop over one end of a veth pair; on the other end are the kernel's sockets."""

import asyncio
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import underpass
import underpass.socket
from underpass.linux.namespaces import Pair, inside
from underpass.socket import Network

NAMES = "IP:198.18.0.1,IP:198.18.0.2,DNS:localhost"


class Site:
    """The two ends: `run` has the stack on one of them, on the other are sockets of the kernel."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.host, self.host6 = pair.server.address, pair.server.address6
        self.peer, self.peer6 = pair.client.address, pair.client.address6

    def factory(self, **options: Any) -> Callable[[], asyncio.AbstractEventLoop]:
        """Makes loops; to be called inside."""
        return underpass.loop_factory(self.pair.server.interface, source_ports=1024, **options)

    def run(self, main: Coroutine[Any, Any, Any], debug: bool = False, **options: Any) -> Any:
        """`main` to its end on a loop of its own."""
        with inside(self.pair.server.name), \
                asyncio.Runner(loop_factory=self.factory(**options), debug=debug) as runner:
            return runner.run(asyncio.wait_for(main, 60))

    def client(self, family: int = socket.AF_INET) -> socket.socket:
        """A blocking socket of the peer's kernel, not connected."""
        with inside(self.pair.client.name):
            it = socket.socket(family)
        it.settimeout(20)
        return it

    def listener(self, family: int = socket.AF_INET, port: int = 0) -> socket.socket:
        """A listening socket of the peer's kernel."""
        it = self.client(family)
        it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        it.bind((self.peer6 if family == socket.AF_INET6 else self.peer, port))
        it.listen(128)
        return it

    async def connected(self, port: int, family: int = socket.AF_INET) -> socket.socket:
        """A socket of the peer's kernel that has connected to us."""
        it = self.client(family)
        await asyncio.to_thread(it.connect, (self.host6 if family == socket.AF_INET6 else self.host, port))
        return it


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    with Pair() as pair:
        yield Site(pair)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """server.pem and client.pem, each its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key",
                        "-out", folder / f"{name}.crt", "-days", "9", "-subj", f"/CN={name}",
                        "-addext", f"subjectAltName={NAMES}"], check=True, capture_output=True)
        (folder / f"{name}.pem").write_bytes((folder / f"{name}.key").read_bytes()
                                             + (folder / f"{name}.crt").read_bytes())
    return folder


def serving(folder: Path, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "client.crt")
    return context


def asking(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "server.crt"))


@pytest.fixture
def net(site: Site) -> Iterator[Network]:
    with inside(site.pair.server.name), \
            underpass.socket.attach(site.pair.server.interface, source_ports=1024) as network:
        yield network


async def exactly(sock: socket.socket, count: int) -> bytes:
    """So many octets of a blocking socket."""
    def read() -> bytes:
        octets = bytearray()
        while len(octets) < count and (more := sock.recv(min(1 << 20, count - len(octets)))):
            octets += more
        return bytes(octets)
    return await asyncio.to_thread(read)


def close_with_reset(sock: socket.socket) -> None:
    """Close a kernel's socket by a reset, whatever it has yet to send."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
