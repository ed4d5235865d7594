"""`underpass serve` on a real veth pair: curl, wrk, ab, nginx as a proxy and plain sockets as clients."""

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

SIZES = (0, 1, 1447, 1448, 1449, 65535, 65536, 65537, 1_000_000, 100_000_000)
PROXY = """
daemon off; pid {scratch}/proxy.pid; error_log {scratch}/proxy.error;
events {{ }}
http {{
  access_log off; proxy_temp_path {scratch}/temp; client_body_temp_path {scratch}/body;
  fastcgi_temp_path {scratch}/f; uwsgi_temp_path {scratch}/u; scgi_temp_path {scratch}/s;
  upstream served {{ server {address}:80; keepalive 4; }}
  server {{
    listen 8000;
    location / {{ proxy_pass http://served; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Underpass]:
    scratch = tmp_path_factory.mktemp("served")
    root = scratch / "root"
    root.mkdir()
    (scratch / "secret").write_bytes(b"secret")
    (root / "index.html").write_bytes(b"index")
    (root / "outside").symlink_to("../secret")
    for size in SIZES:
        (root / str(size)).write_bytes(os.urandom(size))
    with Pair() as pair:
        server = Underpass(pair, root, scratch, None)
        yield server
        assert server.stop() == 0


def curl(served: Underpass, *words: str) -> str:
    return served.pair.client.run("curl", "-sS", "--max-time", "60", "--path-as-is", *words).stdout


def status(served: Underpass, path: str, *words: str) -> int:
    return int(curl(served, "-o", "/dev/null", "-w", "%{http_code}", *words, served.url(path)))


def speak(served: Underpass, octets: bytes, timeout_s: float = 20) -> bytes:
    """What comes back, until the server ends the connection."""
    address = (served.pair.server.address, 80)
    with inside(served.pair.client.name), socket.create_connection(address) as client:
        client.settimeout(timeout_s)
        client.sendall(octets)
        received = b""
        while more := client.recv(65536):
            received += more
    return received


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("size", SIZES)
def test_files_arrive_byte_for_byte(served: Underpass, tmp_path: Path, size: int, family: int) -> None:
    server = served.pair.server
    url = f"http://{server.address}/{size}" if family == 4 else f"http://[{server.address6}]/{size}"
    there, here = served.root / str(size), tmp_path / "out"
    curl(served, "-g", "-o", str(here), url)
    assert hashlib.sha256(here.read_bytes()).digest() == hashlib.sha256(there.read_bytes()).digest()


@pytest.mark.parametrize(("path", "words", "expected"), [
    ("", (), 200), ("1", ("-I",), 200), ("missing", (), 404), ("outside", (), 404), ("../secret", (), 400),
    ("%2e%2e/secret", (), 400), ("a/../../secret", (), 400), ("1", ("-d", "x"), 405),
    ("1", ("-X", "BREW"), 501),
    ("x" * 9000, (), 414), ("1", ("-H", "X: " + "x" * 20000), 431), ("1", ("-H", "Host: a b"), 400),
    ("1000000", ("-r", "5-9"), 206), ("1", ("-r", "7-"), 416), ("1", ("-H", "If-None-Match: *"), 304),
])  # fmt: skip
def test_status(served: Underpass, path: str, words: tuple[str, ...], expected: int) -> None:
    assert status(served, path, *words) == expected


def test_other_versions(served: Underpass) -> None:
    assert speak(served, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 505 ")
    assert speak(served, b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nindex")


def test_ranges_join_to_the_file(served: Underpass, tmp_path: Path) -> None:
    """A download that is taken up again where it was cut."""
    whole = (served.root / "1000000").read_bytes()
    out = tmp_path / "out"
    out.write_bytes(whole[:123_457])
    curl(served, "-C", "-", "-o", str(out), served.url("1000000"))
    assert out.read_bytes() == whole


def test_pipelined_requests_are_answered_in_order(served: Underpass) -> None:
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % size for size in SIZES[:8])
    last = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    received = speak(served, requests + last)
    for size in SIZES[:8]:
        head, _, received = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert received[:size] == (served.root / str(size)).read_bytes()
        received = received[size:]
    assert received.endswith(b"index")


def test_a_slow_request_is_ended(served: Underpass) -> None:
    start = time.monotonic()
    assert speak(served, b"GET / HTTP/1.1\r\nHos").startswith(b"HTTP/1.1 408 ")
    assert 9 < time.monotonic() - start < 15


def test_a_changed_file_is_served_anew(served: Underpass) -> None:
    changing = served.root / "changing"
    for content in ("one", "two", "three", "four"):
        changing.write_text(content)
        assert until(lambda content=content: curl(served, served.url("changing")) == content, 1)
    changing.unlink()
    assert until(lambda: status(served, "changing") == 404, 1)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk(served: Underpass) -> None:
    said = served.pair.client.run("wrk", "-t1", "-c50", "-d2", served.url("1448")).stdout
    assert "Socket errors" not in said and "Non-2xx" not in said
    assert int(re.findall(r"(\d+) requests in", said)[0]) > 0


@pytest.mark.skipif(shutil.which("ab") is None, reason="ab is not installed")
@pytest.mark.parametrize("words", [(), ("-k",)])
def test_ab(served: Underpass, words: tuple[str, ...]) -> None:
    """A connection a request: ports come back while their TIME-WAIT lasts."""
    said = served.pair.client.run("ab", "-q", "-c20", "-n", "40000", *words, served.url("1448")).stdout
    assert re.search(r"Complete requests: +40000\n", said)
    assert re.search(r"Failed requests: +0\n", said)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_behind_nginx(served: Underpass, tmp_path: Path) -> None:
    """nginx as a proxy: it is the client, over connections that stay."""
    (tmp_path / "conf").write_text(PROXY.format(scratch=tmp_path, address=served.pair.server.address))
    client = served.pair.client
    proxy = client.start("nginx", "-c", str(tmp_path / "conf"), "-e", str(tmp_path / "error"))
    try:
        def ask(name: str) -> bytes:
            out = tmp_path / "out"
            out.unlink(missing_ok=True)
            client.run("curl", "-sS", "-o", str(out), f"http://127.0.0.1:8000/{name}", check=False)
            return out.read_bytes() if out.exists() else b""

        assert until(lambda: ask("") == b"index", 5)
        for _ in range(3):
            for size in (0, 1449, 65537, 1_000_000):
                assert ask(str(size)) == (served.root / str(size)).read_bytes()
    finally:
        client.stop(proxy)


def test_linux_stays_reachable_on_the_same_address(served: Underpass) -> None:
    said = served.pair.client.run("ping", "-c1", "-W2", served.pair.server.address).stdout
    assert " 0% packet loss" in said
