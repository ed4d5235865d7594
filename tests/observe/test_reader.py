"""An arena read from outside: the same as the worker says, and no harm from memory that is no arena."""

import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from underpass import observe
from underpass.observe.reader import ArenaReader
from underpass.testing.clock import MS, SECOND
from underpass.testing.host import Host
from underpass.testing.network import Network

NAME = "underpass-arena"


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(seed=1) as it:
        yield it


def joined(network: Network, latency_ns: int = 0) -> tuple[Host, Host]:
    """Two hosts whose stacks have had a turn: from then on they live by the network's clock."""
    hosts = network.pair(latency_ns=latency_ns)
    network.run(for_ns=MS)
    return hosts


def memfd(content: bytes) -> int:
    """A memfd with the name of an arena and this content."""
    descriptor = os.memfd_create(NAME)
    os.write(descriptor, content)
    return descriptor


def test_rows_are_what_the_worker_itself_says(network: Network) -> None:
    client, server = joined(network, latency_ns=5 * MS)
    server.stack.listen(("0.0.0.0", 80))
    conn = client.stack.connect((server.station.v4, 80))
    assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
    conn.send(b"x" * 1000)
    network.run(for_ns=100 * MS)
    for host in (client, server):
        rows = ArenaReader(host.stack.arena.memfd).rows()
        own = host.stack.connections()
        assert [row["state"] for row in rows] == [row["state"] for row in own]
        for row, expected in zip(rows, own, strict=True):
            common = row.keys() & expected.keys() - {"age_ms", "silent_ms"}
            assert {"local", "local_port"} <= common
            assert {key: row[key] for key in common} == {key: expected[key] for key in common}
    [_, served] = ArenaReader(server.stack.arena.memfd).rows()
    assert (served["unread_bytes"], served["bytes_received"], served["retransmits"]) == (1000, 1000, 0)


def test_time_wait_entries_are_shown(network: Network) -> None:
    client, server = joined(network)
    server.stack.listen(("0.0.0.0", 80))
    conn = client.stack.connect((server.station.v4, 80))
    assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
    conn.close()
    network.run(for_ns=10 * MS)
    for accepted in server.accepted():
        accepted.close()
    network.run(for_ns=SECOND)
    reader = ArenaReader(client.stack.arena.memfd)
    [row] = reader.rows()
    assert (row["state"], row["remote"], row["remote_port"]) == ("TIME-WAIT", server.station.v4, 80)
    assert reader.rows(time_waits=False) == []
    assert reader.stats()["tcp"]["time_waits"] == 1


def test_counters_are_the_worker_s(network: Network) -> None:
    client, server = joined(network)
    client.stack.connect((server.station.v4, 80))       # nobody listens: refused
    network.run(for_ns=SECOND)
    seen, own = ArenaReader(server.stack.arena.memfd).stats(), server.stack.stats()
    assert seen["tcp"] == own["tcp"]
    assert seen["refused"] == own["refused"]
    assert seen["tcp"]["no_listener"] == 1


def test_a_worker_in_another_process_is_found_and_gone_when_killed() -> None:
    program = ("from underpass.testing.network import Network; import sys\n"
               "a, b = Network(seed=1).pair(); a.stack.listen(('0.0.0.0', 80))\n"
               "a.stack.set_interface('up-test'); print('ready', flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        found = [row for row in observe.workers() if row["pid"] == process.pid]
        assert len(found) == 2
        assert "up-test" in [row["interface"] for row in found]
        assert sys.executable in str(found[0]["command"])
        rows = observe.connections(process.pid)
        assert [(row["state"], row["local_port"]) for row in rows] == [("LISTEN", 80)]
        assert {row["layer"] for row in observe.stats(process.pid)} == {"refused", "tcp", "loop"}
        process.kill()
        process.wait()
    assert not [worker for worker in observe.discover() if worker.pid == process.pid]


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\xff" * 65536, b"UrPs", b"no arena at all" * 1000])
def test_what_is_no_arena_is_refused(content: bytes) -> None:
    descriptor = memfd(content)
    with pytest.raises(ValueError, match="arena"):
        ArenaReader(descriptor)
    mine = [row for row in observe.workers() if row["pid"] == os.getpid()]
    assert any("arena" in str(row.get("error")) for row in mine)
    observe.connections(os.getpid())
    observe.stats(os.getpid())
    os.close(descriptor)


def test_an_arena_of_another_version_is_refused(network: Network) -> None:
    client, _ = network.pair()
    header = bytearray(os.pread(client.stack.arena.memfd, 4096, 0))
    struct.pack_into("=I", header, 4, 99)
    descriptor = memfd(bytes(header))
    with pytest.raises(ValueError, match="another version"):
        ArenaReader(descriptor)
    os.close(descriptor)


def test_a_torn_arena_gives_rows_or_an_error_and_nothing_worse(network: Network) -> None:
    """Everything behind the header is noise, or is cut off: every index and length in it is out of range."""
    client, _ = network.pair()
    header = os.pread(client.stack.arena.memfd, 4096, 0)
    noise = random.Random(7)
    for octets in (4096, 8192, 50_000, 3_000_000):
        descriptor = memfd(header + noise.randbytes(octets))
        for look in (ArenaReader.rows, ArenaReader.stats, ArenaReader.facts):
            try:
                assert look(ArenaReader(descriptor))
            except ValueError as error:
                assert "cut off" in str(error)
        os.close(descriptor)


def test_an_arena_that_shrinks_while_it_is_read_is_an_error(network: Network) -> None:
    client, _ = network.pair()
    header = os.pread(client.stack.arena.memfd, 4096, 0)
    descriptor = memfd(header + bytes(100_000))
    reader = ArenaReader(descriptor)
    os.ftruncate(descriptor, 4096)
    with pytest.raises(ValueError, match="cut off"):
        reader.rows()
    os.close(descriptor)
