"""The kernel's clients, wrk, ab and curl, and what they say."""

import json
import re
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


def wrk(where: Namespace, url: str, scratch: Path, *, connections: int, seconds: float, core: int) -> Answer:
    """wrk with one thread, keep-alive. Raises CommandError where it could not run or got no answer at all."""
    script = scratch / "report.lua"
    script.write_text(WRK_REPORT)
    done = where.run("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s",
                     "-s", str(script), url, core=core, timeout_s=seconds + 60)
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
