"""The examples, run as their first lines say."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.aio.conftest import Site
from tests.aio.test_programs import redis_server
from tests.aio.test_run import program
from tests.aio.test_socket import peer_s_http

from underpass.linux.namespaces import inside, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "asyncio"
PORT = 7000


def script(name: str, *words: str) -> tuple[str, ...]:
    return "python", str(EXAMPLES / name), str(PORT), *words


def dialled(site: Site) -> socket.socket:
    """A connection of the peer's kernel."""
    sock = site.client()
    sock.connect((site.host, PORT))
    return sock


def fetched(site: Site) -> str:
    return site.pair.client.run("curl", "-sS", "--max-time", "20", f"http://{site.host}:{PORT}/").stdout


def exactly(sock: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count and (more := sock.recv(count - len(octets))):
        octets += more
    return octets


def test_echo(site: Site, tmp_path: Path) -> None:
    with program(site, tmp_path, *script("echo.py"), serves=PORT), dialled(site) as client:
        client.sendall(b"hello")
        assert exactly(client, 5) == b"hello"


def test_chat(site: Site, tmp_path: Path) -> None:
    with program(site, tmp_path, *script("chat.py"), serves=PORT), \
            dialled(site) as one, dialled(site) as other:
        assert until(lambda: one.sendall(b"hello\n") is None and readable(other), 10, 0.2)
        assert exactly(other, 6) == b"hello\n"


def readable(sock: socket.socket) -> bool:
    sock.settimeout(0.1)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        sock.settimeout(20)


def test_hello(site: Site, tmp_path: Path) -> None:
    with program(site, tmp_path, *script("hello.py"), serves=PORT):
        assert fetched(site) == "hello\n"


def test_proxy(site: Site, tmp_path: Path) -> None:
    listener = site.listener()
    with program(site, tmp_path, *script("proxy.py", *map(str, listener.getsockname())),
                 serves=PORT, connects=True), dialled(site) as client:
        behind, _ = listener.accept()
        client.sendall(b"ask")
        client.shutdown(socket.SHUT_WR)
        assert exactly(behind, 4) == b"ask"
        behind.sendall(b"answer")
        behind.close()
        assert exactly(client, 7) == b"answer"
    listener.close()


def test_mixed(site: Site, tmp_path: Path) -> None:
    with program(site, tmp_path, *script("mixed.py"), serves=PORT), dialled(site) as client:
        client.sendall(b"b\na\n")
        client.shutdown(socket.SHUT_WR)
        assert exactly(client, 5) == b"a\nb\n"
        with inside(site.pair.client.name), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(10)
            datagrams.sendto(b"datagram", (site.host, PORT))
            assert datagrams.recv(100) == b"datagram"


def test_tls(site: Site, tmp_path: Path) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", tmp_path / "key", "-out", tmp_path / "crt", "-days", "9", "-subj",
                    "/CN=example"], check=True, capture_output=True)
    pem = tmp_path / "server.pem"
    pem.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "crt").read_bytes())
    with program(site, tmp_path, *script("tls.py", str(pem)), serves=PORT):
        said = site.pair.client.run("openssl", "s_client", "-quiet", "-no_ign_eof", "-connect",
                                    f"{site.host}:{PORT}", text="hello\n", check=False)
        assert "CN=example" in said.stderr.replace(" ", "")     # openssl 3.2 and later: without blanks


def test_fastapi(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    words = ("uvicorn", "--app-dir", str(EXAMPLES), "fastapi_app:app", "--host", "0.0.0.0", "--port",
             str(PORT))
    with program(site, tmp_path, *words, serves=PORT):
        assert '{"hello":"from user space"}' in fetched(site)


def test_aiohttp(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with program(site, tmp_path, *script("aiohttp_server.py"), serves=PORT):
        assert site.peer in fetched(site)


def test_websocket(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("websockets")
    asks = ("from websockets.sync.client import connect; "
            f"c = connect('ws://{site.host}:{PORT}', proxy=None); c.send('hello'); print(c.recv())")
    with program(site, tmp_path, *script("websocket.py"), serves=PORT):
        assert site.pair.client.run(sys.executable, "-c", asks).stdout == "hello\n"


def test_redis(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    words = ("python", str(EXAMPLES / "redis_client.py"), site.peer)
    with redis_server(site), program(site, tmp_path, *words, serves=None) as process:
        process.wait(20)
        assert "hello from user space" in (tmp_path / "log").read_text()


def test_an_aiohttp_client(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with peer_s_http(site) as where, program(site, tmp_path, "python", str(EXAMPLES / "aiohttp_client.py"),
                                             f"http://{where}/a", serves=None) as process:
        process.wait(20)
        assert f"\n200 {'/a' * 1000}\n" in (tmp_path / "log").read_text()
