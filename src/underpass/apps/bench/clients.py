"""The kernel's clients, wrk, ab and curl, and what they say."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from underpass.linux.namespaces import CommandError, Namespace

WRK_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests": %d, "seconds": %.6f, "errors": %d, "p50_us": %.1f, "p99_us": %.1f}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client measured. Latencies are in microseconds; 0 where it does not tell."""

    requests: int
    seconds: float
    errors: int
    p50_us: float = 0
    p99_us: float = 0

    @property
    def requests_per_s(self) -> float:
        """Throughput."""
        return self.requests / self.seconds if self.seconds else 0.0


def wrk(where: Namespace, url: str, scratch: Path, *, connections: int, seconds: float, core: int,
        script: str = "") -> Answer:
    """wrk with one thread, keep-alive. Raises CommandError where it could not run or got no answer at all.

    `script` is Lua that goes before what reports.
    """
    file = scratch / "report.lua"
    file.write_text(script + WRK_REPORT)
    done = where.run("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s",
                     "-s", str(file), url, core=core, timeout_s=seconds + 60)
    answer = Answer(**json.loads(done.stderr.strip().splitlines()[-1]))
    if answer.requests == 0:
        raise CommandError(f"wrk got no answer from {url}")
    return answer


def ab(where: Namespace, url: str, *, connections: int, seconds: float, core: int) -> Answer:
    """ab, a connection for each request."""
    done = where.run("ab", "-q", "-t", str(max(1, round(seconds))), "-n", "10000000", "-c", str(connections),
                     url, core=core, timeout_s=seconds + 60)
    return Answer(requests=int(field(done.stdout, "Complete requests")),
                  seconds=field(done.stdout, "Time taken for tests"),
                  errors=int(field(done.stdout, "Failed requests")))


def transfer(where: Namespace, url: str, way: str, octets: int, scratch: Path, *, core: int) -> float:
    """Seconds that curl takes to fetch so many octets, or to upload them. Raises CommandError for fewer."""
    if way == "down":
        got, taken = download(where, url, core=core)
        if got != octets:
            raise CommandError(f"{got} of {octets} octets came from {url}")
        return taken
    file = scratch / "upload.bin"
    with file.open("wb") as upload:
        upload.truncate(octets)
    file.read_bytes()               # into the page cache: it is not to be made while the transfer is timed
    done = where.run("curl", "-sS", "--fail", "-o", "/dev/null", "-H", "Expect:", "-w",
                     "%{size_upload} %{time_total}", "-T", str(file), url, core=core)
    sent, seconds = done.stdout.split()
    if int(sent) != octets:
        raise CommandError(f"{sent} of {octets} octets went to {url}")
    return float(seconds)


# Opens websockets one after the other, says how many, and holds them until its input ends.
WEBSOCKETS = """
import resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
ask = (f"GET /ws HTTP/1.1\\r\\nHost: {host}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n").encode()
held = []
for _ in range(count):
    one = socket.create_connection((host, port), timeout=20)
    one.sendall(ask)
    octets = b""
    while b"\\r\\n\\r\\n" not in octets:
        octets += one.recv(4096) or sys.exit("a websocket was closed")
    if b" 101 " not in octets:
        sys.exit(f"no websocket: {octets[:60]!r}")
    held.append(one)
print(len(held), flush=True)
sys.stdin.read()
"""


@contextmanager
def websockets(where: Namespace, url: str, count: int) -> Iterator[int]:
    """Hold so many websockets open; yields how many there are."""
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    client = where.start(sys.executable, "-c", WEBSOCKETS, host, port, str(count), output=subprocess.PIPE,
                         stdin=subprocess.PIPE)
    try:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line.strip().isdigit():
            said = (line + client.stdout.read()).strip().splitlines() or ["the client ended"]
            raise CommandError(f"{count} websockets: {said[-1]}")
        time.sleep(0.5)
        yield int(line)
    finally:
        where.stop(client)


def field(text: str, name: str) -> float:
    """The number behind a name in ab's report."""
    match = re.search(rf"^{name}:\s+([\d.]+)", text, re.MULTILINE)
    if match is None:
        raise CommandError(f"ab did not say {name!r}")
    return float(match[1])


def download(where: Namespace, url: str, *, core: int) -> tuple[int, float]:
    """One download by curl: octets and seconds."""
    done = where.run("curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", url,
                     core=core)
    octets, seconds = done.stdout.split()
    return int(octets), float(seconds)
