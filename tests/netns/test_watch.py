"""A server under load, looked at by every command: they show what is there, and the load does not notice."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root"),
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
]

CONNECTIONS = 10


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Underpass]:
    scratch = tmp_path_factory.mktemp("watched")
    root = scratch / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"x" * 1000)
    with Pair() as pair:
        server = Underpass(pair, root, scratch, None)
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def load(served: Underpass) -> Iterator[subprocess.Popen[str]]:
    """wrk's connections, for as long as the module's tests take."""
    wrk = served.pair.client.start("wrk", "-t1", f"-c{CONNECTIONS}", "-d120", served.url("index.html"))
    assert until(lambda: len(ss(served, "dst", served.pair.client.address)) >= CONNECTIONS, 20)
    yield wrk
    served.pair.client.stop(wrk)


def underpass(served: Underpass, *words: str) -> str:
    """What a command says, run beside the server."""
    return served.pair.server.run(sys.executable, "-m", "underpass.cli", *words).stdout


def ss(served: Underpass, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        underpass(served, "ss", "--pid", str(served.process.pid), "--json", *words))
    return rows


def test_ss_shows_the_connections_that_linux_has(served: Underpass, load: subprocess.Popen[str]) -> None:
    server, client = served.pair.server, served.pair.client
    theirs = client.run("ss", "-Htn", "state", "established", "dst", f"{server.address}:80").stdout
    ports = {int(line.split()[2].rpartition(":")[2]) for line in theirs.splitlines()}
    assert len(ports) == CONNECTIONS
    assert {row["remote_port"] for row in ss(served, "sport", "=", ":80", "dst", client.address)} == ports
    shown = underpass(served, "ss", "-tanpie", "--pid", str(served.process.pid))
    assert re.search(r"^LISTEN +\d+ +1024 +0\.0\.0\.0:80 +0\.0\.0\.0:\* ", shown, re.MULTILINE)
    assert re.search(r"^LISTEN .* \[::\]:80 +\[::\]:\* ", shown, re.MULTILINE)
    found = re.findall(rf"^ESTAB .* {re.escape(server.address)}:80 +{re.escape(client.address)}:\d+ +"
                       rf'users:\(\("[^"]+",pid={served.process.pid}\)\).* uid:0 sk:\d+\.\d+.*\n\t ts sack '
                       r"cubic wscale:\d+,\d+ rto:[\d.]+ rtt:[\d.]+/[\d.]+ mss:1448 cwnd:\d+.* "
                       r"bytes_acked:\d+ bytes_received:\d+ ", shown, re.MULTILINE)
    assert len(found) == CONNECTIONS


def test_link_local_addresses_have_their_interface(served: Underpass) -> None:
    server, client = served.pair.server, served.pair.client
    [local] = re.findall(r"inet6 (fe80::\S+)/", server.run(
        "ip", "addr", "show", "dev", server.interface, "scope", "link").stdout)
    with inside(client.name), socket.create_connection((f"{local}%{client.interface}", 80), 20) as connection:
        address, port = connection.getsockname()[:2]
        bare = address.partition("%")[0]
        # Linux takes a global source as long as it has not made sure of its link-local one.
        peer = f"[{bare}]%{server.interface}" if bare.startswith("fe80:") else f"[{bare}]"
        [line] = underpass(served, "ss", "-Htn", "src", f"[{local}]:80").splitlines()
        assert line.split()[:5] == ["ESTAB", "0", "0", f"[{local}]%{server.interface}:80",
                                    f"{peer}:{port}"]


def test_stats_have_every_layer(served: Underpass, load: subprocess.Popen[str]) -> None:
    pid = str(served.process.pid)
    said = json.loads(underpass(served, "stats", "--pid", pid, "--json"))
    found = {(row["layer"], row["name"]): row["value"] for row in said["counters"]}
    assert {layer for layer, _ in found} == {"xdp", "socket", "link", "refused", "tcp", "pool", "loop"}
    assert found["xdp", "redirected_claimed"] > 0
    assert found["link", "rx_packets"] > 0 and found["tcp", "segments_in"] > 0
    assert found["link", "tx_bytes"] > found["link", "tx_packets"] > 0
    assert 0 < found["pool", "free"] < found["pool", "frames"]
    assert found["tcp", "passive_opens"] >= CONNECTIONS
    shown = underpass(served, "stats", "--pid", pid, "--interval", "1.2", "--count", "1", "link", "xdp")
    assert re.search(r"^link +rx_packets +[\d,.]+/s$", shown, re.MULTILINE)
    assert re.search(r"^xdp +redirected_claimed +[\d,.]+/s$", shown, re.MULTILINE)
    assert "dropped_no_socket" not in shown


def test_xdp_s_counters_are_copied_while_the_worker_works(served: Underpass,
                                                          load: subprocess.Popen[str]) -> None:
    """What XDP redirected is what the link received but for the age of the copy: it catches up."""
    def redirected_and_received() -> tuple[int, int]:
        said = json.loads(underpass(served, "stats", "--pid", str(served.process.pid), "--json"))
        found = {(row["layer"], row["name"]): row["value"] for row in said["counters"]}
        return found["xdp", "redirected_claimed"], found["link", "rx_packets"]

    _, received = redirected_and_received()
    assert until(lambda: redirected_and_received()[0] >= received, 20)


def test_top_shows_the_pace(served: Underpass, load: subprocess.Popen[str]) -> None:
    pid = str(served.process.pid)
    said = json.loads(underpass(served, "top", "--pid", pid, "--once", "--json", "--interval", "1"))
    [worker] = said["workers"]
    assert worker["interface"] == served.pair.server.interface
    assert worker["connections"] >= CONNECTIONS
    assert worker["rx_pps"] > 0 and worker["tx_bps"] > 8 * 1000 and worker["cpu_percent"] > 0
    assert worker["core"] in range(os.cpu_count() or 1)
    assert {row["remote"] for row in said["talkers"]} == {served.pair.client.address}
    assert len(said["talkers"]) == CONNECTIONS
    [remote] = said["remotes"]
    assert (remote["remote"], remote["connections"]) == (served.pair.client.address, CONNECTIONS)
    # Both count the octets of one second, the link with headers.
    assert 0 < remote["sent_per_s"] * 8 < worker["tx_bps"]
    assert re.search(rf"^ *{pid} +{worker['interface']} ", underpass(
        served, "top", "--pid", pid, "--once", "--interval", "0.2"), re.MULTILINE)


def test_metrics_are_served_on_a_socket_of_linux(served: Underpass, load: subprocess.Popen[str]) -> None:
    pytest.importorskip("prometheus_client", reason="the extra `metrics` is not installed")
    server = served.pair.server
    exporter = server.start(sys.executable, "-m", "underpass.cli", "metrics")
    mute = []
    try:
        def scrape() -> str:
            return server.run("curl", "-sS", "--max-time", "5", "http://127.0.0.1:9464/metrics",
                              check=False).stdout

        assert until(lambda: "underpass_worker{" in scrape(), 20)
        who = f'interface="{server.interface}",pid="{served.process.pid}"'
        text = scrape()
        assert float(re.findall(rf'^underpass_connections{{{who},state="established"}} (.*)$', text,
                                re.MULTILINE)[0]) >= CONNECTIONS
        assert float(re.findall(rf'^underpass_xdp_packets_total{{{who},result="redirected_claimed"}} (.*)$',
                                text, re.MULTILINE)[0]) > 0
        assert float(re.findall(rf"^underpass_frames_free{{{who}}} (.*)$", text, re.MULTILINE)[0]) > 0
        mute = [server.start("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9464; exec sleep 60")
                for _ in range(20)]
        acked = acknowledged(served)
        assert until(lambda: acknowledged(served) > acked, 20)
        assert load.poll() is None
    finally:
        for process in [*mute, exporter]:
            server.stop(process)


def acknowledged(served: Underpass) -> int:
    return sum(row["bytes_acked"] for row in ss(served, "sport", "=", ":80"))
