"""A claimed port belongs to the stack: no other program takes it, and the kernel answers for nobody on it."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from underpass.linux.claims import PortClaim
from underpass.linux.namespaces import Namespace, Pair, inside, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as it:
        yield it


def listen(where: Namespace, host: str, port: int, *options: int) -> socket.socket:
    with inside(where.name):
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        for option in options:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind((host, port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def connect(where: Namespace, host: str, port: int) -> int:
    """The errno of an attempt to connect; 0: it was accepted; EAGAIN: no answer within three seconds."""
    with inside(where.name), socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        client.settimeout(3)
        return client.connect_ex((host, port))


OPTIONS: list[tuple[int, ...]] = [
    (), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]


def claim(pair: Pair, *addresses: str, port: int = 80) -> PortClaim:
    """A claim in the server's namespace, of both its addresses where none is given."""
    with inside(pair.server.name):
        both = (pair.server.address, pair.server.address6)
        return PortClaim(addresses or both, port, pair.server.interface)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "198.18.0.2", "fd00:18::2"])
def test_nobody_else_can_listen_on_a_claimed_port(pair: Pair, host: str,
                                                  options: tuple[int, ...]) -> None:
    with claim(pair), pytest.raises(OSError) as caught:
        listen(pair.server, host, 80, *options)
    assert caught.value.errno == errno.EADDRINUSE
    listen(pair.server, host, 80).close()


def test_one_address_claimed_leaves_the_others_free(pair: Pair) -> None:
    with claim(pair, pair.server.address):
        listen(pair.server, "127.0.0.1", 80).close()
        listen(pair.server, pair.server.address6, 80).close()


@pytest.mark.parametrize("options", OPTIONS)
def test_a_port_in_use_is_eaddrinuse_and_names_who_has_it(pair: Pair, options: tuple[int, ...]) -> None:
    server = listen(pair.server, "0.0.0.0", 80, *options)
    with pytest.raises(OSError, match=f"port 80 on .* in use by .*pid {os.getpid()}") as caught:
        claim(pair)
    assert caught.value.errno == errno.EADDRINUSE
    assert "\n" not in str(caught.value)
    server.close()


def test_a_second_claim_of_the_same_port_is_refused(pair: Pair) -> None:
    with claim(pair), pytest.raises(OSError, match="in use"):
        claim(pair, pair.server.address)


def test_a_claim_that_fails_half_way_holds_nothing(pair: Pair) -> None:
    """The IPv4 half succeeds, the IPv6 half does not: both are given back."""
    server = listen(pair.server, pair.server.address6, 80)
    with pytest.raises(OSError, match="in use"):
        claim(pair)
    server.close()
    listen(pair.server, "0.0.0.0", 80).close()


def test_connections_in_time_wait_do_not_refuse_the_port(pair: Pair) -> None:
    server = listen(pair.server, pair.server.address, 80, socket.SO_REUSEADDR)
    with inside(pair.client.name):
        client = socket.create_connection((pair.server.address, 80), 2)
    accepted, _ = server.accept()
    accepted.close()                    # the side that closes first keeps TIME_WAIT
    client.close()
    server.close()
    assert until(lambda: "TIME-WAIT" in pair.server.run("ss", "-tan").stdout, 5)
    claim(pair).close()


def test_what_comes_by_another_interface_is_refused_at_once(pair: Pair) -> None:
    with claim(pair):
        for host in (pair.server.address, "127.0.0.1", pair.server.address6, "::1"):
            assert connect(pair.server, host, 80) == errno.ECONNREFUSED     # by loopback


def test_the_kernel_serves_nobody_on_the_interface(pair: Pair) -> None:
    """The claim must not complete handshakes behind the stack's back."""
    with claim(pair):
        for host in (pair.server.address, pair.server.address6):
            assert connect(pair.client, host, 80) == errno.ECONNREFUSED


def test_a_claim_follows_the_addresses(pair: Pair) -> None:
    server = listen(pair.server, pair.server.address6, 80)
    with claim(pair, pair.server.address) as held, inside(pair.server.name):
        errors = held.follow([pair.server.address6])
        assert [error.errno for error in errors] == [errno.EADDRINUSE]
        assert held.addresses == []
        listen(pair.server, pair.server.address, 80).close()
        server.close()
        assert held.follow([pair.server.address, pair.server.address6]) == []
        with pytest.raises(OSError):
            listen(pair.server, "::", 80)


def test_link_local_addresses_are_claimed_with_the_interface_as_scope(pair: Pair) -> None:
    show = ("ip", "-6", "-o", "addr", "show", "dev", pair.server.interface, "scope", "link")
    assert until(lambda: "fe80::" in (text := pair.server.run(*show).stdout) and "tentative" not in text, 5)
    address = pair.server.run(*show).stdout.split("inet6 ")[1].split("/")[0]
    with claim(pair, address), pytest.raises(OSError):
        listen(pair.server, "::", 80)


def test_the_port_is_free_again_after_kill_9(pair: Pair) -> None:
    program = ("import sys, time; from underpass.linux.claims import PortClaim\n"
               "claim = PortClaim([sys.argv[1]], 80, 'lo'); print('held', flush=True); time.sleep(60)")
    command = pair.server.command(sys.executable, "-c", program, pair.server.address)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(OSError):
            listen(pair.server, "0.0.0.0", 80)
        holder.kill()
    listen(pair.server, "0.0.0.0", 80).close()
