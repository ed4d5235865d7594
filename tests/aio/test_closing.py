"""A loop that is closed with connections open: what its peers still have of it."""

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from tests.aio.conftest import Site

from underpass.aio import loop as event_loop

PORT = 7000
TCP_CLOSE_WAIT = 8


class Taker:
    """A peer of the kernel's that reads to the end, in a thread: `part` octets at a time, and then rests."""

    def __init__(self, site: Site, part: int = 1 << 16, rests_s: float = 0.0, buffer: int = 0) -> None:
        self.listener = site.listener()
        if buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.address = self.listener.getsockname()
        self.octets = bytearray()
        self.error: OSError | None = None
        self._part, self._rests_s = part, rests_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        sock, _ = self.listener.accept()
        sock.settimeout(20)
        with sock, self.listener:
            try:
                while more := sock.recv(self._part):
                    self.octets += more
                    self._closed.wait(self._rests_s)
            except OSError as error:
                self.error = error

    def heard(self) -> tuple[bytes, OSError | None]:
        """All that it read, and how that ended; to be called when the loop is closed."""
        self._closed.set()
        self._thread.join()
        return bytes(self.octets), self.error


async def written(address: tuple[str, int], octets: bytes) -> None:
    """To the stack; the transport keeps what that does not take."""
    _, writer = await asyncio.open_connection(*address)
    writer.write(octets)
    writer.close()


def all_of(octets: bytes, heard: tuple[bytes, OSError | None]) -> bool:
    got, error = heard
    assert (len(got), error) == (len(octets), None)
    return got == octets


def test_what_the_stack_has_taken_arrives(site: Site) -> None:
    octets = os.urandom(60_000)
    taker = Taker(site)
    site.run(written(taker.address, octets))
    assert all_of(octets, taker.heard())


def test_what_the_stack_has_not_taken_is_lost_and_the_peer_told_so(site: Site) -> None:
    taker = Taker(site)
    site.run(written(taker.address, os.urandom(30_000_000)))
    assert isinstance(taker.heard()[1], ConnectionResetError)


def test_a_peer_that_goes_on_taking_has_the_time_that_it_needs(
        site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes two seconds for all."""
    monkeypatch.setattr(event_loop, "LINGER_S", 1.0)
    octets = os.urandom(60_000)
    taker = Taker(site, part=4096, rests_s=0.15, buffer=8192)
    site.run(written(taker.address, octets))
    assert all_of(octets, taker.heard())


@pytest.mark.parametrize("limit, rests_s", [
    pytest.param("LINGER_S", 60, id="nothing"), pytest.param("LINGER_MOST_S", 0.15, id="a little at a time")])
def test_a_peer_that_takes(site: Site, monkeypatch: pytest.MonkeyPatch, limit: str, rests_s: float) -> None:
    """... does not keep the process from its end, and is told that this was not all."""
    monkeypatch.setattr(event_loop, limit, 0.5)
    octets = os.urandom(60_000)
    taker = Taker(site, part=4096, rests_s=rests_s, buffer=8192)
    site.run(written(taker.address, octets))
    got, error = taker.heard()
    assert isinstance(error, ConnectionResetError)
    assert len(got) < len(octets) and octets.startswith(got)


def test_a_process_that_was_kept_from_running_has_not_waited(
        site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = os.urandom(60_000)
    taker = Taker(site, part=4096, rests_s=0.02, buffer=8192)
    asked = 0

    def monotonic() -> float:
        nonlocal asked
        asked += 1
        return time.monotonic() + (2 * event_loop.LINGER_MOST_S if asked > 1 else 0)

    monkeypatch.setattr(event_loop, "time", SimpleNamespace(monotonic=monotonic))
    site.run(written(taker.address, octets))
    assert asked > 1
    assert all_of(octets, taker.heard())


def test_a_peer_that_has_all_is_not_reset(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes in its own time, for which the process does not wait."""
    for limit in ("LINGER_S", "LINGER_MOST_S"):
        monkeypatch.setattr(event_loop, limit, 1000.0)
    octets = os.urandom(20_000)            # nobody reads: it must fit the peer's buffer
    with site.listener() as listener:
        site.run(written(listener.getsockname(), octets))
        sock, _ = listener.accept()
        with sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE_WAIT
            got = bytearray()
            while more := sock.recv(1 << 16):
                got += more
            assert got == octets


def test_an_interrupt_ends_the_waiting_and_all_the_rest_is_done(
        site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interface is given back."""
    for limit in ("LINGER_S", "LINGER_MOST_S"):
        monkeypatch.setattr(event_loop, limit, 1000.0)
    taker = Taker(site, part=4096, rests_s=60, buffer=8192)
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await written(taker.address, os.urandom(60_000))

    asked = 0

    def monotonic() -> float:
        nonlocal asked
        asked += 1
        if asked == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return time.monotonic()

    monkeypatch.setattr(event_loop, "time", SimpleNamespace(monotonic=monotonic))
    with pytest.raises(KeyboardInterrupt):
        site.run(main())
    assert loops[0].is_closed()
    assert "xdp" not in site.pair.server.run("ip", "link", "show", site.pair.server.interface).stdout
    site.run(asyncio.sleep(0))
    assert isinstance(taker.heard()[1], ConnectionResetError)


def test_it_leaves_nothing_behind(site: Site) -> None:
    async def main() -> None:
        await asyncio.start_server(lambda *_: asyncio.sleep(60), site.host, PORT)
        for _ in range(3):
            await site.connected(PORT)

    before = len(os.listdir("/proc/self/fd"))
    site.run(main())
    gc.collect()
    assert "xdp" not in site.pair.server.run("ip", "link", "show", site.pair.server.interface).stdout
    assert len(os.listdir("/proc/self/fd")) <= before + 3       # the peers' own
