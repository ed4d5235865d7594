"""Any contents of an arena give rows, or one error: nothing that is read there is followed unchecked."""

import contextlib
import json
import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from underpass.observe.reader import ArenaReader
from underpass.observe.ss_text import Show, lines
from underpass.testing.clock import MS, SECOND
from underpass.testing.network import Network

EVERYTHING = Show(processes=True, timers=True, extended=True, memory=True, info=True)
LIMITS: dict[str, int | str] = {"connections": 48, "time_waits": 16, "congestion": "bbr"}


class Arena(bytes):
    """Prints short: it is an argument of every example."""

    def __repr__(self) -> str:
        return f"<{len(self)} octets>"


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """A worker's arena in which something of everything happens."""
    with Network(seed=3) as network:
        client, server = network.pair(latency_ns=MS, frames=1024, limits=LIMITS)
        network.run(for_ns=MS)
        server.stack.listen(("0.0.0.0", 80))
        conns = [client.stack.connect((server.station.v4, 80)) for _ in range(20)]
        assert network.run(until=lambda: all(conn.state == "ESTABLISHED" for conn in conns), for_ns=SECOND)
        for conn in conns[:5]:
            conn.send(b"x" * 5000)
        for conn in conns[5:10]:
            conn.close()
        network.run(for_ns=50 * MS)
        for conn in server.accepted():
            conn.close()
        network.run(for_ns=SECOND)
        size = os.fstat(client.stack.arena.memfd).st_size
        yield Arena(os.pread(client.stack.arena.memfd, size, 0))


def look(octets: bytes) -> None:
    """Read everything that can be read, and print it in every way."""
    descriptor = os.memfd_create("underpass-arena")
    try:
        os.write(descriptor, octets)
        try:
            reader = ArenaReader(descriptor)
            reader.frames_fd = descriptor
            rows = reader.rows()
            rows += [row for row in (reader.connection(index) for index in range(48)) if row]
            told = [reader.facts(), reader.stats(), reader.states()]
            reader.traffic()
        except ValueError as error:
            assert "arena" in str(error) or "connection blocks" in str(error)
            return
        json.dumps([rows, told], allow_nan=False)
        for line in lines([{"pid": 1, "interface": "eth0", **row} for row in rows], EVERYTHING):
            assert line.replace("\n", "").replace("\t", "").isprintable()
    finally:
        os.close(descriptor)


def test_as_it_is(arena: Arena) -> None:
    look(arena)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_with_patches_anywhere(arena: Arena, data: st.DataObject) -> None:
    octets = bytearray(arena)
    patches = st.tuples(st.integers(0, len(arena) - 1), st.binary(min_size=1, max_size=64))
    for offset, patch in data.draw(st.lists(patches, max_size=40)):
        octets[offset:offset + len(patch)] = patch
    length = data.draw(st.one_of(st.just(len(octets)), st.integers(0, len(octets))))
    look(bytes(octets[:length]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.001, 0.1, 1.0]))
def test_with_noise_behind_the_header(arena: Arena, seed: int, share: float) -> None:
    """Whole pools of noise: every state, flag, index and length that there can be."""
    noise = random.Random(seed)
    octets = bytearray(arena)
    for _ in range(max(int(len(arena) * share) // 4096, 1)):
        offset = noise.randrange(4096, len(arena) - 4096)
        octets[offset:offset + 4096] = noise.randbytes(4096)
    look(bytes(octets))


def test_rows_of_a_block_that_becomes_another_connection_meanwhile(arena: Arena) -> None:
    """The second copy of the hot part has another generation: the row is made anew, of one connection."""
    descriptor = os.memfd_create("underpass-arena")
    os.write(descriptor, arena)
    reader = ArenaReader(descriptor)
    before = {row["index"]: row["generation"] for row in reader.rows() if "index" in row}
    assert before
    reads = 0
    real = os.pread

    def pread(fd: int, octets: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        found = real(fd, octets, offset)
        return found if reads % 2 else bytes(len(found))        # every second copy finds the blocks free

    with contextlib.ExitStack() as undo:
        undo.callback(setattr, os, "pread", real)
        os.pread = pread
        with contextlib.suppress(ValueError):
            rows = [row for row in reader.rows() if "index" in row]
            assert all(row["generation"] == before[row["index"]] for row in rows)
    os.close(descriptor)
