"""TIME_WAIT: what each segment is answered with, and what the entries cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_demux import DemuxProbe

FIN, SYN, RST, ACK = 1, 2, 4, 16
TIMESTAMPS = 8
SND, RCV, WND = 5000, 0xFFFFFF00, 4096          # the receive window crosses the end of the sequence space
KEY = (bytes([10, 0, 0, 1]), 80, bytes([10, 0, 0, 2]), 40000)
MINUTE = 60 * 10**9


def waiting(ts_recent: int | None = None) -> DemuxProbe:
    """A table with one connection in TIME_WAIT, which is entry 0."""
    table = DemuxProbe()
    table.insert(3, KEY)
    table.time_wait(3, SND, RCV, WND, ts_recent)
    assert table.find(KEY) == ("time wait", 0)
    return table


def wrap(seq: int) -> int:
    return seq % 2**32


@pytest.mark.parametrize(
    ("flags", "seq", "payload", "verdict"),
    [
        (RST, RCV, 0, "drop"),                   # RFC 1337 3
        (RST | ACK, RCV, 0, "drop"),
        (ACK, RCV, 0, "drop"),                   # nothing to say to an acknowledgment
        (ACK, RCV + WND - 1, 0, "drop"),
        (ACK, RCV + WND, 0, "ack"),              # RFC 9293 3.10.7.4, first: not acceptable
        (ACK, RCV - 1, 0, "ack"),                # a keepalive probe
        (ACK, RCV - 100, 50, "ack"),             # an old duplicate
        (ACK, RCV, 50, "drop"),                  # seventh: text is ignored
        (0, RCV, 0, "drop"),                     # fifth: no ACK
        (ACK | FIN, RCV - 1, 0, "ack"),          # eighth: the retransmitted FIN
        (ACK | FIN, RCV - 11, 10, "ack"),        # with the octets before it
        (SYN | ACK, RCV + 9, 0, "ack"),          # RFC 5961 4
        (SYN, RCV, 0, "reopen"),                 # RFC 1122 4.2.2.13: above what the old connection used
        (SYN, RCV + 2**31 - 1, 0, "reopen"),
        (SYN, RCV - 1, 0, "ack"),
    ],
)
def test_verdict_without_timestamps(flags: int, seq: int, payload: int, verdict: str) -> None:
    table = waiting()
    assert table.receive(0, flags=flags, seq=wrap(seq), payload_bytes=payload) == verdict
    assert table.find(KEY) == ("time wait", 0)


@pytest.mark.parametrize(
    ("old", "new", "seq", "verdict"),
    [
        (100, 101, RCV - 5000, "reopen"),        # a larger timestamp, whatever the sequence number
        (100, 100, RCV, "reopen"),               # the same: the sequence number tells
        (100, 100, RCV - 1, "ack"),
        (100, 99, RCV + 5000, "ack"),
        (2**32 - 1, 3, RCV - 5000, "reopen"),    # timestamps wrap too
        (3, 2**32 - 1, RCV + 5000, "ack"),
        (None, 1, RCV - 5000, "reopen"),         # only the new connection would have them
        (100, None, RCV, "reopen"),              # only the old one had
        (100, None, RCV - 1, "ack"),
    ],
)
def test_a_syn_opens_anew_by_rfc_6191(old: int | None, new: int | None, seq: int, verdict: str) -> None:
    """RFC 6191 2."""
    options = {} if new is None else {"options": TIMESTAMPS, "ts_val": new}
    assert waiting(old).receive(0, flags=SYN, seq=wrap(seq), **options) == verdict


def test_an_older_timestamp_is_not_acceptable() -> None:
    """RFC 7323 5.3, R1."""
    table = waiting(ts_recent=1000)
    assert table.receive(0, flags=ACK, seq=RCV, options=TIMESTAMPS, ts_val=999) == "ack"
    assert table.receive(0, flags=ACK, seq=RCV, options=TIMESTAMPS, ts_val=1000) == "drop"


def test_reopening_gives_the_number_to_begin_above_and_frees_the_entry() -> None:
    """RFC 1122 4.2.2.13."""
    table = waiting()
    assert table.reopen(0) == SND
    assert table.find(KEY) is None
    assert (table.waiting, table.used, table.next_ns) == (0, 0, None)
    assert table.counters["time_wait_reused"] == 1


def test_a_retransmitted_fin_begins_the_time_again_and_nothing_else_does() -> None:
    """RFC 9293 3.10.7.4, eighth, TIME-WAIT."""
    table = waiting()
    assert table.next_ns == MINUTE
    table.now_ns = 10
    table.receive(0, flags=ACK | FIN, seq=wrap(RCV - 1))
    assert table.next_ns == MINUTE + 10
    table.now_ns = 20
    table.receive(0, flags=ACK | FIN, seq=wrap(RCV + 7))
    table.receive(0, flags=ACK, seq=wrap(RCV - 1))
    table.receive(0, flags=SYN, seq=wrap(RCV - 1))
    assert table.next_ns == MINUTE + 10
    table.expire(MINUTE + 9)
    assert table.waiting == 1
    table.expire(MINUTE + 10)
    assert table.waiting == 0
    assert table.find(KEY) is None


def test_at_the_limit_the_entry_nearest_its_end_makes_room() -> None:
    table = DemuxProbe(connections=4, time_waits=2)
    keys = [(*KEY[:3], 1000 + conn) for conn in range(3)]
    for conn, key in enumerate(keys):
        table.insert(conn, key)
        table.time_wait(conn)
    assert table.find(keys[0]) is None
    assert {table.find(key) for key in keys[1:]} == {("time wait", 0), ("time wait", 1)}
    assert table.counters["time_wait_limit"] == 1
    assert table.counters["time_wait_entered"] == 3


def test_no_entries_at_all_forgets_the_connection() -> None:
    table = DemuxProbe(time_waits=0)
    table.insert(0, KEY)
    table.time_wait(0)
    assert (table.find(KEY), table.used, table.counters["time_wait_limit"]) == (None, 0, 1)


events = st.tuples(st.sampled_from(["enter", "fin", "reopen", "pass"]), st.integers(0, 5))


@given(st.lists(events, max_size=60))
def test_the_queue_agrees_with_a_list(actions: list[tuple[str, int]]) -> None:
    """Whatever the order of events, entries end in the order of their times and the table follows."""
    table, now = DemuxProbe(connections=6, time_waits=4), 0
    keys = [(*KEY[:3], 1000 + conn) for conn in range(6)]
    ends: dict[int, int] = {}
    for action, which in actions:
        now += 7 * 10**9
        table.expire(now)
        ends = {conn: at for conn, at in ends.items() if at > now}
        found = table.find(keys[which])
        if action == "enter" and found is None:
            if len(ends) == 4:
                del ends[min(ends, key=lambda conn: ends[conn])]
            table.insert(which, keys[which])
            table.time_wait(which, rcv_nxt=100)
            ends[which] = now + MINUTE
        elif action == "fin" and found is not None:
            assert table.receive(found[1], flags=ACK | FIN, seq=99) == "ack"
            ends[which] = now + MINUTE
        elif action == "reopen" and found is not None:
            table.reopen(found[1])
            del ends[which]
        assert table.next_ns == min(ends.values(), default=None)
        assert {conn for conn in range(6) if table.find(keys[conn])} == set(ends)
        assert table.waiting == table.used == len(ends)
