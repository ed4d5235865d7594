"""The engine over DPDK: `serve --io dpdk` beside Linux, and by hand over AF_PACKET and a TAP device."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netns.beside import get

from underpass.apps.bench.clients import wrk
from underpass.apps.bench.servers import Dpdk
from underpass.linux.namespaces import CommandError, Namespace, Pair

pytest.importorskip("underpass.link.dpdk", reason="built without DPDK: libdpdk-dev was not there")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

# A server on a device of DPDK's that Linux sees all packets of: on an address that Linux has not.
BY_HAND = """
import sys
from underpass.apps.serve import HttpServer
from underpass.link.dpdk import DpdkLink
from underpass.link.frames import Frames
from underpass.stack.stack import Stack
vdev, root, mac, ours, peer, peer_mac = sys.argv[1:]
link = DpdkLink(Frames(4096), vdev, partial=True)
stack = Stack(link, bytes.fromhex(mac.replace(":", "")))
stack.set_addresses([(ours, 24)])
stack.set_routes([(ours.rpartition(".")[0] + ".0", 24, None, None, 0, 0)])
server = HttpServer(stack, root)
server.listen(ours, 80)
print(link.label, flush=True)
stack.set_neighbour(peer, bytes.fromhex(peer_mac.replace(":", "")))
while True:
    stack.run(0.1)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "index.html").write_bytes(b"index")
    (folder / "large").write_bytes(os.urandom(3_000_000))
    return folder


@pytest.fixture
def served(root: Path, tmp_path: Path) -> Iterator[Dpdk]:
    with Pair() as pair:
        server = Dpdk(pair, root, tmp_path, None)
        yield server
        assert server.stop() == 0
        assert "xdp" not in pair.server.run("ip", "link", "show", "dev", pair.server.interface).stdout


def test_files_arrive_and_linux_keeps_the_rest(served: Dpdk, root: Path, tmp_path: Path) -> None:
    pair = served.pair
    assert "native XDP, DPDK over AF_XDP copy mode" in served.path()
    out = tmp_path / "out"
    pair.client.run("curl", "-sS", "-o", str(out), served.url("large"))
    assert out.read_bytes() == (root / "large").read_bytes()
    assert get(served, f"[{pair.server.address6}]") == "index"
    pair.client.run("ip", "neigh", "flush", "dev", pair.client.interface)
    pair.client.run("ping", "-c", "1", "-W", "5", pair.server.address)             # ARP and ICMP are Linux's
    kernel = pair.server.start(sys.executable, "-m", "http.server", "8080", "--directory", str(root))
    words = ("curl", "-sS", "--retry", "9", "--retry-connrefused", f"http://{pair.server.address}:8080/")
    assert pair.client.run(*words).stdout == "index"
    pair.server.stop(kernel)


def test_many_connections_are_served(served: Dpdk, tmp_path: Path) -> None:
    answer = wrk(served.pair.client, served.url(""), tmp_path, connections=50, seconds=1, core=0)
    assert answer.requests > 0
    assert answer.errors == 0


def test_several_queues_of_a_veth_are_refused_in_one_line(root: Path, tmp_path: Path) -> None:
    """DPDK's driver counts combined queues; a veth's are separate."""
    with Pair(queues=2) as pair:
        with pytest.raises(CommandError, match="it knows combined queues only"):
            Dpdk(pair, root, tmp_path, None)
        assert "xdp" not in pair.server.run("ip", "link", "show", "dev", pair.server.interface).stdout


def by_hand(where: Namespace, vdev: str, root: Path, *words: str, log: Path) -> str:
    """Start it, and return its label."""
    with log.open("w") as output:
        process = where.start(sys.executable, "-c", BY_HAND, vdev, str(root), *words, output=output)
    while not log.read_text().endswith("\n"):
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    return log.read_text().strip()


def test_af_packet(root: Path, tmp_path: Path) -> None:
    with Pair() as pair:
        ours, mac = "198.18.0.99", pair.server.mac_text
        label = by_hand(pair.server, f"net_af_packet0,iface={pair.server.interface}", root, mac, ours,
                        pair.client.address, pair.client.mac_text, log=tmp_path / "log")
        assert label == "DPDK over AF_PACKET"
        pair.client.run("ip", "neigh", "replace", ours, "lladdr", mac, "dev", pair.client.interface)
        out = tmp_path / "out"
        pair.client.run("curl", "-sS", "--max-time", "30", "-o", str(out), f"http://{ours}/large")
        assert out.read_bytes() == (root / "large").read_bytes()


def test_tap(root: Path, tmp_path: Path) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("this machine has no /dev/net/tun")
    with Pair() as pair:
        mac, peer_mac = "02:00:00:00:77:01", "02:00:00:00:77:02"
        label = by_hand(pair.server, f"net_tap0,iface=utap0,mac={peer_mac}", root, mac, "192.0.2.1",
                        "192.0.2.2", peer_mac, log=tmp_path / "log")
        assert label == "DPDK over a TAP device"
        for words in ("addr add 192.0.2.2/24 dev utap0", "link set utap0 up",
                      f"neigh replace 192.0.2.1 lladdr {mac} dev utap0"):
            pair.server.run("ip", *words.split())
        out = tmp_path / "out"
        pair.server.run("curl", "-sS", "--max-time", "30", "-o", str(out), "http://192.0.2.1/large")
        assert out.read_bytes() == (root / "large").read_bytes()
