"""ICMP errors of a real kernel that forwards, or does not, for a stack beside Linux."""

import errno
import os
import time
from collections.abc import Iterator

import pytest

import underpass
from underpass.linux.namespaces import Namespace, Pair, inside
from underpass.nic import NicStack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making network namespaces needs root")

BEYOND = {4: "203.0.113.9", 6: "2001:db8:77::9"}
NETS = {4: "203.0.113.0/24", 6: "2001:db8:77::/64"}


def make_router(side: Namespace, family: int) -> None:
    """Have the kernel forward, and find nothing where NETS lie."""
    name = "ipv4/ip_forward" if family == 4 else "ipv6/conf/all/forwarding"
    side.write(f"/proc/sys/net/{name}", 1)
    side.run("ip", f"-{family}", "route", "add", "unreachable", NETS[family])


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as it:
        yield it


def fate(stack: NicStack, conn: underpass.Connection, timeout_s: float = 5) -> int:
    """The errno that a connection ends with."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if any(ready & underpass.CLOSED for other, ready in stack.poll(0.05) if other is conn):
            break
    with pytest.raises(OSError) as raised:
        conn.recv()
    return raised.value.errno or 0


@pytest.mark.parametrize("family", [4, 6])
def test_an_unreachable_destination_ends_a_connect_at_once(pair: Pair, family: int) -> None:
    """RFC 1122 4.2.3.9, RFC 4443 3.1: the error comes through XDP, not through the kernel"""
    router, ours = pair.client, pair.server
    make_router(router, family)
    via = router.address if family == 4 else router.address6
    ours.run("ip", f"-{family}", "route", "add", NETS[family], "via", via)
    with inside(ours.name), underpass.attach(ours.interface, source_ports=1024) as nic:
        stack = nic.stack()
        conn = stack.connect((BEYOND[family], 80))
        assert fate(stack, conn) in (errno.EHOSTUNREACH, errno.ENETUNREACH)
        assert stack.stats()["tcp"]["icmp_hard"] == 1
