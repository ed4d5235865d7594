"""Debug mode over the stack: octets pass as without, and slow callbacks of protocols are warned of."""

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.aio.conftest import Site, asking, exactly, serving
from tests.aio.test_loop import Accepting, Recorder, echo, running

PORT = 7400


def test_octets_pass_in_both_directions(site: Site) -> None:
    octets = os.urandom(3_000_000)

    async def main() -> None:
        assert running().get_debug()
        async with await asyncio.start_server(echo, site.host, PORT):
            with await site.connected(PORT) as client:
                sending = asyncio.create_task(asyncio.to_thread(client.sendall, octets))
                assert await exactly(client, len(octets)) == octets
                await sending
            reader, writer = await asyncio.open_connection(site.host, PORT)
            writer.write(b"of ours")
            assert await reader.readexactly(7) == b"of ours"
            writer.close()
            await writer.wait_closed()
            assert running().nic.stack().stats()["tcp"]["passive_opens"] == 2
    site.run(main(), debug=True)


class Slow(Recorder):
    """Takes its time."""

    def data_received(self, data: bytes) -> None:
        """As long as it is told."""
        super().data_received(data)
        time.sleep(float(data))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of slow callbacks of protocols."""
    return [it.getMessage() for it in caplog.records
            if "Executing callbacks of" in it.getMessage() and "Slow object" in it.getMessage()]


@pytest.mark.parametrize("how", [(True, 0.05, True), (True, 60, False), (False, 0.05, False)])
@pytest.mark.parametrize("tls", [False, True])
def test_slow_callbacks_are_warned_of(site: Site, certificates: Path, caplog: pytest.LogCaptureFixture,
                                      how: tuple[bool, float, bool], tls: bool) -> None:
    """The duration is the loop's own; without debug mode nobody asks for it."""
    debug, limit, said = how

    async def main() -> None:
        running().slow_callback_duration = limit
        accepting = Accepting(Slow)
        context: Any = serving(certificates) if tls else None
        async with await running().create_server(accepting, site.host, PORT, ssl=context):
            _, writer = await asyncio.open_connection(
                site.host, PORT, ssl=asking(certificates) if tls else None)
            protocol = await accepting.made.get()
            caplog.clear()
            writer.write(b"0.06")
            while not protocol.received:
                await asyncio.sleep(0.001)
            writer.close()
            await protocol.lost
    with caplog.at_level(logging.WARNING, "asyncio"):
        site.run(main(), debug=debug)
    told = warnings(caplog)
    assert bool(told) == said
    assert not said or ("StackTransport" in told[0] and " took 0." in told[0])
