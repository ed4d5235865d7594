"""What surrounds a server changes, or is of a rarer kind: routers, policy, stacked devices, lost addresses.

As in test_coexistence.py the server is the command in a process of its own.
"""

import contextlib
import errno
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netns.beside import get, is_served, ours
from tests.netns.test_paths import Served

from underpass.apps.bench.servers import Underpass
from underpass.linux.namespaces import Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

LARGE = 5_000_000
ETH_P_IP = 0x0800
ICMP_TIME_EXCEEDED, ICMPV6_TIME_EXCEEDED = 11, 3
IP_RECVERR, IPV6_RECVERR = 11, 25
FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
BEYOND = {4: "203.0.113.9", 6: "2001:db8:9::9"}
PREFIX = "2001:db8:1::"


def root_of(folder: Path) -> Path:
    root = folder / "root"
    root.mkdir()
    (root / "index.html").write_bytes(b"index")
    (root / "large").write_bytes(bytes(LARGE))
    return root


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Underpass]:
    with Pair() as pair:
        yield Underpass(pair, root_of(tmp_path), tmp_path, None)


def client_socket(served: Underpass, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    with inside(served.pair.client.name):
        return socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)


# ---- traceroute

def probe(served: Underpass, family: int, kind: int) -> socket.socket:
    """A socket as traceroute uses them: it hears of ICMP errors, and its packets go one hop."""
    it = client_socket(served, family, kind)
    it.settimeout(3)
    if family == 4:
        it.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        it.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        it.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
        it.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    return it


def icmp_about(it: socket.socket) -> tuple[int, str]:
    """Type and sender of the ICMP error that a probe was answered by (struct sock_extended_err, sockaddr)."""
    waits = select.poll()
    waits.register(it, select.POLLERR)
    assert waits.poll(3000)
    _, ((_, _, octets),), _, _ = it.recvmsg(100, 512, socket.MSG_ERRQUEUE)
    kind, = struct.unpack_from("=B", octets, 5)
    if it.family == socket.AF_INET:
        return kind, socket.inet_ntoa(octets[20:24])
    return kind, socket.inet_ntop(socket.AF_INET6, octets[24:40])


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_linux_answers_probes_that_end_here(served: Underpass, kind: int, family: int) -> None:
    """RFC 1122 4.1.3.1, RFC 9293 3.10.7.1: the last hop's port is free, and Linux says so"""
    host = served.pair.server.address if family == 4 else served.pair.server.address6
    with probe(served, family, kind) as it, pytest.raises(ConnectionRefusedError):
        it.connect((host, 33434))
        it.send(b"probe")
        it.recv(1)
    assert is_served(served)


@pytest.mark.parametrize("family", [4, 6])
def test_a_probe_at_the_served_port_is_answered_by_us(served: Underpass, family: int) -> None:
    """RFC 1122 3.2.1.7: a host does not look at the TTL of what is for itself"""
    host = served.pair.server.address if family == 4 else served.pair.server.address6
    with probe(served, family, socket.SOCK_STREAM) as it:
        it.connect((host, 80))
        it.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert it.recv(1000).endswith(b"index")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("kind", "port"), [(socket.SOCK_DGRAM, 33434), (socket.SOCK_STREAM, 443),
                                            (socket.SOCK_STREAM, 80)])
def test_a_serving_router_answers_probes_that_pass_it(served: Underpass, kind: int, port: int,
                                                      family: int) -> None:
    """RFC 1812 5.3.1: Time Exceeded, even for the port that is served on its own address"""
    server, client = served.pair.server, served.pair.client
    here, back = (server.address, client.address) if family == 4 else (server.address6, client.address6)
    server.write(f"/proc/sys/net/{FORWARDING[family]}", 1)
    client.run("ip", "route", "add", BEYOND[family], "via", here)
    ours(served, "route", "add", BEYOND[family], "via", back)
    with probe(served, family, kind) as it:
        it.setblocking(False)
        assert it.connect_ex((BEYOND[family], port)) in (0, errno.EINPROGRESS)
        if kind == socket.SOCK_DGRAM:
            it.send(b"probe")
        assert icmp_about(it) == (ICMP_TIME_EXCEEDED if family == 4 else ICMPV6_TIME_EXCEEDED, here)
    assert is_served(served)


# ---- routers and routes

def advertise(served: Underpass, lifetime_s: int) -> None:
    """A router advertisement (RFC 4861 4.2) from the client: it is a router, and PREFIX is on this link."""
    client = served.pair.client
    header = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime_s, 0, 0)
    station = struct.pack("!BB6s", 1, 1, client.mac)
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 1800, 0,
                         socket.inet_pton(socket.AF_INET6, PREFIX))
    with inside(client.name), socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(header + station + prefix, ("ff02::1", 0, 0, socket.if_nametoindex(client.interface)))


def addresses(served: Underpass, scope: str, side: str = "server") -> list[str]:
    """IPv6 addresses of an interface that may be used."""
    where = getattr(served.pair, side)
    shown = where.run("ip", "-j", "-6", "addr", "show", "dev", where.interface, "scope", scope).stdout
    return [it["local"] for found in json.loads(shown) for it in found.get("addr_info", ())
            if it and not it.get("tentative")]


def test_the_address_and_route_of_a_router_advertisement_are_used(served: Underpass) -> None:
    """RFC 4862 5.5.3, RFC 4861 6.3.4: a new address by the prefix, a default route by the router"""
    server, client = served.pair.server, served.pair.client
    server.write(f"/proc/sys/net/ipv6/conf/{server.interface}/accept_dad", 0)
    server.write(f"/proc/sys/net/ipv6/conf/{server.interface}/accept_ra", 1)
    client.run("ip", "addr", "add", f"{PREFIX}1/64", "dev", client.interface, "nodad")
    client.run("ip", "addr", "add", "2001:db8:ffff::1/128", "dev", "lo")
    assert until(lambda: bool(addresses(served, "link", "client")), 10)
    advertise(served, 1800)
    assert until(lambda: any(it.startswith(PREFIX) for it in addresses(served, "global")), 5)
    (address,) = [it for it in addresses(served, "global") if it.startswith(PREFIX)]
    assert is_served(served, f"[{address}]")
    route = server.run("ip", "-6", "route", "show", "default").stdout
    assert f"via {addresses(served, 'link', 'client')[0]} dev {server.interface} proto ra" in route

    def from_afar() -> str:
        return client.run("curl", "-gsS", "--max-time", "3", "--interface", "2001:db8:ffff::1",
                          f"http://[{address}]/", check=False).stdout

    assert until(lambda: from_afar() == "index", 8)


def test_a_route_that_only_a_rule_leads_to_is_needed_by_no_answer(served: Underpass) -> None:
    """Policy routing: the table is Linux's to read; answers go back the way that the SYN came"""
    server, client = served.pair.server, served.pair.client
    client.run("ip", "addr", "add", "203.0.113.1/32", "dev", "lo")
    ours(served, "route", "add", "default", "via", client.address, "table", "100")
    ours(served, "rule", "add", "from", server.address, "lookup", "100")
    assert "203.0.113" not in server.run("ip", "route", "show", "table", "main").stdout
    words = ("curl", "-sS", "--max-time", "3", "--interface", "203.0.113.1")
    said = client.run(*words, f"http://{server.address}/large", "-o", "/dev/null", "-w", "%{size_download}")
    assert said.stdout == str(LARGE)
    assert "0% packet loss" in client.run("ping", "-c1", "-W2", "-I", "203.0.113.1", server.address).stdout


# ---- stacked devices

def stacked(pair: Pair, kind: str, *words: str) -> str:
    """A device of that kind in the server's namespace; skips, with what Linux says, where there is none."""
    made = pair.server.run("ip", "link", "add", "stacked0", *words, "type", kind, check=False)
    if made.returncode:
        pytest.skip(f"this kernel makes no {kind}: {made.stderr.strip()}")
    return "stacked0"


def move_addresses(pair: Pair, device: str) -> None:
    """The served interface is no more than a member of the device, which has its addresses."""
    server = pair.server
    server.run("ip", "addr", "flush", "dev", server.interface)
    server.run("ip", "addr", "add", f"{server.address}/15", "dev", device)
    server.run("ip", "addr", "add", f"{server.address6}/64", "dev", device, "nodad")
    server.run("ip", "link", "set", device, "up")
    server.interface = device


@pytest.mark.parametrize("kind", ["bridge", "bond"])
def test_a_device_whose_member_the_interface_is_is_served(tmp_path: Path, kind: str) -> None:
    with Pair() as pair:
        server = pair.server
        device = stacked(pair, kind)
        server.run("ip", "link", "set", server.interface, "down")
        server.run("ip", "link", "set", server.interface, "master", device)
        server.run("ip", "link", "set", server.interface, "up")
        move_addresses(pair, device)
        served = Underpass(pair, root_of(tmp_path), tmp_path, None)
        assert is_served(served) and is_served(served, f"[{server.address6}]")
        assert get(served, name="large") == "\0" * LARGE
        assert " 0% packet loss" in pair.client.run("ping", "-c2", "-i0.2", "-W2", server.address).stdout


@pytest.mark.parametrize("tso", [True, False])
def test_data_comes_through_a_bridge(tso: bool) -> None:
    """A veth sender that leaves it to the device to cut it up (TSO) hands packets of 64 KiB to the bridge."""
    with Pair() as pair:
        device = stacked(pair, "bridge")
        pair.server.run("ip", "link", "set", pair.server.interface, "master", device)
        move_addresses(pair, device)
        pair.client.offload(tso=tso)
        Served(pair, "").exchanges(pair.server.address, LARGE, LARGE)


def test_a_macvlan_of_the_interface_is_served(tmp_path: Path) -> None:
    """With arp_ignore, so that the interface below does not answer for the address with its own MAC"""
    with Pair() as pair:
        pair.server.write("/proc/sys/net/ipv4/conf/all/arp_ignore", 1)
        device = stacked(pair, "macvlan", "link", pair.server.interface)
        move_addresses(pair, device)
        assert is_served(Underpass(pair, root_of(tmp_path), tmp_path, None))


def test_data_comes_through_a_macvlan() -> None:
    with Pair() as pair:
        pair.server.write("/proc/sys/net/ipv4/conf/all/arp_ignore", 1)
        move_addresses(pair, stacked(pair, "macvlan", "link", pair.server.interface))
        Served(pair, "").exchanges(pair.server.address, LARGE, LARGE)


# ---- an address goes while connections to it are open

def seen_from(served: Underpass, seconds: float) -> list[bytes]:
    """TCP over IPv4 that the client's interface receives from the served address in that time."""
    client = served.pair.client
    found: list[bytes] = []
    with inside(client.name), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as raw:
        raw.bind((client.interface, ETH_P_IP))
        end = time.monotonic() + seconds
        while select.select([raw], [], [], max(end - time.monotonic(), 0))[0]:
            found.append(raw.recv(2000))
    source = socket.inet_aton(served.pair.server.address)
    return [it for it in found if it[26:30] == source and it[23] == socket.IPPROTO_TCP]


def test_a_connection_of_an_address_that_goes_stands_still_and_goes_on_with_it(served: Underpass) -> None:
    """RFC 1122 3.2.1.3: nothing is sent from it meanwhile; the download ends once it is back"""
    server = served.pair.server
    with client_socket(served, 4) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        client.settimeout(20)
        client.connect((server.address, 80))
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = len(client.recv(1000))
        ours(served, "addr", "del", f"{server.address}/15", "dev", server.interface)
        assert until(lambda: get(served) == "", 5)
        while select.select([client], [], [], 0.2)[0]:       # what is there already; the window opens
            received += len(client.recv(1 << 16))
        assert received < LARGE
        assert seen_from(served, 2) == []
        ours(served, "addr", "add", f"{server.address}/15", "dev", server.interface)
        while octets := client.recv(1 << 16):
            received += len(octets)
    assert received > LARGE
    assert is_served(served) and served.process.poll() is None


def test_connections_of_the_other_addresses_go_on_without_a_pause(served: Underpass) -> None:
    server = served.pair.server
    with client_socket(served, 6) as client, contextlib.closing(client.makefile("rb")) as answers:
        client.settimeout(10)
        client.connect((server.address6, 80))
        for _ in range(20):
            ours(served, "addr", "del", f"{server.address}/15", "dev", server.interface)
            ours(served, "addr", "add", f"{server.address}/15", "dev", server.interface)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(5) == b"index"
    assert is_served(served)
