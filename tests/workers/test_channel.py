"""Messages between supervisor and worker: whole, bounded, and harmless whatever they are."""

import gc
import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from underpass.workers.channel import MESSAGE_BYTES, Channel
from underpass.workers.counters import summed
from underpass.workers.remote import Waiting
from underpass.workers.supervisor import Fleet, shares, text_of


@pytest.fixture
def ends():
    ours, other = Channel.pair()
    theirs = Channel(other)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_keep_their_order_and_descriptors(ends):
    ours, theirs = ends
    descriptor = os.memfd_create("test")
    assert ours.send({"do": "start", "n": 1}, [descriptor])
    assert ours.send({"do": "go"})
    message, descriptors = theirs.receive()
    assert message == {"do": "start", "n": 1}
    assert os.fstat(descriptors[0]).st_ino == os.fstat(descriptor).st_ino
    assert theirs.receive() == ({"do": "go"}, [])
    assert theirs.receive() is None
    for it in (descriptor, *descriptors):
        os.close(it)


def test_the_other_being_gone_is_an_end(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive()
    assert not ours.send({"do": "go"})
    assert ours.unsent == 1


def test_a_full_queue_refuses_and_is_counted(ends):
    ours, _ = ends
    while ours.send({"text": "x" * 1000}):
        pass
    assert ours.unsent == 1


def test_too_long_a_message_is_refused(ends):
    with pytest.raises(ValueError, match="longer than"):
        ends[0].send({"text": "x" * MESSAGE_BYTES})


@given(st.binary(min_size=1, max_size=300) | st.just(b"[" * 100_000) | st.just(b"[1]"))
def test_any_octets_are_thrown_away_or_a_message(octets):
    ours, other = Channel.pair()
    with other:
        other.send(octets)
        message, descriptors = ours.receive()
        assert isinstance(message, dict)
        assert descriptors == []
    ours.close()


def test_descriptors_beside_nonsense_are_closed():
    gc.collect()                    # what other tests left to it is not counted
    ours, other = Channel.pair()
    before = len(os.listdir("/proc/self/fd"))
    with other:
        socket.send_fds(other, [b"nonsense"], [other.fileno()])
        assert ours.receive() == ({}, [])
        assert ours.malformed == 1
        assert len(os.listdir("/proc/self/fd")) == before
    ours.close()


leaves = st.none() | st.integers() | st.text(max_size=5)
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
hints = st.fixed_dictionaries({"say": st.sampled_from(["wanted", "using", "x"]), "neighbours": json_values})


@settings(suppress_health_check=[HealthCheck.too_slow])     # what a busy machine takes is no failure
@given(st.lists(hints))
def test_hints_of_a_worker_gone_wrong_say_nothing_else(messages):
    fleet = Fleet([])
    for message in messages:
        fleet.note(message)
    assert all(isinstance(address, str) for address, *_ in fleet.neighbours())
    assert all(kind in ("resolve", "probe") for _, kind in fleet.wanted())
    assert fleet.wanted() == []


def test_queues_are_shared_in_turns():
    assert [queues for _, queues, _ in shares(4, 2, "eth0", None)] == [(0, 2), (1, 3)]
    with pytest.raises(ValueError, match=r"eth0 has 2 receive queue\(s\), too few for 3 workers: --workers"):
        shares(2, 3, "eth0", None)
    with pytest.raises(ValueError, match="core 9999 cannot be used here; cores are 0"):
        shares(2, 1, "eth0", [9999])


def test_counters_are_summed():
    assert summed([{"http": {"a": 1, "b": 2}}, None, {"http": {"a": 3}}]) == {"http": {"a": 4, "b": 2}}
    assert text_of((0, 2)) == "0, 2"


def test_counters_of_a_worker_gone_wrong_are_left_out():
    wrong = [7, ["http"], {"http": 3}, {"http": {"a": "many", "b": [1]}}]
    assert summed([*wrong, {"http": {"a": 1}}]) == {"http": {"a": 1}}


def test_a_successor_that_has_died_is_not_warm(ends):
    ours, theirs = ends
    theirs.close()
    successor = Waiting.__new__(Waiting)
    successor.channel, successor.layout = ours, ""
    assert not successor.is_warm()
