"""An arena read from outside: the same as the worker says, and no harm from memory that is no arena."""

import gc
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from underpass import observe
from underpass.link.fault import FaultLink
from underpass.link.frames import Frames
from underpass.link.memory import memory_pair
from underpass.observe.reader import XDP_NAMES, ArenaReader
from underpass.stack.stack import Stack
from underpass.testing.clock import MS, SECOND
from underpass.testing.host import Host
from underpass.testing.network import Network
from underpass.wire.address import text_from_octets

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
    assert seen["link"] == own["link"]
    assert seen["loop"].keys() == own["loop"].keys()
    assert seen["link"]["rx_packets"] > 0


@pytest.mark.parametrize("segmentation", [False, True])
@pytest.mark.parametrize("faults", [{}, {"drop": 0.05, "duplicate": 0.1}])
def test_every_kind_of_link_counts_in_the_arena(segmentation: bool, faults: dict[str, float]) -> None:
    with Network(seed=2, segmentation=segmentation) as network:
        client, server = network.pair(latency_ns=MS, **faults)
        server.stack.listen(("0.0.0.0", 80))
        conn = client.stack.connect((server.station.v4, 80))
        assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=60 * SECOND)
        conn.send(b"x" * 50_000)
        network.run(for_ns=SECOND)
        for host in (client, server):
            seen = ArenaReader(host.stack.arena.memfd).stats()["link"]
            assert seen == host.link.stats()
            assert seen["rx_packets"] > 0 and seen["tx_bytes"] > 0
        assert bool(client.link.stats()["tx_segmented"]) == segmentation


def test_a_fault_link_counts_its_faults_in_the_arena() -> None:
    ours, theirs = memory_pair(Frames(256), Frames(256))
    other = Stack(theirs, bytes((2, 0, 0, 0, 0, 2)), connections=16)
    link = FaultLink(ours, 1, drop=1.0)
    with Stack(link, bytes((2, 0, 0, 0, 0, 1)), connections=16) as stack:
        stack.set_addresses([("10.0.0.1", 24)])
        stack.set_routes([("10.0.0.0", 24, None, None, 0, 0)])
        stack.set_neighbour("10.0.0.2", bytes((2, 0, 0, 0, 0, 2)))
        stack.connect(("10.0.0.2", 80))
        stack.step(SECOND)
        seen = ArenaReader(stack.arena.memfd).stats()["link"]
        assert seen == link.stats()
        assert seen["faults"] == 1
        assert other.step(2 * SECOND) == 0
    other.close()


def test_a_link_outlives_the_arena_that_it_counts_in() -> None:
    with Network(seed=1) as network:
        client, server = network.pair()
        client.stack.connect((server.station.v4, 80))
        network.run(for_ns=SECOND)
        link, before = client.link, client.link.stats()
        network.nodes.clear()
        del client, server
    gc.collect()
    assert link.stats() == before
    assert before["tx_packets"] > 0


def test_frames_are_read_from_the_memfd_that_the_arena_names(network: Network) -> None:
    client, server = joined(network)
    server.stack.listen(("0.0.0.0", 80))
    conn = client.stack.connect((server.station.v4, 80))
    assert network.run(until=lambda: conn.state == "ESTABLISHED", for_ns=SECOND)
    conn.send(b"x" * 100_000)
    reader = ArenaReader(client.stack.arena.memfd)
    assert "pool" not in reader.stats()
    memfd = client.link.frames.memfd
    assert reader.frames_inode == os.fstat(memfd).st_ino
    reader.frames_fd = memfd
    pool, own = reader.stats()["pool"], client.stack.stats()["pool"]
    assert pool == {name: own[name] for name in pool}
    assert 0 < pool["free"] < pool["frames"]


def test_what_linux_counts_is_shown_once_it_was_copied(network: Network) -> None:
    client, _ = joined(network)
    reader = ArenaReader(client.stack.arena.memfd)
    assert not {"xdp", "socket"} & reader.stats().keys()
    client.stack.set_kernel_counters({name: i for i, name in enumerate(XDP_NAMES)}, {"rx_ring_full": 7})
    seen = reader.stats()
    assert seen["xdp"] == {name: i for i, name in enumerate(XDP_NAMES)}
    assert seen["socket"]["rx_ring_full"] == 7
    assert sum(seen["socket"].values()) == 7
    client.stack.set_kernel_counters({"another build's": 1}, {})
    assert "xdp" not in reader.stats()


def test_a_connection_is_found_by_its_index(network: Network) -> None:
    client, server = joined(network)
    server.stack.listen(("0.0.0.0", 80))
    conns = [client.stack.connect((server.station.v4, 80)) for _ in range(3)]
    assert network.run(until=lambda: all(conn.state == "ESTABLISHED" for conn in conns), for_ns=SECOND)
    conns[1].send(b"x" * 100)
    network.run(for_ns=SECOND)
    reader = ArenaReader(client.stack.arena.memfd)
    rows = reader.rows()
    assert [reader.connection(int(str(row["index"]))) for row in rows] == rows
    assert reader.connection(5) is None
    with pytest.raises(ValueError, match="connection blocks, none is 4294967295"):
        reader.connection(0xFFFFFFFF)
    assert reader.states() == {name: 3 if name == "ESTABLISHED" else 0 for name in reader.states()}
    assert [acked for _, _, _, acked, _ in reader.traffic()] == [0, 100, 0]
    assert {text_from_octets(remote) for _, _, remote, _, _ in reader.traffic()} == {server.station.v4}
    conns.pop(1).abort()
    network.run(for_ns=10 * MS)
    again = client.stack.connect((server.station.v4, 80))
    assert network.run(until=lambda: again.state == "ESTABLISHED", for_ns=SECOND)
    [changed] = [row for row in reader.rows() if row["generation"] != rows[0]["generation"]]
    assert changed["index"] == rows[1]["index"]


def test_what_a_terminal_would_obey_is_not_shown(network: Network) -> None:
    client, _ = joined(network)
    client.stack.set_interface("e\x1b[2J\n")
    assert ArenaReader(client.stack.arena.memfd).facts()["interface"] == "e?[2J?"


def test_a_worker_in_another_process_is_found_and_gone_when_killed() -> None:
    program = ("from underpass.testing.network import Network; import sys\n"
               "a, b = Network(seed=1, capture=False).pair(); a.stack.listen(('0.0.0.0', 80))\n"
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
        layers = {row["layer"] for row in observe.stats(process.pid)}
        assert layers == {"link", "refused", "tcp", "pool", "loop"}     # no XDP program on a virtual network
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
