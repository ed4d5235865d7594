"""Several directories under one server: each on its own addresses and port, all of them by every worker."""

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.readable import make_readable

from underpass import observe
from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

OTHER = "198.18.0.78"
SETTINGS = """
interface = "{interface}"
{more}
[[site]]
directory = "{scratch}/root"
[[site]]
{api}
directory = "{scratch}/api"
port = 8080
address = ["198.18.0.2", "fd00:18::2"]
access-log = "{scratch}/api.log"
[[site]]
directory = "{scratch}/other"
port = 8080
address = ["198.18.0.78"]
"""


class Sites(Underpass):
    """A server by its settings."""

    def command(self) -> list[str]:
        return [*super().command()[:3], "serve", "--config", str(self.scratch / "site.toml")]

    def path(self) -> str:
        return ""

    def workers(self) -> list[int]:
        return self.pids()[1:]

    def get(self, host: str, port: int) -> str:
        url = f"http://{host}:{port}/"
        return self.pair.client.run("curl", "-gsS", "--max-time", "3", url, check=False).stdout

    def events(self) -> list[dict[str, Any]]:
        """What it has logged, as JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def event(self, name: str, **fields: object) -> dict[str, Any]:
        """The last one of that name, with these fields; waits for it."""
        def found() -> list[dict[str, Any]]:
            return [it for it in self.events() if it["event"] == name and fields.items() <= it.items()]

        assert until(lambda: bool(found()), 10), self.log.read_text()
        return found()[-1]


Start = Callable[..., Sites]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    make_readable(tmp_path)
    for name in ("root", "api", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
    with Pair(queues=2) as pair:
        pair.server.run("ip", "addr", "add", f"{OTHER}/15", "dev", pair.server.interface)

        def begin(more: str, api: str = "") -> Sites:
            settings = SETTINGS.format(interface=pair.server.interface, scratch=tmp_path, more=more, api=api)
            (tmp_path / "site.toml").write_text(settings)
            return Sites(pair, tmp_path / "root", tmp_path, None)

        yield begin


@pytest.mark.parametrize("more", ["", "workers = 2"])
def test_each_site_is_served_where_it_says(start: Start, more: str) -> None:
    served = start(more)
    answers = {(host, port): served.get(host, port)
               for host in ("198.18.0.2", OTHER, "[fd00:18::2]") for port in (80, 8080)}
    assert answers == {("198.18.0.2", 80): "root", (OTHER, 80): "root", ("[fd00:18::2]", 80): "root",
                       ("198.18.0.2", 8080): "api", (OTHER, 8080): "other", ("[fd00:18::2]", 8080): "api"}
    said = served.log.read_text()
    assert f"serving {served.scratch}/api on port 8080 of 198.18.0.2, fd00:18::2" in said
    assert served.stop() == 0
    assert len((served.scratch / "api.log").read_text().splitlines()) == 2      # no other site's


def test_every_worker_serves_every_site(start: Start) -> None:
    served = start("workers = 2")
    for pid in served.workers():
        listening = {(row["local"], row["local_port"]) for row in observe.connections(pid)
                     if row["state"] == "LISTEN"}
        assert listening == {("0.0.0.0", 80), ("::", 80), ("198.18.0.2", 8080), ("fd00:18::2", 8080),
                             (OTHER, 8080)}


def listening(pid: int) -> set[int]:
    """Ports on which a worker accepts connections."""
    return {int(row["local_port"]) for row in observe.connections(pid) if row["state"] == "LISTEN"}


def test_a_site_may_have_workers_of_its_own(start: Start) -> None:
    """Its connections are its worker's, from whatever queue their packets come, and nobody else's are."""
    served = start("workers = 2", "own-workers = 1")
    own, shared = served.workers()
    assert (listening(own), listening(shared)) == ({8080}, {80, 8080})      # 8080 is another site's as well
    clients = []
    with inside(served.pair.client.name):
        for _ in range(40):
            for port, body in ((8080, b"api"), (80, b"root")):
                clients.append(socket.create_connection(("198.18.0.2", port), timeout=10))
                clients[-1].sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert clients[-1].recv(4096).endswith(body)
    has = {pid: [row["local_port"] for row in observe.connections(pid) if row["state"] == "ESTABLISHED"]
           for pid in (own, shared)}
    assert has == {own: [8080] * 40, shared: [80] * 40}
    counters = [{row["name"]: row["value"] for row in observe.stats(pid)} for pid in (own, shared)]
    assert all(it["handed_over"] for it in counters), "packets come to both queues"


def test_workers_that_die_come_back_to_their_own_sites(start: Start) -> None:
    served = start("workers = 2", "own-workers = 1")
    clients = []
    with inside(served.pair.client.name):
        for port, body in ((80, b"root"), (8080, b"api")) * 4:
            clients.append((socket.create_connection(("198.18.0.2", port), timeout=10), body))

    def all_answer() -> bool:
        for client, _ in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        return all(client.recv(4096).endswith(body) for client, body in clients)

    assert all_answer()
    for number, pid in enumerate(served.workers(), 1):
        os.kill(pid, signal.SIGKILL)
        assert until(lambda n=number: served.log.read_text().count("serves again") == n, 30)
        assert all_answer()
    assert sorted(sorted(listening(pid)) for pid in served.workers()) == [[80, 8080], [8080]]


def test_connections_of_every_site_go_on_in_new_processes(start: Start) -> None:
    served = start("workers = 2")
    clients = []
    with inside(served.pair.client.name):
        for host, port, _ in (where := [("198.18.0.2", 80, b"root"), ("198.18.0.2", 8080, b"api"),
                                        (OTHER, 8080, b"other")] * 4):
            clients.append(socket.create_connection((host, port), timeout=10))
    before = served.workers()

    def all_answer() -> bool:
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        return all(client.recv(4096).endswith(body)
                   for client, (_, _, body) in zip(clients, where, strict=True))

    assert all_answer()
    os.kill(served.process.pid, signal.SIGHUP)
    assert until(lambda: served.log.read_text().count("serves again") == 2, 30), served.log.read_text()
    assert not set(before) & set(served.workers())
    assert all_answer()


def test_a_second_supervisor_is_told_who_holds_the_interface(start: Start) -> None:
    served = start("workers = 2")
    server = served.pair.server
    second = server.run(*served.command()[:3], "serve", str(served.root), "-i", server.interface,
                        "--port", "81", "--workers", "1", check=False)
    assert second.returncode == 1
    assert re.fullmatch(
        rf"underpass: {server.interface} is served by process {served.process.pid} \(.* serve --config .*\)"
        r" already: stop that, or have it serve this as well, as one more \[\[site\]\] of its settings\n",
        second.stderr)
    assert served.get("198.18.0.2", 80) == "root"


def test_the_doctor_says_who_holds_the_interface_and_what_becomes_of_vlan_tags(start: Start) -> None:
    served = start("workers = 2")
    server = served.pair.server

    def findings() -> dict[str, dict[str, str]]:
        done = server.run("underpass", "doctor", "-i", server.interface, "--json", check=False)
        return {it["name"]: it for it in json.loads(done.stdout)}

    program = findings()["XDP program"]
    assert program["status"] == "fail"
    for pid in served.pids():
        assert f"process {pid} (" in program["detail"]
    taken = "rx-vlan-offload: on" in server.run("ethtool", "-k", server.interface).stdout
    assert findings()["VLAN tags"]["status"] == ("warn" if taken else "ok")


def test_what_happens_is_logged_by_name(start: Start) -> None:
    served = start('workers = 2\nlog-format = "json"')
    server = served.pair.server
    started = served.event("started")
    assert started["path"].startswith(f"{server.interface} (veth): native XDP")
    assert [it["port"] for it in served.events() if it["event"] == "serving"] == [80, 8080, 8080]
    claimed = {(it["address"], it["port"]) for it in served.events() if it["event"] == "claim"}
    assert {("198.18.0.2", 80), ("198.18.0.2", 8080), (OTHER, 8080), ("fd00:18::2", 80)} <= claimed
    victim = served.workers()[1]
    os.kill(victim, signal.SIGKILL)
    died = served.event("worker_died")
    assert (died["worker"], died["pid"], died["queues"]) == (1, victim, [1])
    assert (died["level"], died["reason"]) == ("warning", "was killed by SIGKILL")
    assert served.event("worker_serves")["worker"] == 1
    server.run("ip", "link", "set", server.interface, "mtu", "1400")
    assert (served.event("mtu_changed")["before"], served.event("mtu_changed")["now"]) == (1500, 1400)
    server.run("ip", "addr", "add", "198.18.0.79/15", "dev", server.interface)
    assert served.event("addresses_changed", came=["198.18.0.79"])["went"] == []
    client = served.pair.client
    client.run("ip", "link", "set", client.interface, "down")
    assert served.event("link_down")["reason"] == "it has no carrier"
    client.run("ip", "link", "set", client.interface, "up")
    assert served.event("link_up")["interface"] == server.interface
    os.kill(served.process.pid, signal.SIGHUP)
    assert served.event("reload")["workers"] == 2
    assert served.stop() == 0
    assert served.event("drain")["seconds"] == 5
    assert served.event("ended")["counters"]["http"]["requests"] >= 1
    assert all({"time", "level", "event", "message"} <= it.keys() for it in served.events())


def test_an_interface_that_goes_is_the_last_event(start: Start) -> None:
    served = start('workers = 2\nlog-format = "json"')
    server = served.pair.server
    server.run("ip", "link", "del", server.interface)
    assert served.process.wait(10) == 1
    last = served.events()[-1]
    assert (last["event"], last["level"]) == ("failed", "error")
    assert last["reason"] == f"interface {server.interface} was removed"
