"""The shield before a running server: `serve --shield`, and `underpass shield` beside it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from underpass.linux.namespaces import until
from underpass.linux.netdev_features import netdev_features
from underpass.testing.namespaces import End, VethPair
from underpass.xdp.loader import XdpProgram

POLICY = """
[interface]
drop = ["udp"]
udp-ports = [5353]
[lists.bad]
prefixes = ["198.51.100.0/24"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("hello\n")
    (tmp_path / "shield.toml").write_text(POLICY)
    return tmp_path


Server = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve(veth: VethPair, site: Path) -> Iterator[Server]:
    """Starts `underpass serve` on our side, and waits until it says that it serves."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = veth.ours.command(sys.executable, "-m", "underpass.cli", "serve", str(site / "site"), "-i",
                                    veth.ours.interface, *words)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("serving"):
                return process
        raise AssertionError("it did not serve")

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


def shield(end: End, *words: str, status: int = 0) -> str:
    done = subprocess.run(end.command(sys.executable, "-m", "underpass.cli", "shield", *words),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def fetch(veth: VethPair, *words: str) -> str:
    done = veth.peer.run("curl", "-s", "--max-time", "30", *words, f"http://{veth.ours.v4}/index.html")
    return done.stdout


def datagrams(veth: VethPair, port: int) -> int:
    """How many of ten datagrams a socket of Linux on that port gets."""
    with veth.ours.entered():
        taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taker.bind((veth.ours.v4, port))
    with veth.peer.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with taker, sender:
        taker.settimeout(0.5 if port == 5000 else 20)
        for _ in range(10):
            sender.sendto(b"x", (veth.ours.v4, port))
        got = 0
        try:
            while got < 10:
                taker.recv(10)
                got += 1
        except TimeoutError:
            pass
    return got


def test_a_server_that_is_protected_from_its_start(veth: VethPair, serve: Server, site: Path) -> None:
    """UDP is dropped except to open ports; HTTP is served."""
    serve("--shield", str(site / "shield.toml"))
    assert fetch(veth) == "hello\n"
    assert datagrams(veth, 5000) == 0
    assert datagrams(veth, 5353) == 10
    stats = json.loads(shield(veth.ours, "stats", "--json"))
    assert stats["dropped"]["interface"]["dropped_protocol"]["packets"] == 10
    assert POLICY.strip() in shield(veth.ours, "show")


def test_blocks_from_beside(veth: VethPair, serve: Server, site: Path) -> None:
    serve()
    assert "no policy is loaded" in shield(veth.ours, "block", veth.peer.v4, status=1)
    assert "is in force: sections interface, services, list bad of 1 prefixes" in shield(
        veth.ours, "load", str(site / "shield.toml"))
    assert fetch(veth) == "hello\n"
    shield(veth.ours, "block", veth.peer.v4, "--for", "10m")
    assert f"{veth.peer.v4}/32  blocked" in shield(veth.ours, "show")
    with veth.peer.entered(), pytest.raises(TimeoutError):
        socket.create_connection((veth.ours.v4, 80), timeout=1)
    shield(veth.ours, "unblock", veth.peer.v4)
    assert fetch(veth) == "hello\n"
    assert "neither blocked nor allowed" in shield(veth.ours, "unblock", veth.peer.v4, status=1)


def opened(veth: VethPair) -> socket.socket:
    """A connection that is served. Raises TimeoutError where nobody answers."""
    with veth.peer.entered():
        client = socket.create_connection((veth.ours.v4, 80), timeout=2)
    try:
        client.sendall(b"HEAD /index.html HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    except BaseException:
        client.close()
        raise
    return client


def is_served(veth: VethPair) -> bool:
    try:
        opened(veth).close()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("cookies", ["off", "always"])
def test_a_source_has_so_many_connections_whatever_becomes_of_workers(
    veth: VethPair, serve: Server, site: Path, cookies: str
) -> None:
    """The limit holds over the death of the worker that has them, and a restart, and ends with them."""
    (site / "shield.toml").write_text('[[services.rate]]\nper = "source"\nconnections = 3\n')
    process = serve("--workers", "1", "--admission", "--syn-cookies", cookies,
                    "--shield", str(site / "shield.toml"))
    with veth.peer.entered(), XdpProgram(netdev_features(veth.peer.interface)):     # that XDP can answer
        clients = [opened(veth) for _ in range(3)]
        assert not is_served(veth)
        (worker,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        os.kill(worker, signal.SIGKILL)
        assert process.stdout is not None
        assert any("serves again" in line for line in process.stdout)
        assert not is_served(veth)
        subprocess.run([sys.executable, "-m", "underpass.cli", "restart", "--pid", str(process.pid)],
                       check=True, capture_output=True, timeout=60)
        assert not is_served(veth)
        clients.pop().close()
        assert until(lambda: is_served(veth), 20)
        for client in clients:
            client.close()
    stats = json.loads(shield(veth.ours, "stats", "--json"))
    assert stats["dropped"]["services"]["dropped_connections"]["packets"] >= 3


def test_a_limit_needs_a_server_that_counts(veth: VethPair, serve: Server, site: Path) -> None:
    (site / "shield.toml").write_text('[[services.rate]]\nper = "source"\nconnections = 3\n')
    serve()
    said = shield(veth.ours, "load", str(site / "shield.toml"), status=1)
    assert "start it with --admission, or --syn-cookies auto" in said
    assert is_served(veth)


def test_the_policy_outlives_a_restart_of_the_workers(veth: VethPair, serve: Server, site: Path) -> None:
    process = serve("--workers", "1", "--shield", str(site / "shield.toml"))
    shield(veth.ours, "block", "203.0.113.0/24")
    subprocess.run([sys.executable, "-m", "underpass.cli", "restart", "--pid", str(process.pid)], check=True,
                   capture_output=True, timeout=60)
    assert "203.0.113.0/24" in shield(veth.ours, "show")
    assert until(lambda: fetch(veth) == "hello\n", 10)
    assert datagrams(veth, 5000) == 0


def test_dropped_packets_in_a_capture_file(veth: VethPair, serve: Server, site: Path) -> None:
    (site / "shield.toml").write_text("samples = true\n" + POLICY)
    serve("--shield", str(site / "shield.toml"))
    assert datagrams(veth, 5000) == 0
    dropped = f"> {veth.ours.v4}.5000: UDP, length 1 (dropped: protocol in interface)"
    assert dropped in shield(veth.ours, "drops")
    (row, *_) = shield(veth.ours, "drops", "--json").splitlines()
    assert json.loads(row)["reason"] == "dropped_protocol"
    shield(veth.ours, "drops", "-w", str(site / "drops.pcapng"))
    read = ["tcpdump", "-nr", str(site / "drops.pcapng")]
    done = subprocess.run(read, capture_output=True, text=True, check=True)
    assert f"> {veth.ours.v4}.5000: UDP, length 1" in done.stdout


def test_the_policy_outlives_its_supervisor(veth: VethPair, serve: Server, site: Path) -> None:
    """Killed, it leaves program and maps to the workers; the next one, without a policy, has the same."""
    process = serve("--workers", "1", "--shield", str(site / "shield.toml"))
    shield(veth.ours, "block", "203.0.113.0/24")
    process.kill()
    process.wait()
    assert "203.0.113.0/24" in shield(veth.ours, "show")
    assert datagrams(veth, 5000) == 0
    serve("--workers", "1")
    shown = shield(veth.ours, "show")
    assert POLICY.strip() in shown
    assert "203.0.113.0/24" in shown
    assert fetch(veth) == "hello\n"
    assert datagrams(veth, 5000) == 0
    assert datagrams(veth, 5353) == 10


def test_faults_of_a_policy_keep_the_server_from_starting(veth: VethPair, site: Path) -> None:
    (site / "shield.toml").write_text("[interface]\ndrop = ['upd']\n")
    done = subprocess.run(
        veth.ours.command(sys.executable, "-m", "underpass.cli", "serve", str(site / "site"), "-i",
                          veth.ours.interface, "--shield", str(site / "shield.toml")),
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{site}/shield.toml:2: interface.drop: a protocol" in done.stderr


def test_check_names_every_fault_and_needs_no_server(site: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "underpass.cli", "shield", "check"]
    right = str(site / "shield.toml")
    done = subprocess.run([*command, right], capture_output=True, text=True, check=True)
    assert done.stdout == f"{right}: right; sections interface, services, list bad of 1 prefixes\n"
    (tmp_path / "bad.toml").write_text("[interface]\ndrop = 'upd'\nbogons = 'none'\n")
    done = subprocess.run([*command, str(tmp_path / "bad.toml")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    keys = [line.split(": ")[1] for line in done.stderr.splitlines()]
    assert keys == ["interface.drop", "interface.bogons"]


def test_without_a_server_the_shield_says_so(veth: VethPair) -> None:
    assert "Underpass serves no interface here" in shield(veth.ours, "show", status=1)


def test_http_is_served_beside_a_flood_of_datagrams(veth: VethPair, serve: Server, site: Path) -> None:
    """Every request is answered, while the sender has sent thousands and Linux has seen none."""
    serve("--shield", str(site / "shield.toml"))
    flood = subprocess.Popen(veth.peer.command(sys.executable, "-c", FLOOD, veth.ours.v4))
    try:
        assert [fetch(veth) for _ in range(20)] == ["hello\n"] * 20
        assert until(lambda: dropped(veth) >= 5000, 20)
        assert datagrams(veth, 5353) == 10
    finally:
        flood.kill()
        flood.wait()


FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    while True:
        sender.sendto(bytes(64), (sys.argv[1], 9999))
"""


def dropped(veth: VethPair) -> int:
    stats = json.loads(shield(veth.ours, "stats", "--json"))
    return int(stats["dropped"]["interface"].get("dropped_protocol", {"packets": 0})["packets"])


def test_the_heaviest_source_is_blocked(veth: VethPair, serve: Server, site: Path) -> None:
    (site / "shield.toml").write_text('[interface]\n[detection]\npackets = 1000\nblock-for = "10m"\n')
    serve("--shield", str(site / "shield.toml"))
    flood = subprocess.Popen(veth.peer.command(sys.executable, "-c", FLOOD, veth.ours.v4))
    try:
        assert until(lambda: "blocked as heavy" in shield(veth.ours, "show"), 20)
    finally:
        flood.kill()
        flood.wait()
    (row,) = json.loads(shield(veth.ours, "show", "--json"))["blocks"]
    assert (row["network"], row["kind"]) == (f"{veth.peer.v4}/32", "heavy")
    assert 500 < row["left_s"] <= 600
    assert json.loads(shield(veth.ours, "stats", "--json"))["detection"]["blocked"] == 1


def test_nftables_rules_become_a_policy(veth: VethPair, tmp_path: Path) -> None:
    veth.ours.run("nft", "add", "table", "inet", "filter")
    veth.ours.run("nft", "add", "chain", "inet", "filter", "input", "{ type filter hook input priority 0 ; }")
    veth.ours.run("nft", "add", "rule", "inet", "filter", "input", "ip saddr 192.0.2.0/24 tcp dport 80 drop")
    words = ["-m", "underpass.cli", "doctor", "-i", veth.ours.interface, "--import"]
    done = veth.ours.run(sys.executable, *words)
    (tmp_path / "imported.toml").write_text(done.stdout)
    assert 'from = ["192.0.2.0/24"]' in done.stdout
    command = [sys.executable, "-m", "underpass.cli", "shield", "check", str(tmp_path / "imported.toml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "right; sections services" in checked.stdout
