"""`attach` on a real interface: served beside Linux, in one line refused, and nothing left behind."""

import errno
import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import underpass
from underpass.linux.namespaces import Namespace, Pair, inside, until
from underpass.nic import Nic, NicStack
from underpass.shield import policy_file

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as it:
        yield it


class Served:
    """An attached interface of the server, whose stack echoes; the client's sockets are the kernel's."""

    def __init__(self, pair: Pair, **options: Any) -> None:
        self.pair = pair
        self.open: set[underpass.Connection] = set()
        with inside(pair.server.name):
            self.nic: Nic = underpass.attach(pair.server.interface, **options)
            self.stack: NicStack = self.nic.stack()

    def listen(self, address: str = "", port: int = 7) -> underpass.Listener:
        with inside(self.pair.server.name):
            return self.stack.listen((address, port))

    def drive(self, true: Callable[[], object], timeout_s: float = 5) -> bool:
        """Echo until it holds; whether it came to."""
        end = time.monotonic() + timeout_s
        with inside(self.pair.server.name):
            while not true():
                if time.monotonic() > end:
                    return False
                for conn, _ in self.stack.poll(0.05):
                    self.open.add(conn)
                    echo(conn)
        return True

    def client(self, address: str, port: int = 7) -> socket.socket:
        with inside(self.pair.client.name):
            client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            client.setblocking(False)
            client.connect_ex((address, port))
        return client

    def echoes(self, address: str, port: int = 7, timeout_s: float = 5) -> bool:
        """Whether a new connection gets back what it sends."""
        with self.client(address, port) as client:
            return self.drive(lambda: connected(client), timeout_s) and self.answers(client)

    def answers(self, client: socket.socket) -> bool:
        client.send(b"hello")
        return self.drive(lambda: received(client) == b"hello")


def echo(conn: underpass.Connection) -> None:
    try:
        data = conn.recv()
        conn.send(data) if data else conn.close()
    except OSError:
        pass


def connected(client: socket.socket) -> bool:
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1


def received(client: socket.socket) -> bytes:
    try:
        return client.recv(100)
    except BlockingIOError:
        return b""


@pytest.fixture
def served(pair: Pair) -> Iterator[Served]:
    it = Served(pair, source_ports=1024)
    with inside(pair.server.name):
        try:
            yield it
        finally:
            it.nic.close()


def left_behind(where: Namespace) -> str:
    """What an attachment could leave: an XDP program, reserved ports, a held port."""
    link = where.run("ip", "link", "show", where.interface).stdout
    reserved = where.run("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports").stdout.strip()
    return ("xdp " if "xdp" in link else "") + reserved + where.run("ss", "-Htln").stdout


def test_both_families_are_served_and_nothing_is_left(served: Served) -> None:
    server = served.pair.server
    served.listen("")
    served.listen("::")
    assert served.echoes(server.address)
    assert served.echoes(server.address6)
    served.nic.close()
    served.nic.close()
    assert left_behind(server) == ""


def test_what_is_not_claimed_stays_with_linux(served: Served) -> None:
    server, client = served.pair.server, served.pair.client
    served.listen()
    assert client.run("ping", "-c1", "-W2", server.address).returncode == 0
    with inside(server.name), socket.create_server((server.address, 8)) as kernel, inside(client.name):
        socket.create_connection((server.address, 8), 5).close()
        kernel.accept()[0].close()


def test_a_connection_of_ours_uses_the_reserved_ports(served: Served) -> None:
    client = served.pair.client
    with inside(client.name):
        peer = socket.create_server((client.address, 99))
    conn = served.stack.connect((client.address, 99))
    assert served.drive(lambda: conn.state == "ESTABLISHED")
    accepted, (_, port) = peer.accept()
    assert served.nic.ports is not None and served.nic.ports.first <= port <= served.nic.ports.last
    accepted.close()
    peer.close()


def test_a_source_port_of_choice_is_claimed_for_the_connection(served: Served) -> None:
    client, server = served.pair.client, served.pair.server
    with inside(client.name):
        peer = socket.create_server((client.address, 99))
    conn = served.stack.connect((client.address, 99), source=(server.address, 2020))
    assert served.drive(lambda: conn.state == "ESTABLISHED")
    with pytest.raises(OSError, match="Address already in use"):
        socket.create_server((server.address, 2020))
    peer.close()


def test_without_source_ports_connect_says_so(pair: Pair) -> None:
    served = Served(pair, source_ports=0)
    with pytest.raises(OSError, match="source ports") as caught:
        served.stack.connect((pair.client.address, 99))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    served.nic.close()


def test_a_port_in_use_is_eaddrinuse(served: Served) -> None:
    address = (served.pair.server.address, 7)
    with socket.create_server(address), pytest.raises(OSError, match="port 7 ") as caught:
        served.listen()
    assert caught.value.errno == errno.EADDRINUSE
    assert served.stack.connections() == []


def test_an_address_that_is_not_the_interface_s_is_refused(served: Served) -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1 is no address of") as caught:
        served.listen("192.0.2.1")
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_wildcard_listener_follows_the_addresses(served: Served) -> None:
    server = served.pair.server
    served.listen()
    server.run("ip", "addr", "add", "198.18.0.77/15", "dev", server.interface)
    assert served.drive(lambda: "198.18.0.77" in server.run("ss", "-Htln").stdout)
    assert served.echoes("198.18.0.77")
    with pytest.raises(OSError):
        socket.create_server(("198.18.0.77", 7))
    server.run("ip", "addr", "del", "198.18.0.77/15", "dev", server.interface)
    served.drive(lambda: False, 0.2)
    server.run("ip", "addr", "add", "198.18.0.77/15", "dev", "lo")
    socket.create_server(("198.18.0.77", 7)).close()


def test_our_new_mac_is_used_at_once(served: Served) -> None:
    pair = served.pair
    served.listen()
    assert served.echoes(pair.server.address)
    pair.server.run("ip", "link", "set", pair.server.interface, "address", "02:00:00:00:99:99")
    served.drive(lambda: False, 0.2)
    pair.client.run("ip", "neigh", "flush", "all")
    assert served.echoes(pair.server.address)


def test_a_peer_s_new_mac_is_followed_within_a_connection(served: Served) -> None:
    pair = served.pair
    served.listen()
    with served.client(pair.server.address) as client:
        assert served.drive(lambda: connected(client))
        assert served.answers(client)
        pair.client.run("ip", "link", "set", pair.client.interface, "address", "02:00:00:00:88:88")
        pair.server.run("ip", "neigh", "replace", pair.client.address, "lladdr", "02:00:00:00:88:88", "dev",
                        pair.server.interface)
        assert served.answers(client)


def test_a_closed_listener_s_connections_live_on(served: Served) -> None:
    """The port stays claimed while a connection uses it: the kernel would reset it (RFC 9293 3.10.7.1)."""
    listener = served.listen()
    with served.client(served.pair.server.address) as client:
        assert served.drive(lambda: connected(client))
        listener.close()
        served.drive(lambda: False, 6)      # longer than the control work's period
        assert served.answers(client)
    assert served.drive(lambda: not served.pair.server.run("ss", "-Htln").stdout, 15)
    socket.create_server((served.pair.server.address, 7)).close()


def test_a_removed_interface_is_an_error_in_one_line(served: Served) -> None:
    served.pair.server.run("ip", "link", "del", served.pair.server.interface)
    with pytest.raises(OSError, match="was removed") as caught:
        served.drive(lambda: False, 5)
    assert caught.value.errno == errno.ENODEV


def test_what_is_active_is_told_and_why_not_better(served: Served) -> None:
    it = served.nic.describe()
    assert (it["xdp"], it["zero_copy"], it["need_wakeup"]) == ("generic", False, True)
    assert it["why_not"]["zero_copy"] == "generic XDP copies"
    lines = served.nic.summary()
    assert "generic XDP, copy mode" in lines[0]
    assert any(line.startswith("no zero copy: ") for line in lines)
    assert any(line.startswith("no native: ") and "without NAPI threads" in line for line in lines)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_the_mode_that_was_asked_for_is_told(pair: Pair, mode: str) -> None:
    served = Served(pair, mode=mode)
    served.listen()
    assert served.nic.describe()["xdp"] == mode
    assert served.echoes(pair.server.address)
    served.nic.close()


def test_one_process_has_one_stack(served: Served) -> None:
    assert served.nic.stack() is served.stack
    with pytest.raises(ValueError, match="first call"):
        served.nic.stack(connections=10)


def test_a_missing_interface_is_one_line(pair: Pair) -> None:
    says = "eth9 does not exist; interfaces here: lo"
    with inside(pair.server.name), pytest.raises(OSError, match=says) as caught:
        underpass.attach("eth9")
    assert caught.value.errno == errno.ENODEV


def test_an_interface_that_is_down_is_one_line(pair: Pair) -> None:
    pair.server.run("ip", "link", "set", pair.server.interface, "down")
    with inside(pair.server.name), pytest.raises(OSError, match="is down: `ip link set") as caught:
        underpass.attach(pair.server.interface)
    assert caught.value.errno == errno.ENETDOWN


def test_a_second_attachment_is_refused_and_undoes_what_it_did(served: Served) -> None:
    before = left_behind(served.pair.server)
    with pytest.raises(OSError, match=r"is served by process .* already") as caught:
        underpass.attach(served.pair.server.interface)
    assert caught.value.errno == errno.EBUSY
    assert "\n" not in str(caught.value)
    assert left_behind(served.pair.server) == before


def test_a_queue_that_is_not_there_is_one_line_and_nothing_is_left(pair: Pair) -> None:
    with inside(pair.server.name), pytest.raises(OSError, match="no queue 5"):
        underpass.attach(pair.server.interface, queues=[5])
    assert left_behind(pair.server) == ""


WITHOUT_PRIVILEGES = """
import sys, underpass
try:
    underpass.attach(sys.argv[1])
except PermissionError as error:
    print(error)
"""


def test_without_privileges_the_error_says_what_is_missing(pair: Pair) -> None:
    said = pair.server.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c",
                           WITHOUT_PRIVILEGES, pair.server.interface).stdout
    assert "CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON, CAP_BPF needed: run as root" in said
    assert said.count("\n") == 1
    assert left_behind(pair.server) == ""


KILLED = """
import sys, underpass
nic = underpass.attach(sys.argv[1], source_ports=1024)
stack = nic.stack()
stack.listen(("", 7))
print("ready", flush=True)
while True:
    stack.poll(1)
"""


def test_kill_9_leaves_nothing_but_reserved_ports_that_the_next_start_gives_back(pair: Pair) -> None:
    command = pair.server.command(sys.executable, "-c", KILLED, pair.server.interface)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.kill()
    assert until(lambda: "xdp" not in left_behind(pair.server), 5)
    assert "7" not in pair.server.run("ss", "-Htln").stdout
    Served(pair, source_ports=1024).nic.close()
    assert left_behind(pair.server) == ""


SHIELD = '[interface]\ndrop = ["udp"]\n[lists.bad]\nprefixes = ["198.18.0.0/24"]\n'


def test_a_policy_protects_from_the_first_packet_on_and_another_takes_its_place(
    pair: Pair, tmp_path: Path
) -> None:
    """`shield` is a file or a policy; what is attached has the same by `nic.shield`."""
    (tmp_path / "shield.toml").write_text(SHIELD)
    served = Served(pair, source_ports=1024, shield=str(tmp_path / "shield.toml"))
    with inside(pair.server.name), served.nic as nic:
        served.listen()
        assert not served.echoes(pair.server.address, timeout_s=1)
        assert nic.shield.stats()["lists"]["bad"].packets > 0
        other = policy_file.parse(SHIELD.replace("198.18.0.0", "192.0.2.0"))
        assert nic.shield.load(other) == {"bad": 1}
        assert served.echoes(pair.server.address)
        nic.shield.block(ipaddress.ip_network(f"{pair.client.address}/32"), for_s=600)
        assert not served.echoes(pair.server.address, timeout_s=1)
        assert nic.shield.unblock(ipaddress.ip_network(f"{pair.client.address}/32"))
        assert served.echoes(pair.server.address)
    assert left_behind(pair.server) == ""


def test_a_policy_with_faults_attaches_nothing(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "shield.toml"
    file.write_text('[interface]\ndrop = ["upd"]\n')
    said = r"shield\.toml:2: interface\.drop: a protocol"
    with inside(pair.server.name), pytest.raises(ValueError, match=said):
        underpass.attach(pair.server.interface, shield=str(file))
    file.write_text('[lists.bad]\nfile = "nowhere.txt"\n')
    said = r"shield\.toml:2: lists\.bad\.file: .*/nowhere\.txt: No such file"
    with inside(pair.server.name), pytest.raises(ValueError, match=said):
        underpass.attach(pair.server.interface, shield=str(file))
    assert left_behind(pair.server) == ""
