"""Many connections at a time: the kernel's, from one process, and those of `underpass load`."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from underpass.linux.namespaces import CommandError, Namespace, Pair

# Runs in the client's namespace: opens them all, asks twice on each, says how many answers came, waits.
KERNEL_CLIENT = """
import resource, selectors, socket, sys
host, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
request = f"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode()
sockets, answered = [], 0
def answer(one):
    octets = b""
    while b"\\r\\n\\r\\n" not in octets:
        octets += one.recv(65536) or sys.exit("a connection was closed")
    head, _, body = octets.partition(b"\\r\\n\\r\\n")
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    while len(body) < length:
        body += one.recv(65536) or sys.exit("a connection was closed")
    return head.startswith(b"HTTP/1.1 200")
for _ in range(count):
    sockets.append(socket.create_connection((host, 80), timeout=10))
for _ in range(2):
    for start in range(0, count, 500):
        for one in sockets[start:start + 500]:
            one.sendall(request)
        for one in sockets[start:start + 500]:
            answered += answer(one)
print(answered, flush=True)
sys.stdin.read()
"""
SOURCES = "198.18.1.1-198.18.1.6"
RATE = 20000


def rest(seconds: float) -> None:
    """Let the server alone for a while; the first moments after its start do not count."""
    time.sleep(0.5)
    time.sleep(seconds)


@contextmanager
def open_connections(where: Namespace, host: str, path: str, count: int) -> Iterator[int]:
    """Hold `count` kernel connections open, each having been asked twice; yields how many answers came."""
    client = where.start(sys.executable, "-c", KERNEL_CLIENT, host, path, str(count),
                         output=subprocess.PIPE, stdin=subprocess.PIPE)
    try:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line.strip().isdigit():
            said = (line + client.stdout.read()).strip().splitlines() or ["the client ended"]
            raise CommandError(f"{count} connections: {said[-1]}")
        time.sleep(0.5)
        yield int(line)
    finally:
        where.stop(client)


def user_space_connections(pair: Pair, url: str, count: int, seconds: float, core: int) -> dict[str, float]:
    """`underpass load` with many connections over several source addresses of its interface.

    An open loop that uses all connections in turn, long enough for each to be asked twice while all are open.
    """
    first, last = SOURCES.split("-")
    for host in range(int(first.rsplit(".", 1)[1]), int(last.rsplit(".", 1)[1]) + 1):
        address = f"{first.rsplit('.', 1)[0]}.{host}"
        pair.client.run("ip", "addr", "add", f"{address}/15", "dev", pair.client.interface)
    done = pair.client.run(
        sys.executable, "-m", "underpass.cli", "load", url, "--interface", pair.client.interface,
        "--source", SOURCES, "-c", str(count), "--rate", str(RATE), "-d", str(seconds + 3 * count / RATE),
        "--json",
        core=core, timeout_s=seconds + 3 * count / RATE + 60)
    result = json.loads(done.stdout)
    return {"answered": float(result["requests"]), "errors": float(sum(result["errors"].values())),
            "requests_per_s": result["requests_per_s"], "connections": float(result["connections"])}
