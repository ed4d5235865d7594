"""The HTTP server over Linux's sockets answers as the one on our stack does."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from underpass.apps.bench.clients import wrk
from underpass.apps.bench.servers import KernelSockets
from underpass.linux.namespaces import Pair

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")
SLOWLY = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 80)) as conn:
    for part in (b"GET /a HT", b"TP/1.1\\r\\nHost: x\\r\\n",
                 b"\\r\\nGET /b HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /large HTTP/1.1\\r\\n",
                 b"Host: x\\r\\nConnection: close\\r\\n\\r\\n"):
        conn.sendall(part)
        time.sleep(0.05)
    octets = b""
    while more := conn.recv(100000):
        octets += more
heads = octets.split(b"HTTP/1.1 200 OK")[1:]
print(len(heads), b"first" in heads[0], b"second" in heads[1], heads[2].endswith(bytes(range(256)) * 20_000))
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[KernelSockets]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    (root / "a").write_bytes(b"first\n")
    (root / "b").write_bytes(b"second\n")
    (root / "large").write_bytes(bytes(range(256)) * 20_000)
    with Pair() as pair:
        server = KernelSockets(pair, root, tmp_path, None)
        yield server
        assert server.stop() == 0


def test_files_and_errors(served: KernelSockets, tmp_path: Path) -> None:
    client, out = served.pair.client, tmp_path / "out"
    curl = ("curl", "-sS", "--max-time", "30", "-w", "%{http_code}\n")
    said = client.run(*curl, served.url(""), served.url("missing"), served.url("a"), "-o", "/dev/null",
                      "-o", "/dev/null", "-o", "/dev/null").stdout
    assert said.split() == ["200", "404", "200"]
    client.run(*curl, "-o", str(out), served.url("large"))
    assert out.read_bytes() == (served.root / "large").read_bytes()
    assert client.run(*curl, "-r", "6-8", served.url("a"), "-X", "BREW").stdout.endswith("501\n")
    assert client.run(*curl, "-r", "1-3", served.url("a")).stdout == "irs206\n"


def test_a_process_on_each_core_shares_the_port(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    two = type("Two", (KernelSockets,), {"cores": (0, 0)})
    with Pair() as pair:
        server = two(pair, root, tmp_path, None)
        pids = server.pids()
        assert server.listening() == len(pids) == 2
        assert all(os.sched_getaffinity(pid) == {0} for pid in pids)
        assert server.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_requests_in_parts_and_behind_each_other(served: KernelSockets) -> None:
    said = served.pair.client.run(sys.executable, "-c", SLOWLY, served.pair.server.address).stdout
    assert said == "3 True True True\n"


def test_many_connections(served: KernelSockets, tmp_path: Path) -> None:
    answer = wrk(served.pair.client, served.url("a"), tmp_path, connections=50, seconds=1, core=0)
    assert answer.requests > 0
    assert answer.errors == 0
