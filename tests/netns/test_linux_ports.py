"""Source ports are reserved in the kernel, and given back exactly, however the owner ends."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from underpass.linux import ports
from underpass.linux.cookie import namespace_cookie
from underpass.linux.namespaces import Namespace, Pair, inside
from underpass.linux.ports import PortRange

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")


@pytest.fixture
def server() -> Iterator[Namespace]:
    with Pair() as pair, inside(pair.server.name):
        yield pair.server


def reserved() -> str:
    return Path("/proc/sys/net/ipv4/ip_local_reserved_ports").read_text().strip()


def test_the_range_is_reserved_and_given_back(server: Namespace) -> None:
    ports.write_reserved({8080, 9148, 9149})
    with PortRange(1024) as own:
        assert own.last - own.first == 1023
        assert reserved() == f"8080,9148-9149,{own.first}-{own.last}"
    assert reserved() == "8080,9148-9149"
    own.close()


def test_the_kernel_gives_none_of_them_to_its_own_sockets(server: Namespace) -> None:
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("60000 65535")
    with PortRange(1024) as own, socket.create_server((server.address, 80), backlog=600) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(300)]
        used = {client.getsockname()[1] for client in clients}
        for client in clients:
            client.close()
        assert not used & set(range(own.first, own.last + 1))


def test_two_owners_overlap_in_time_and_each_takes_away_its_own(server: Namespace) -> None:
    ports.write_reserved({8080})
    one, other = PortRange(1024), PortRange(1024)
    assert one.first > other.last or other.first > one.last
    one.close()
    assert reserved() == f"8080,{other.first}-{other.last}"
    other.close()
    assert reserved() == "8080"


def test_what_the_administrator_changes_meanwhile_stays(server: Namespace) -> None:
    with PortRange(1024):
        ports.write_reserved(ports.read_reserved() | {12345})
    assert reserved() == "12345"


def test_ports_in_use_and_reserved_by_others_are_left_out(server: Namespace) -> None:
    ports.write_reserved({65000})
    with socket.create_server((server.address, 64000)), PortRange(1024) as own:
        assert not {64000, 65000} & set(range(own.first, own.last + 1))


def test_a_shorter_range_is_taken_where_no_long_one_is_free(server: Namespace) -> None:
    ports.write_reserved(set(range(10000, 65000, 1500)))
    with PortRange(4096) as own:
        assert own.last - own.first + 1 == 1024


def test_no_room_is_an_error_that_says_what_to_do(server: Namespace) -> None:
    ports.write_reserved(set(range(10000, 65536, 100)))
    with pytest.raises(OSError, match="widen net") as caught:
        PortRange()
    assert caught.value.errno == errno.EADDRINUSE
    assert "\n" not in str(caught.value)


@contextmanager
def owner_to_be_killed() -> Iterator[tuple[int, int]]:
    """First and last port of a process that lives until the end of the block."""
    program = "from underpass.linux.ports import PortRange; import time\nown = PortRange(1024)\n" \
              "print(own.first, own.last, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            first, last = map(int, owner.stdout.readline().split())
            yield first, last
        finally:
            owner.kill()


def test_the_range_of_a_killed_owner_is_given_back_by_the_next(server: Namespace) -> None:
    ports.write_reserved({8080})
    with owner_to_be_killed() as (first, last), PortRange(1024):
        assert set(range(first, last + 1)) <= ports.read_reserved()      # a living owner's range stays
    assert reserved() == f"8080,{first}-{last}"
    PortRange(1024).close()
    assert reserved() == "8080"
    assert not list(ports.RUN.glob(f"ports-{namespace_cookie()}-*"))


def test_a_range_left_in_a_namespace_that_is_gone_is_nobodys_in_the_next() -> None:
    """The kernel gives the next namespace the inode of the one that is gone; the cookie it gives once."""
    with Pair() as gone, inside(gone.server.name), owner_to_be_killed() as (first, last):
        cookie = namespace_cookie()
    with Pair() as pair, inside(pair.server.name):
        ports.write_reserved({first, last})
        with PortRange(1024):
            assert {first, last} <= ports.read_reserved()
        assert reserved() == f"{first},{last}"
    for left in ports.RUN.glob(f"ports-{cookie}-*"):
        left.unlink()
