"""A peer that resets its connection: what it had sent, and was acknowledged, the protocol gets first."""

import asyncio
import fcntl
import os
import socket
import termios
from collections.abc import Callable
from typing import Any

import pytest
from tests.aio.conftest import Site, close_with_reset
from tests.aio.test_loop import Accepting, KeptOpen, Recorder, running, until

from underpass.aio.transport import StackTransport

PORT = 7300
OCTETS = os.urandom(50_000)


class Paused(Recorder):
    """Reads when it is told to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()


class PausedBuffered(Paused, asyncio.BufferedProtocol):
    """The same, a little at a time."""

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(4096)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.told.append(bytes(self.buffer[:nbytes]))


def resets_in() -> int:
    return int(running().nic.stack().stats()["tcp"]["resets_in"])


async def acknowledged(client: socket.socket) -> None:
    """Until all that it sent is."""
    left = bytearray(4)
    await until(lambda: fcntl.ioctl(client, termios.TIOCOUTQ, left) == 0 and not any(left))


async def reset(accepting: Accepting, client: socket.socket) -> Any:
    """The protocol of a peer that has sent OCTETS, which were acknowledged, and a reset, which has come."""
    protocol = await accepting.made.get()
    await asyncio.to_thread(client.sendall, OCTETS)
    await acknowledged(client)
    before = resets_in()
    close_with_reset(client)
    await until(lambda: resets_in() > before)
    await asyncio.sleep(0)
    return protocol


@pytest.mark.parametrize("kind", [Paused, PausedBuffered])
def test_what_was_acknowledged_comes_before_the_reset(site: Site, kind: type[Recorder]) -> None:
    async def main() -> None:
        accepting = Accepting(kind)
        async with await running().create_server(accepting, site.host, PORT):
            protocol = await reset(accepting, await site.connected(PORT))
            assert protocol.told == ["made"]
            protocol.transport.resume_reading()
            assert isinstance(await protocol.lost, ConnectionResetError)
            assert protocol.octets == OCTETS and protocol.told[-1] == "lost"
    site.run(main())


def test_a_pause_holds_back_the_rest_and_the_reset(site: Site) -> None:
    class Stops(PausedBuffered):
        def buffer_updated(self, nbytes: int) -> None:
            super().buffer_updated(nbytes)
            self.transport.pause_reading()

    async def main() -> None:
        accepting = Accepting(Stops)
        async with await running().create_server(accepting, site.host, PORT):
            protocol = await reset(accepting, await site.connected(PORT))
            while protocol.received < len(OCTETS):
                before = protocol.received
                protocol.transport.resume_reading()
                await until(lambda before=before: protocol.received > before)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert protocol.received <= before + 4096
                assert protocol.received == len(OCTETS) or not protocol.lost.done()
            assert isinstance(await protocol.lost, ConnectionResetError)
            assert protocol.octets == OCTETS
    site.run(main())


@pytest.mark.parametrize("act, error", [
    pytest.param(lambda transport: transport.write(b"anybody there?"), ConnectionResetError, id="writes"),
    pytest.param(lambda transport: transport.close(), type(None), id="closes")])
def test_who_acts_after_the_reset_hears_of_it_at_once(
        site: Site, act: Callable[[StackTransport], None], error: type[object]) -> None:
    """As by a kernel's socket, on which send(2) fails then; who closes hears of no error."""
    async def main() -> None:
        accepting = Accepting(Paused)
        async with await running().create_server(accepting, site.host, PORT):
            protocol = await reset(accepting, await site.connected(PORT))
            act(protocol.transport)
            assert type(await protocol.lost) is error
            assert protocol.told == ["made", "lost"]
    site.run(main())


def test_the_end_of_both_directions_comes_behind_what_was_sent(site: Site) -> None:
    """Also where both have ended before the protocol reads."""
    class PausedKeptOpen(Paused, KeptOpen):
        pass

    async def main() -> None:
        accepting = Accepting(PausedKeptOpen)
        async with await running().create_server(accepting, site.host, PORT):
            client = await site.connected(PORT)
            protocol = await accepting.made.get()
            protocol.transport.write_eof()
            await asyncio.to_thread(client.sendall, OCTETS)
            await acknowledged(client)
            assert await asyncio.to_thread(client.recv, 1) == b""
            client.close()
            info = protocol.transport.get_extra_info("socket").info
            await until(lambda: info()["state"] != "FIN-WAIT-2")
            protocol.transport.resume_reading()
            assert await protocol.lost is None
            assert protocol.octets == OCTETS and protocol.told[-2:] == ["eof", "lost"]
    site.run(main())


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR])
def test_a_peer_resets_after_the_program_reads_no_more(site: Site, how: int) -> None:
    async def main() -> None:
        accepting = Accepting(KeptOpen)
        async with await running().create_server(accepting, site.host, PORT):
            client = await site.connected(PORT)
            transport = (protocol := await accepting.made.get()).transport
            accepting.made.put_nowait(protocol)
            transport.get_extra_info("socket").shutdown(how)
            await until(lambda: "eof" in protocol.told)
            assert await reset(accepting, client) is protocol
            assert isinstance(await asyncio.wait_for(protocol.lost, 10), ConnectionResetError)
            assert protocol.told == ["made", "eof", "lost"]
    site.run(main())


def test_what_has_come_is_given_before_the_end_that_the_program_sets(site: Site) -> None:
    """As of a kernel's socket after shutdown(SHUT_RD)."""
    async def main() -> None:
        accepting = Accepting(Paused)
        async with await running().create_server(accepting, site.host, PORT):
            client = await site.connected(PORT)
            protocol = await accepting.made.get()
            await asyncio.to_thread(client.sendall, OCTETS)
            await acknowledged(client)
            protocol.transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
            await asyncio.sleep(0.02)
            assert protocol.told == ["made"]
            protocol.transport.resume_reading()
            assert await protocol.lost is None
            assert protocol.octets == OCTETS and protocol.told[-2:] == ["eof", "lost"]
            client.close()
    site.run(main())
