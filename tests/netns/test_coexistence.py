"""What Linux does on an interface goes on working while `underpass serve` has a port of it, and the reverse.

The server is the command in a process of its own, seen only from outside: by its answers, its output and its
exit status.
"""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netns.beside import get, is_served, ours

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

OTHER = "198.18.0.77"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Underpass]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    (root / "large").write_bytes(bytes(1_000_000))
    with Pair() as pair:
        yield Underpass(pair, root, tmp_path, None)


@pytest.mark.parametrize("host", ["198.18.0.2", "fd00:18::2"])
@pytest.mark.parametrize("size", [56, 1400, 4000])
def test_linux_answers_echo_requests(served: Underpass, host: str, size: int) -> None:
    """RFC 1122 3.2.2.6, RFC 4443 4.2; 4000 octets come in fragments"""
    said = served.pair.client.run("ping", "-c2", "-i0.2", "-W2", "-s", str(size), host).stdout
    assert " 0% packet loss" in said
    assert is_served(served)


def test_linux_answers_what_traceroute_sends(served: Underpass) -> None:
    """RFC 1122 4.1.3.1: a datagram to a port that nobody has is answered by Port Unreachable"""
    with inside(served.pair.client.name), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.settimeout(3)
        probe.connect((served.pair.server.address, 33434))
        probe.send(b"probe")
        with pytest.raises(ConnectionRefusedError):
            probe.recv(1)


@pytest.mark.parametrize("host", ["198.18.0.2", "fd00:18::2"])
def test_linux_answers_arp_and_neighbour_discovery(served: Underpass, host: str) -> None:
    """RFC 826, RFC 4861 7.2.4: the peer forgets our MAC address and finds it anew"""
    client = served.pair.client
    client.run("ip", "neigh", "flush", "dev", client.interface)
    assert is_served(served, f"[{host}]" if ":" in host else host)
    assert served.pair.server.mac_text in client.run("ip", "neigh", "show", host).stdout


@pytest.mark.parametrize("host", ["198.18.0.2", "fd00:18::2"])
def test_kernel_services_share_the_address(served: Underpass, host: str) -> None:
    """A TCP service and a UDP service of Linux, and connections that Linux opens, on the address we serve."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with inside(served.pair.server.name):
        tcp, udp = socket.create_server((host, 22), family=family), socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((host, 53))
    with inside(served.pair.client.name):
        client, asker = socket.socket(family), socket.socket(family, socket.SOCK_DGRAM)
    with tcp, udp, client, asker:
        for each in (tcp, udp, client, asker):
            each.settimeout(3)
        client.connect((host, 22))
        accepted, _ = tcp.accept()
        with accepted:
            client.sendall(b"SSH-2.0-")
            assert accepted.recv(8) == b"SSH-2.0-"
        asker.sendto(b"question", (host, 53))
        question, who = udp.recvfrom(100)
        udp.sendto(question, who)
        assert asker.recv(100) == b"question"
    assert is_served(served)


def test_linux_opens_connections_from_the_same_address(served: Underpass) -> None:
    client, server = served.pair.client, served.pair.server
    with inside(client.name):
        listener = socket.create_server((client.address, 9000))
    with listener, inside(server.name), socket.create_connection((client.address, 9000), 3) as out:
        listener.settimeout(3)
        accepted, who = listener.accept()
        with accepted:
            assert who[0] == server.address
            out.sendall(b"x" * 100_000)
            out.shutdown(socket.SHUT_WR)
            assert len(b"".join(iter(lambda: accepted.recv(65536), b""))) == 100_000
    assert is_served(served)


def test_a_second_server_on_the_interface_is_refused_by_name(served: Underpass) -> None:
    server = served.pair.server
    second = server.run("underpass", "serve", str(served.root), "-i", server.interface, "--port", "81",
                        check=False)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert re.search(r"XDP program|already", second.stderr), second.stderr
    assert server.interface in second.stderr
    assert is_served(served)


def test_an_address_that_is_replaced_is_served_at_the_new_one(served: Underpass) -> None:
    """As a DHCP client does it (RFC 2131 4.4.5): the new address is served, the old one is not ours"""
    server = served.pair.server
    ours(served, "addr", "add", f"{OTHER}/15", "dev", server.interface)
    ours(served, "addr", "del", f"{server.address}/15", "dev", server.interface)
    # Linux removes the secondary addresses of a subnet with the primary one, unless told to promote them
    ours(served, "addr", "replace", f"{OTHER}/15", "dev", server.interface)
    assert is_served(served, OTHER)
    assert get(served) == ""
    assert served.process.poll() is None


def test_an_address_that_appears_later_is_served(served: Underpass) -> None:
    interface = served.pair.server.interface
    ours(served, "addr", "add", f"{OTHER}/15", "dev", interface)
    ours(served, "addr", "add", "fd00:18::77/64", "dev", interface, "nodad")
    for host in (OTHER, "[fd00:18::77]", "198.18.0.2", "[fd00:18::2]"):
        assert is_served(served, host), host


def test_a_link_that_goes_down_and_up_is_served_again(served: Underpass) -> None:
    """Linux takes the IPv6 addresses away with the link; the administrator's tools put them back"""
    interface = served.pair.server.interface
    ours(served, "link", "set", interface, "down")
    assert get(served) == ""
    ours(served, "link", "set", interface, "up")
    assert is_served(served)
    ours(served, "addr", "replace", "fd00:18::2/64", "dev", interface, "nodad")
    assert is_served(served, "[fd00:18::2]")


@pytest.mark.parametrize("mtu", [1280, 1400])
def test_a_smaller_mtu_is_kept_to_while_serving(served: Underpass, mtu: int) -> None:
    """RFC 9293 3.7.1: what is sent after the change fits the link's MTU"""
    for side in (served.pair.server, served.pair.client):
        side.run("ip", "link", "set", side.interface, "mtu", str(mtu))
    assert until(lambda: get(served, name="large") == "\0" * 1_000_000, 8)


def test_an_interface_that_is_removed_ends_the_server_in_one_line(served: Underpass) -> None:
    interface = served.pair.server.interface
    ours(served, "link", "del", interface)
    assert served.process.wait(10) == 1
    assert interface in served.last_words()
    assert "Traceback" not in served.log.read_text()


def test_a_client_behind_a_router_is_answered_by_a_via_route(served: Underpass) -> None:
    client, server = served.pair.client, served.pair.server
    client.run("ip", "addr", "add", "203.0.113.1/32", "dev", "lo")
    ours(served, "route", "add", "203.0.113.0/24", "via", client.address)
    assert until(lambda: client.run(
        "curl", "-sS", "--max-time", "3", "--interface", "203.0.113.1", f"http://{server.address}/",
        check=False).stdout == "index", 8)


@pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is not installed")
def test_an_interface_moved_into_a_container_s_namespace_is_served_there(tmp_path: Path) -> None:
    """The veth end is made elsewhere and moved, as container runtimes do it"""
    root = tmp_path / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    with Pair() as pair:
        server = pair.server
        server.run("ip", "link", "set", server.interface, "netns", pair.client.name)
        pair.client.run("ip", "link", "set", server.interface, "netns", server.name)
        server.run("ip", "addr", "replace", f"{server.address}/15", "dev", server.interface)
        server.run("ip", "link", "set", server.interface, "up")
        assert is_served(Underpass(pair, root, tmp_path, None))
