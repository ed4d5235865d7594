"""The shield of a program that serves by itself: what is blocked automatically runs out, and makes room."""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.aio.conftest import Site
from tests.aio.test_loop import running

import underpass
from underpass.linux.namespaces import inside
from underpass.nic import Nic
from underpass.shield import policy_file
from underpass.shield.shield import open_shield

POLICY = '[interface]\n[detection]\npackets = 100\nblock-for = "1s"\nblocks = 1\n'
SECOND = "198.18.0.77"                  # another source at the peer
PORT = 9
BURST = 300                             # more than the policy has in one window


@pytest.fixture
def sources(site: Site) -> Any:
    """Sends a burst from one of the peer's two addresses."""
    peer = site.pair.client
    peer.run("ip", "addr", "replace", f"{SECOND}/24", "dev", peer.interface)
    with inside(peer.name):
        senders = {it: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for it in (site.peer, SECOND)}
    for source, sender in senders.items():
        sender.bind((source, 0))

    def send(source: str) -> None:
        for _ in range(BURST):
            senders[source].sendto(b"x", (site.host, PORT))

    yield send
    for it in senders.values():
        it.close()
    peer.run("ip", "addr", "del", f"{SECOND}/24", "dev", peer.interface)


Step = Callable[[], bool]


def steps(nic: Nic, send: Callable[[str], None], first: str) -> list[Step]:
    """What has to come about, in this order: the first source is blocked; there is no room for the second;
    the second is blocked.
    """
    def heavy(source: str) -> bool:
        send(source)
        return any(it.kind == "heavy" and str(it.network) == f"{source}/32" for it in nic.shield.blocks())

    def refused() -> bool:
        send(SECOND)
        return bool(nic.shield.stats()["detection"]["refused"])

    return [lambda: heavy(first), refused, lambda: heavy(SECOND)]


async def all_come_about(them: list[Step]) -> None:
    for step in them:
        async with asyncio.timeout(30):
            while not step():
                await asyncio.sleep(0.05)


def test_a_second_source_is_blocked_once_the_first_has_run_out(
    site: Site, sources: Callable[[str], None]
) -> None:
    async def main() -> None:
        await all_come_about(steps(running().nic, sources, site.peer))

    site.run(main(), shield=policy_file.parse(POLICY))


def test_so_it_is_without_asyncio(site: Site, sources: Callable[[str], None]) -> None:
    with inside(site.pair.server.name), underpass.attach(
            site.pair.server.interface, shield=policy_file.parse(POLICY), source_ports=1024) as nic:
        stack = nic.stack()
        for step in steps(nic, sources, site.peer):
            end = time.monotonic() + 30
            while not step():
                assert time.monotonic() < end
                stack.poll(0.05)


def test_so_it_is_by_a_policy_that_another_process_has_loaded(
    site: Site, sources: Callable[[str], None]
) -> None:
    """That has exchanged the program for one with blocks, which ours had not."""
    async def main() -> None:
        assert running().nic.shield.stats() == {}
        with inside(site.pair.server.name), open_shield(site.pair.server.interface) as other:
            other.load(policy_file.parse(POLICY))
        await all_come_about(steps(running().nic, sources, site.peer))

    site.run(main())
