"""HTTP from the user-space stack on each driver, to ordinary clients of Linux, with Linux beside it."""

import contextlib
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.cards import CARDS, Card
from tests.drivers.machine import Ground
from tests.workers.test_queues import shouting

from underpass.linux.namespaces import until

PAGE, LARGE = "page.txt", "large.bin"
SIZES = {PAGE: 64, LARGE: 4_000_000}
KERNEL_PORT = 8080
SEVERAL_QUEUES = {name: card for name, card in CARDS.items() if int(card.row["RSS queues"][0]) > 1}
KNOWN_HASH = {name: card for name, card in SEVERAL_QUEUES.items() if card.tells_hash}
CALLS = 100                     # connections of each worker


@pytest.fixture(scope="session")
def sites() -> dict[int, str]:
    """Of each agent, the directory that it has made."""
    return {}


@pytest.fixture
def site(ground: Ground, sites: dict[int, str]) -> str:
    """The directory that is served, where it is served."""
    return sites.setdefault(id(ground.agent), ground.call("make_site", sizes=SIZES))


@dataclass(frozen=True)
class Served:
    """The process that serves, and the line that says which path is active."""

    pid: int
    path: str


@contextlib.contextmanager
def serving(ground: Ground, site: str, *options: str) -> Iterator[Served]:
    """`underpass serve`. Ended by SIGTERM it leaves nothing attached."""
    argv = ["-m", "underpass.cli", "serve", site, "-i", ground.interface, *options]
    started = ground.call("start", argv=argv, until="serving")
    try:
        ground.ask("wait_for_carrier")
        yield Served(started["pid"], started["said"].splitlines()[0])
    finally:
        ended = ground.call("stop", pid=started["pid"])
    assert ended["status"] == 0, ended["said"]
    assert ground.ask("facts")["attached"] is None


def fetch(ground: Ground, name: str, address: str | None = None) -> bytes:
    """curl at the peer's end."""
    done = subprocess.run(ground.peer.command("curl", "-sS", "--max-time", "60", url(ground, name, address)),
                          capture_output=True, check=False, timeout=70)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def url(ground: Ground, name: str, address: str | None = None) -> str:
    """Where it is served."""
    host = address or ground.ours.v4
    return f"http://[{host}]/{name}" if ":" in host else f"http://{host}/{name}"


def content(name: str) -> bytes:
    """As `bench.make_site` has written it."""
    return (name.encode() * (SIZES[name] // len(name) + 1))[:SIZES[name]]


def wrk(ground: Ground, connections: int) -> int:
    """Two seconds of load: requests, all of them answered as they should be."""
    load = ("wrk", "-t1", f"-c{connections}", "-d2s", "--timeout", "20s", url(ground, PAGE))
    said = ground.peer.run(*load).stdout
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
    found = re.search(r"(\d+) requests in", said)
    assert found, said
    return int(found[1])


def test_a_directory_is_served_beside_linux(ground: Ground, card: Card, site: str) -> None:
    """A page over both families, a large file, wrk; ping and another port of the same address are Linux's."""
    with serving(ground, site) as served:
        mode = "native XDP" if card.native else "generic XDP"
        copies = "zero-copy" if card.zero_copy else "copy mode"
        assert f"({card.driver}): {mode}, {copies}, need wakeup" in served.path
        for address in (ground.ours.v4, ground.ours.v6):
            assert fetch(ground, PAGE, address) == content(PAGE)
            assert ground.peer.run("ping", "-c2", "-i0.2", "-W5", address).returncode == 0
        assert hashlib.sha256(fetch(ground, LARGE)).digest() == hashlib.sha256(content(LARGE)).digest()
        assert wrk(ground, connections=10) > 20
        linux = ["-m", "http.server", str(KERNEL_PORT), "--directory", site]
        beside = ground.call("start", argv=linux, until="Serving")
        try:
            where = f"http://{ground.ours.v4}:{KERNEL_PORT}/{PAGE}"
            assert "SimpleHTTP" in ground.peer.run("curl", "-sSI", "--max-time", "20", where).stdout
        finally:
            ground.call("stop", pid=beside["pid"])


@pytest.mark.parametrize("card", SEVERAL_QUEUES.values(), ids=SEVERAL_QUEUES, indirect=True)
def test_workers_share_the_queues(ground: Ground, site: str) -> None:
    """Two unprivileged workers, several flows for each queue: both accept, nothing is handed over."""
    with serving(ground, site, "--workers", "2") as served:
        assert wrk(ground, connections=32) > 20
        workers = ground.call("children", pid=served.pid)
        said = json.loads(ground.call("underpass", argv=["stats", "tcp", "--json", "--all"]))
    ours = [row for row in said["counters"] if row["pid"] in workers]
    opens, handed_over = ([row["value"] for row in ours if row["name"] == name]
                          for name in ("passive_opens", "handed_over"))
    assert len(opens) == 2
    assert min(opens) > 0
    assert handed_over == [0, 0]


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("card", KNOWN_HASH.values(), ids=KNOWN_HASH, indirect=True)
def test_source_ports_bring_answers_to_the_worker_that_asks(ground: Ground, family: str) -> None:
    """Two workers open connections, from ports that are chosen by the device's own key and table."""
    address = getattr(ground.peer, family)
    with shouting(ground.peer.name, address) as (port, clients):
        wanted = {"workers": 2, "source_ports": 1024, "address": address, "port": port, "connections": CALLS}
        argv = ["-m", "tests.workers.outgoing", ground.interface, json.dumps(wanted)]
        callers = ground.call("start", argv=argv, until="ready")
        try:
            assert until(lambda: len(clients) == 2 * CALLS, 60)
        finally:
            said = ground.call("stop", pid=callers["pid"])["said"]
    counters = json.loads(said.splitlines()[-1])
    assert counters["caller"] == {"done": 2 * CALLS, "failed": 0}
    assert counters["tcp"]["ports_steered"] == 2 * CALLS
    assert counters["tcp"]["answers_elsewhere"] == counters["tcp"]["handed_over"] == 0


def grows(path: Path, by: int) -> bool:
    """Whether a file becomes larger by more than what was on its way already."""
    before = path.stat().st_size
    return until(lambda: path.stat().st_size > before + by, 30)


def test_a_download_outlives_the_link(ground: Ground, site: str, tmp_path: Path, seen: Any) -> None:
    """The cable is pulled and put back, then the interface goes down and up, while a file is on its way."""
    got = tmp_path / LARGE
    ground.peer.run("sysctl", "-qw", "net.ipv4.tcp_rmem=4096 65536 65536")
    with serving(ground, site):
        client = ground.peer.popen("curl", "-sS", "--limit-rate", "800k", "--max-time", "90", "-o", str(got),
                                   url(ground, LARGE))
        try:
            assert until(lambda: got.exists() and got.stat().st_size > 100_000, 30)
            ground.set_cable(False)
            ground.ask("wait_for_carrier", there=False)
            ground.set_cable(True)
            ground.ask("wait_for_carrier")
            assert grows(got, by=500_000)
            ground.call("run", argv=["ip", "link", "set", ground.interface, "down"])
            ground.call("run", argv=["ip", "link", "set", ground.interface, "up"])
            assert grows(got, by=500_000)
            assert client.wait(90) == 0, client.communicate()[1]
        finally:
            client.kill()
            client.communicate()
        assert got.read_bytes() == content(LARGE)
        assert fetch(ground, PAGE) == content(PAGE)
    seen("link down and up", "yes")
