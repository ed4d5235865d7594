"""Where servers are measured: two namespaces, server on core 1, client on core 0, in a given placement."""

import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from underpass.apps.bench.cost import Meter, kernel_threads
from underpass.apps.bench.servers import Server
from underpass.linux.namespaces import CommandError, Pair, run

CLIENT_CORE, SERVER_CORE = 0, 1
SMALL, LARGE = "64.txt", "64M.bin"
TUNING: dict[str, int | str] = {
    "ipv4/tcp_tw_reuse": 1, "ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_fin_timeout": 5,
    "core/somaxconn": 16384, "ipv4/tcp_max_syn_backlog": 16384,
}
PLACEMENTS = {
    "default": "veth's default: receive work runs on the sender's core; the kernel's offloads are on",
    "pinned": "threaded NAPI on both sides, each thread on its side's core; TSO and GSO off, GRO on",
    "memory link": "two stacks on a cable within one process, on core 1",
    "no offloads": "receive work runs on the sender's core; TSO, GSO and GRO off on both sides",
}


class Lab:
    """One server in one placement."""

    def __init__(self, pair: Pair, server: Server, placement: str, scratch: Path) -> None:
        self.pair = pair
        self.server = server
        self.placement = placement
        self.scratch = scratch

    def meter(self) -> Meter:
        """Reads what the server and its core have used."""
        return Meter(self.server.process.pid, SERVER_CORE, self.pair.server.interface)


@contextmanager
def lab(kind: type[Server], placement: str, queues: int = 1) -> Iterator[Lab]:
    """Namespaces, files and the running server on an interface with so many queues; all gone at the end."""
    if (os.cpu_count() or 1) < 2:
        raise CommandError("the bench needs two cores: one for the server, one for the client")
    with tempfile.TemporaryDirectory(prefix="underpass-bench-") as folder, Pair(queues=queues) as pair:
        scratch = Path(folder)
        root = make_files(scratch)
        with (root / LARGE).open("wb") as file:
            for _ in range(64):
                file.write(os.urandom(2**20))
        tune(pair)
        if placement == "pinned":
            thread_receiving(pair)
        server = kind(pair, root, scratch, SERVER_CORE)
        place(pair, placement)
        yield Lab(pair, server, placement, scratch)


def make_files(scratch: Path) -> Path:
    """A directory to serve, with the small file and a page."""
    root = scratch / "root"
    root.mkdir()
    (root / SMALL).write_bytes(b"x" * 63 + b"\n")
    (root / "index.html").write_bytes(b"<h1>bench</h1>\n")
    return root


def tune(pair: Pair) -> None:
    """Limits of the namespaces that a connection for each request, and many connections, run into."""
    for side in (pair.client, pair.server):
        for name, value in TUNING.items():
            side.write(f"/proc/sys/net/{name}", value)


def thread_receiving(pair: Pair) -> None:
    """Receive work in threads of its own on both sides, which GRO makes a veth have."""
    for side in (pair.client, pair.server):
        side.offload(tso=False, gso=False, gro=True)
        side.write(f"/sys/class/net/{side.interface}/threaded", 1)


def place(pair: Pair, placement: str) -> None:
    """Put receive work where the placement says; after the server's start, since XDP changes the features."""
    sides = ((pair.client, CLIENT_CORE), (pair.server, SERVER_CORE))
    if placement == "default":
        return
    if placement != "pinned":
        for side, _ in sides:
            side.offload(tso=False, gso=False, gro=False)
        return
    thread_receiving(pair)
    for side, core in sides:
        prefix = [f"napi/{side.interface}-"]
        threads = kernel_threads(prefix)
        if not threads:
            raise CommandError(f"{side.interface} has no NAPI thread: this kernel's veth cannot be pinned")
        for pid in threads:
            run("taskset", "-pc", str(core), str(pid))


def receive_first(pair: Pair) -> None:
    """Receive work before programs, as interrupts have it: a NAPI thread that waits for its turn, behind a
    server that polls without a pause, loses packets that no card would.
    """
    for side in (pair.server, pair.client):
        for pid in kernel_threads([f"napi/{side.interface}-"]):
            run("chrt", "--fifo", "--pid", "1", str(pid))


def machine() -> dict[str, str]:
    """What every result must say of the machine."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"kernel": platform.release(), "processor": model, "cores": str(os.cpu_count()),
            "mitigations": mitigations(), "python": platform.python_version()}


def mitigations() -> str:
    """The kernel's words on each weakness that this processor has."""
    folder = Path("/sys/devices/system/cpu/vulnerabilities")
    said = {path.name: path.read_text().strip() for path in sorted(folder.glob("*"))}
    needed = [f"{name}: {text}" for name, text in said.items() if text != "Not affected"]
    return "; ".join(needed) or "none needed"
