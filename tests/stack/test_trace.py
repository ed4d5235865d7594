"""The trace: one connection's life, in order and complete; bounded, and safe from its reader."""

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from underpass.observe.spool_reader import SpoolReader
from underpass.observe.trace_records import trace_records
from underpass.observe.trace_text import lines, words
from underpass.testing import Transfer
from underpass.testing.clock import MS, SECOND
from underpass.testing.host import Host
from underpass.testing.network import Network
from underpass.testing.packets import Flags
from underpass.testing.peer import Wire

ACK, FIN, PSH, RST, SYN = Flags.ACK, Flags.FIN, Flags.PSH, Flags.RST, Flags.SYN
RING = 1 << 20
CONSUMED_AT = 128                           # of SpoolShared

Row = dict[str, Any]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as it:
        it.stack.listen(("0.0.0.0", 80))
        yield it


class Told:
    """A trace's reader, with all that it has read."""

    def __init__(self, memfd: int) -> None:
        self.reader = SpoolReader(memfd, "trace")
        self.rows: list[Row] = []

    def read(self) -> list[Row]:
        """What has come since the last call."""
        octets, count = self.reader.read(1 << 28)
        new = trace_records(octets)
        assert len(new) == count
        self.rows += new
        return new

    def events(self, event: str) -> list[Row]:
        self.read()
        return [row for row in self.rows if row["event"] == event]

    def states(self) -> list[str]:
        """Each state that it was seen in, in order."""
        self.read()
        states = [row["state"] for row in self.rows]
        return states[:1] + [after for before, after in pairwise(states) if before != after]


def transfer(network: Network, client: Host, server: Host, octets: bytes, told: Told | None = None) -> None:
    """A connection on which the client sends, closed by both; what is told is read all the time."""
    sender, receiver = Transfer(octets, b""), Transfer(b"", octets)
    client.application, server.application = sender.on_ready, receiver.on_ready
    server.stack.listen(("0.0.0.0", 80))
    sender.conn = client.stack.connect((server.station.v4, 80))

    def done() -> bool:
        if told is not None:
            told.read()
        return sender.done and receiver.done

    assert network.run(until=done, for_ns=120 * SECOND)
    network.run(for_ns=SECOND)


# ---- what is told

def test_the_states_of_a_connection_that_is_accepted_come_in_order(wire: Wire) -> None:
    """RFC 9293 3.3.2; one batch that takes it through several states hides none of them"""
    told = Told(wire.stack.trace_start(local_port=80))
    peer = wire.peer()
    peer.send(SYN)
    batch = (peer.make(ACK, seq=1, ack=1), peer.make(ACK | PSH, b"question", seq=1, ack=1),
             peer.make(FIN | ACK, seq=9, ack=1))
    wire.send_frame(*(segment.build() for segment in batch))
    (conn,) = wire.accepted()
    assert conn.recv() == b"question"
    conn.close()
    wire.settle()
    peer.send(ACK, seq=10, ack=2)
    assert told.states() == ["SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]
    events = [row["event"] for row in told.rows]
    assert events[0] == "began" and events.index("ended") == len(events) - 1
    first = told.rows[0]
    assert (first["local"], first["local_port"], first["remote"], first["remote_port"]) == (
        "10.0.0.1", 80, peer.base.src, 40000)
    assert told.rows[-1]["error"] == 0


def test_the_states_of_a_connection_that_is_opened_come_in_order() -> None:
    with Network(seed=3) as network:
        client, server = network.host(), network.host()
        network.link(client, server, delay_ns=5 * MS)
        told = Told(client.stack.trace_start(server.station.v4, remote_port=80))
        transfer(network, client, server, b"x" * 10_000, told)
        states = told.states()
    assert states[:2] == ["SYN-SENT", "ESTABLISHED"]
    assert states[2:] in (["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"], ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"],
                          ["CLOSE-WAIT", "LAST-ACK", "CLOSED"])
    assert told.rows[-1]["event"] == "ended"


@pytest.mark.parametrize("seed", range(5))
def test_a_lossy_transfer_is_told_as_it_is_counted(seed: int) -> None:
    """Every retransmission with its reason, every timer that fired, the window's way down and up."""
    with Network(seed=seed) as network:
        client, server = network.host(), network.host()
        network.link(client, server, rate_bps=20_000_000, delay_ns=10 * MS, queue_packets=40, loss=0.03)
        told = Told(client.stack.trace_start(server.station.v4, remote_port=80))
        transfer(network, client, server, bytes(2_000_000), told)
        counters = client.stack.stats()["tcp"]
    resent = told.events("resent")
    data = [row for row in resent if row["length"]]
    syns = [row for row in resent if row["why"] == "handshake"]
    assert len(data) + len(syns) == counters["retransmits"] > 20
    assert told.rows[-1]["retransmits"] == len(data)
    assert told.rows[-1]["timeouts"] == counters["timeouts"] - len(syns)
    fired = [row["cause"] for row in told.events("fired")]
    assert fired.count("loss probe") == counters["loss_probes"]
    assert fired.count("reordering") == counters["reordering_timeouts"]
    assert fired.count("retransmission") + fired.count("handshake") == counters["timeouts"]
    assert {row["why"] for row in data} <= {"RACK", "timeout", "loss probe"}
    assert {"RACK"} <= {row["why"] for row in data}
    assert any(after["cwnd"] < before["cwnd"] for before, after in pairwise(told.rows))
    assert any(row["phase"] == "recovery" and row["ssthresh"] is not None for row in told.rows)
    assert all(before["at_ns"] <= after["at_ns"] for before, after in pairwise(told.rows))
    assert told.rows[-1]["dropped"] == 0 and told.rows[-1]["snd_una"] == 2_000_000 + 2


def test_a_retransmission_says_which_octets_and_why(wire: Wire) -> None:
    """RFC 6298 5.4, RFC 8985 7.3, RFC 6582: by timeout, by probe, by duplicates without SACK"""
    told = Told(wire.stack.trace_start(local_port=80))
    peer = wire.peer()
    conn = peer.open()
    conn.send(b"x" * 14600)
    wire.settle()
    for _ in range(3):
        peer.send(ACK, ack=1)
    (again,) = told.events("resent")
    assert (again["seq"], again["why"]) == (1, "duplicate ACKs")
    wire.run(60_000)
    later = told.events("resent")[1:]
    assert {row["why"] for row in later} == {"timeout"} and later[0]["seq"] == 1
    assert [row["backoff"] for row in told.events("fired")][:4] == [0, 1, 2, 3]
    wire.stack.trace_stop()

    told = Told(wire.stack.trace_start(local_port=80))
    peer = wire.peer(port=40001)
    conn = peer.open(sack_permitted=True)
    conn.send(b"x" * 500)
    wire.run(1000)
    probe, *_ = told.events("resent")
    assert (probe["seq"], probe["length"], probe["why"]) == (1, 500, "loss probe")


def test_a_syn_that_nobody_answers_is_told_to_its_end(wire: Wire) -> None:
    told = Told(wire.stack.trace_start("10.0.0.2"))
    wire.stack.connect(("10.0.0.2", 99))
    wire.run(300_000)
    assert told.states() == ["SYN-SENT", "CLOSED"]
    assert {row["why"] for row in told.events("resent")} == {"handshake"}
    assert len(told.events("resent")) == wire.count("retransmits") == 7
    assert told.rows[-1]["error"] == errno.ETIMEDOUT


def test_a_reset_ends_it_with_its_error(wire: Wire) -> None:
    told = Told(wire.stack.trace_start(local_port=80))
    peer = wire.peer()
    peer.open()
    peer.send(RST)
    assert told.states()[-1] == "CLOSED"
    assert told.rows[-1]["error"] == errno.ECONNRESET


# ---- which connection

def test_it_follows_the_connection_that_is_asked_for_and_no_other(wire: Wire) -> None:
    there, other = wire.peer(port=40001), wire.peer(port=40002)
    there.open()
    other.open()
    told = Told(wire.stack.trace_start("10.0.0.2", remote_port=40001))
    (began,) = told.read()
    assert (began["event"], began["state"], began["remote_port"]) == ("began", "ESTABLISHED", 40001)
    other.send(ACK | PSH, b"x")
    assert told.read() == []
    there.send(ACK | PSH, b"x")
    assert {row["remote_port"] for row in told.read()} == {40001}
    wire.stack.trace_stop()

    told = Told(wire.stack.trace_start(remote_port=40003))
    wire.peer(port=40004).open()
    assert told.read() == []
    wire.peer(port=40003).open()
    assert {row["remote_port"] for row in told.read()} == {40003}


def test_without_a_port_it_follows_the_next_one_and_that_alone(wire: Wire) -> None:
    wire.peer(port=40001).open()
    told = Told(wire.stack.trace_start("10.0.0.2", local_port=80))
    assert told.read() == []
    second, third = wire.peer(port=40002), wire.peer(port=40003)
    second.open()
    third.open()
    second.send(RST)
    wire.peer(port=40002, iss=5000).open()          # in the same block, as like as not
    third.send(RST)
    told.read()
    assert {row["remote_port"] for row in told.rows} == {40002}
    assert told.rows[-1]["event"] == "ended"


def test_a_connection_that_a_cookie_brings_is_followed() -> None:
    """RFC 4987 3.6: its handshake was kept nowhere"""
    with Wire(half_open=0) as wire:
        wire.stack.listen(("0.0.0.0", 80))
        told = Told(wire.stack.trace_start(local_port=80))
        wire.peer().open()
        assert wire.count("cookies_accepted") == 1
        assert told.states() == ["ESTABLISHED"]
        assert told.rows[0]["snd_una"] == told.rows[0]["snd_nxt"] == 1


# ---- on and off

def test_looking_changes_nothing_for_the_peers() -> None:
    seen = []
    for traced in (False, True):
        with Network(seed=5) as network:
            client, server = network.host(), network.host()
            link = network.link(client, server, rate_bps=20_000_000, delay_ns=5 * MS, loss=0.02)
            if traced:
                server.stack.trace_start(local_port=80)
                client.stack.trace_start(server.station.v4)
            transfer(network, client, server, bytes(300_000))
            seen.append((link.forth.stats(), link.back.stats(), network.clock.now_ns))
    assert seen[0] == seen[1]


def test_one_at_a_time_and_what_is_out_of_range_is_refused(wire: Wire) -> None:
    for arguments, message in (({"local_port": 65536}, "port"), ({"remote_port": -1}, "port"),
                               ({"remote": "nobody"}, "nobody"), ({"ring_bytes": 4096}, "power of two")):
        with pytest.raises(ValueError, match=message):
            wire.stack.trace_start(**arguments)     # type: ignore[arg-type]
    wire.stack.trace_start()
    with pytest.raises(OSError, match="traces a connection already") as refused:
        wire.stack.trace_start()
    assert refused.value.errno == errno.EBUSY
    wire.stack.trace_stop()
    wire.stack.trace_stop()
    wire.stack.trace_start()


def test_beside_a_capture_both_see_everything(wire: Wire) -> None:
    packets = SpoolReader(wire.stack.capture_start())
    told = Told(wire.stack.trace_start(local_port=80))
    wire.peer().open()
    wire.stack.capture_stop()
    assert told.states() == ["SYN-RECEIVED", "ESTABLISHED"]
    assert packets.read()[1] == 3
    with pytest.raises(ValueError, match="another version"):
        SpoolReader(wire.stack.capture_start(), "trace")


# ---- the ring

def test_a_full_ring_loses_the_newest_counts_them_and_still_tells_the_end(wire: Wire) -> None:
    told = Told(wire.stack.trace_start(local_port=80, ring_bytes=RING))
    peer = wire.peer()
    conn = peer.open()
    for n in range(9000):                           # each changes what is received
        peer.send(ACK | PSH, b"x", seq=1 + n)
        conn.recv()
    conn.abort()
    wire.settle()
    told.read()
    room = RING // 192
    assert len(told.rows) == room
    dropped = told.reader.counts()["dropped"]
    assert dropped > 3000 and told.rows[-1]["dropped"] == dropped and told.rows[-2]["dropped"] == 0
    assert (told.rows[-1]["event"], told.rows[-1]["rcv_nxt"]) == ("ended", 9001)
    assert told.reader.counts()["passed"] == room + dropped


@pytest.mark.parametrize("claim", [1, 191, 2**20 + 1, 2**32, 2**63, 2**64 - 1, 2**64 - 2**20])
def test_whatever_the_reader_writes_the_worker_stays_inside_and_goes_on(wire: Wire, claim: int) -> None:
    memfd = wire.stack.trace_start(local_port=80, ring_bytes=RING)
    peer = wire.peer()
    conn = peer.open()
    with mmap.mmap(memfd, 0) as shared:
        for number in range(1, 1501):
            peer.send(ACK | PSH, b"x", seq=number)
            assert conn.recv() == b"x"
            struct.pack_into("=Q", shared, CONSUMED_AT, claim * number % 2**64)
            shared[:CONSUMED_AT] = os.urandom(CONSUMED_AT)
            shared[4096 : 4096 + 192] = os.urandom(192)
    wire.stack.trace_stop()
    wire.peer(port=40001).open()
    assert wire.count("passive_opens") == 2


def test_a_damaged_record_is_an_error_or_a_row_and_nothing_worse() -> None:
    with pytest.raises(ValueError, match="damaged"):
        trace_records(bytes(192))
    for _ in range(200):
        (row,) = trace_records(struct.pack("=II", 1, 192) + os.urandom(184))
        words(row | {"pid": 1, "interface": "eth0"}, row)
    assert trace_records(b"short") == []


# ---- in words

def test_the_words_say_what_happened_and_progress_is_none(wire: Wire) -> None:
    told = Told(wire.stack.trace_start(local_port=80))
    peer = wire.peer()
    conn = peer.open()
    conn.send(b"x" * 1000)
    wire.run(5000)
    peer.send(RST, ack=1)
    told.read()
    text = list(lines(iter({"pid": 7, "interface": "eth0"} | row for row in told.rows)))
    assert text[0] == "10.0.0.1:80 <-> 10.0.0.2:40000 on eth0 (worker 7), cubic"
    assert text[1].startswith("    0.000000  SYN-RECEIVED, ")
    assert any("SYN-RECEIVED -> ESTABLISHED" in line for line in text)
    assert any("retransmission timer fired" in line for line in text)
    assert any(line.endswith("sent again 1:1001 (timeout)") for line in text)
    assert any("loss recovery" in line and "ssthresh none -> " in line for line in text)
    assert "ESTABLISHED -> CLOSED" in text[-1] and f"error {errno.ECONNRESET}" in text[-1]
    assert text[-1].endswith(", ended")
    before = told.rows[0]
    after = before | {"event": "changed", "snd_nxt": before["snd_nxt"] + 1, "in_flight": 1}
    assert words(after, before) == ""
