"""Connections that a source may begin and have: XDP asks memory in which the engine counts."""

import ipaddress
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.xdp.door import FULL, TICK_NS, Door, Engine, ack_of

from underpass.link.gate import GateMemory
from underpass.linux.admission import AdmissionPlan, let_all_in
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_overload import pretend_worker

COUNTED = '[[services.rate]]\nper = "source"\nv4 = 32\nv6 = 64\nconnections = 3\n'
PASSED = {"redirected_claimed", "redirected_known"}
PORTS = itertools.count(20000)


@pytest.fixture
def door(veth: VethPair) -> Iterator[Door]:
    """Flows are looked up under overload, which there is not; no cookies."""
    with Door(veth, AdmissionPlan(overload=True)) as it:
        yield it


@pytest.fixture
def always(veth: VethPair) -> Iterator[Door]:
    """Every SYN is answered by a cookie."""
    with Door(veth, AdmissionPlan("always")) as it:
        yield it.begin()


def load(door: Door, text: str) -> Shield:
    shield = Shield(door.program, door.program.netdev.index)
    shield.load(policy_file.parse(text))
    return shield


def sources_of(door: Door, family: str, number: int) -> str:
    """The address `number` behind the peer's own: within its /24 and /64."""
    return str(ipaddress.ip_address(getattr(door.veth.peer, family)) + number)


def look(engine: Engine) -> None:
    """The engine sees what is wanted of it: it looks once a millisecond."""
    engine.now_ns += 2 * TICK_NS
    engine.stack.step(engine.now_ns)


def opened(door: Door, engine: Engine, family: str, **fields: Any) -> TcpSegment:
    """A connection that the engine has, whatever the program would say; its ACK."""
    port = next(PORTS)
    syn = door.syn(family, src_port=port, mss=1460, **fields)
    answers = [TcpSegment.parse(it) for it in engine.gets(syn.build())]
    ack = ack_of(syn, next(it for it in answers if it.dst_port == port))
    engine.gets(ack.build())
    return ack


def asks(door: Door, family: str, **fields: Any) -> str:
    """What becomes of one more SYN."""
    return door.gets(door.syn(family, src_port=next(PORTS), **(FULL | fields)).build())[1]


def test_a_source_has_so_many_at_a_time(door: Door, family: str) -> None:
    engine = door.engine()
    load(door, COUNTED)
    look(engine)
    for _ in range(3):
        assert asks(door, family) in PASSED
        opened(door, engine, family)
    assert asks(door, family) == "dropped_connections"
    engine.accepted[0].abort()
    look(engine)
    assert asks(door, family) in PASSED
    opened(door, engine, family)
    assert asks(door, family) == "dropped_connections"


def test_what_goes_on_in_a_connection_is_not_asked(door: Door, family: str) -> None:
    """The limit is for what begins."""
    engine = door.engine()
    load(door, COUNTED)
    look(engine)
    acks = [opened(door, engine, family) for _ in range(4)]
    assert {door.gets(ack.build())[1] for ack in acks} <= PASSED


@pytest.mark.parametrize("end", ["close", "abort", "reset", "timewait"])
def test_every_end_of_a_connection_is_seen(door: Door, family: str, end: str) -> None:
    engine = door.engine()
    load(door, COUNTED.replace("connections = 3", "connections = 1"))
    look(engine)
    ack = opened(door, engine, family)
    assert asks(door, family) == "dropped_connections"
    (conn,) = engine.accepted
    if end == "abort":
        conn.abort()
    elif end == "reset":
        engine.gets(ack.build(flags=Flags.RST))
    else:
        if end == "timewait":
            conn.close()
            look(engine)
        engine.gets(ack.build(flags=Flags.FIN | Flags.ACK, ack=(ack.ack + (end == "timewait")) % 2**32))
        if end == "close":
            conn.close()
            look(engine)
            engine.gets(ack.build(seq=(ack.seq + 1) % 2**32, ack=(ack.ack + 1) % 2**32))
    look(engine)
    states = [row["state"] for row in engine.stack.connections() if row["state"] != "LISTEN"]
    assert states == (["TIME-WAIT"] if end == "timewait" else [])
    assert asks(door, family) in PASSED


def test_invented_sources_have_none(door: Door, family: str) -> None:
    """Half-open connections are not counted: others could fill up what is another's."""
    engine = door.engine()
    load(door, COUNTED)
    look(engine)
    for _ in range(10):
        engine.gets(door.syn(family, src_port=next(PORTS), mss=1460).build())
    assert asks(door, family) in PASSED


@pytest.mark.parametrize(("v4", "v6", "together"), [(32, 64, False), (24, 48, True), (32, 128, False)])
def test_a_source_is_a_prefix(door: Door, family: str, v4: int, v6: int, together: bool) -> None:
    engine = door.engine()
    load(door, f'[[services.rate]]\nper = "source"\nv4 = {v4}\nv6 = {v6}\nconnections = 2\n')
    look(engine)
    same_prefix = together or (family == "v6" and v6 == 64)
    for number in (0, 1):
        opened(door, engine, family, src=sources_of(door, family, number))
    assert (asks(door, family, src=sources_of(door, family, 2)) == "dropped_connections") is same_prefix
    opened(door, engine, family, src=sources_of(door, family, 0))
    assert asks(door, family, src=sources_of(door, family, 0)) == "dropped_connections"


def test_two_pairs_of_lengths_at_a_time(door: Door, family: str) -> None:
    engine = door.engine()
    load(door, '[[services.rate]]\nper = "source"\nv4 = 32\nv6 = 128\nconnections = 2\n'
               '[[services.rate]]\nper = "source"\nv4 = 24\nv6 = 64\nconnections = 3\n')
    look(engine)
    for _ in range(2):
        opened(door, engine, family)
    assert asks(door, family) == "dropped_connections"
    other = sources_of(door, family, 7)
    assert asks(door, family, src=other) in PASSED
    opened(door, engine, family, src=other)
    assert asks(door, family, src=other) == "dropped_connections"


def test_connections_from_before_the_policy_count_and_another_counts_anew(door: Door, family: str) -> None:
    engine = door.engine()
    for _ in range(3):
        opened(door, engine, family)
    shield = load(door, COUNTED)
    look(engine)
    assert asks(door, family) == "dropped_connections"
    load(door, COUNTED.replace("v4 = 32", "v4 = 24").replace("v6 = 64", "v6 = 48"))
    look(engine)
    assert asks(door, family) == "dropped_connections"
    shield.unload()
    look(engine)
    assert asks(door, family) in PASSED
    load(door, COUNTED)
    look(engine)
    assert asks(door, family) == "dropped_connections"


def test_what_a_dead_worker_had_is_not_counted(door: Door, family: str) -> None:
    """Another one in its place begins with none, or with those that it goes on with."""
    engine = door.engine()
    load(door, COUNTED)
    look(engine)
    for _ in range(3):
        opened(door, engine, family)
    assert asks(door, family) == "dropped_connections"
    door.engine()                                       # under the same number
    assert asks(door, family) in PASSED
    engine.stack.set_gate(door.gate, cookies=True, refuses=True)        # and the first one, which has three
    assert asks(door, family) == "dropped_connections"


def test_the_table_forgets_a_worker_that_nobody_replaces(door: Door, family: str) -> None:
    engine = door.engine()
    load(door, COUNTED)
    look(engine)
    for _ in range(3):
        opened(door, engine, family)
    assert door.admission.table.count(0) == 3
    assert door.admission.table.forget(0) == 3          # flows: counts are none
    assert asks(door, family) in PASSED


def test_own_connections_are_not_the_peers(door: Door) -> None:
    """A connection that the stack opens is counted for nobody."""
    engine = door.engine()
    load(door, COUNTED.replace("connections = 3", "connections = 1"))
    look(engine)
    engine.stack.connect((door.veth.peer.v4, 9000))
    (sent,) = engine.gets(door.segment("v4", flags=Flags.RST, src_port=1).build())
    syn = TcpSegment.parse(sent)
    engine.gets(door.segment("v4", src_port=9000, dst_port=syn.src_port, seq=1, ack=(syn.seq + 1) % 2**32,
                             flags=Flags.SYN | Flags.ACK).build())
    assert [row["state"] for row in engine.stack.connections() if row["state"] != "LISTEN"] == ["ESTABLISHED"]
    assert asks(door, "v4") in PASSED


def test_sources_beyond_the_room_are_uncounted_and_said(veth: VethPair) -> None:
    """Eight places for sources: the least that a table has."""
    with Door(veth, AdmissionPlan(overload=True, flows=1)) as door:
        engine = door.engine()
        load(door, COUNTED.replace("connections = 3", "connections = 1"))
        look(engine)
        for number in range(12):
            opened(door, engine, "v4", src=sources_of(door, "v4", number))
        assert engine.count("sources_untold") == 4
        found = Counter(asks(door, "v4", src=sources_of(door, "v4", number)) for number in range(12))
        assert found["dropped_connections"] == 8


def test_only_a_server_that_counts_can_have_a_limit(veth: VethPair) -> None:
    with Door(veth, AdmissionPlan()) as door:
        with pytest.raises(OSError, match="start it with --admission, or --syn-cookies auto"):
            load(door, COUNTED)
        assert load(door, "[services]\n").policy() is not None


def test_a_server_that_counts_no_more_refuses_nobody(door: Door) -> None:
    engine = door.engine()
    load(door, COUNTED)
    look(engine)
    for _ in range(3):
        opened(door, engine, "v4")
    let_all_in(door.program)
    assert asks(door, "v4") in PASSED


NEW = '[[services.rate]]\nper = "source"\nnew-connections = 1\nburst = 5\n'


def test_cookies_go_to_invented_sources_at_no_cost_to_real_ones(always: Door, family: str) -> None:
    """What is counted is the ACK that brings a cookie back."""
    load(always, NEW)
    assert {asks(always, family) for _ in range(50)} == {"answered_cookie"}
    found: Counter[str] = Counter()
    for _ in range(20):
        syn = always.syn(family, src_port=next(PORTS), **FULL)
        found[always.gets(ack_of(syn, always.answers(syn)).build())[1]] += 1
    assert 5 <= found["redirected_cookie"] <= 7
    assert found["dropped_new_connections"] == 20 - found["redirected_cookie"]


def test_a_cookie_whose_ack_was_refused_does_not_make_its_flow_known(always: Door, family: str) -> None:
    load(always, NEW.replace("burst = 5", "burst = 1"))
    acks = []
    for _ in range(4):
        syn = always.syn(family, src_port=next(PORTS), **FULL)
        acks.append(ack_of(syn, always.answers(syn)))
    outcomes = [always.gets(ack.build())[1] for ack in acks]
    refused = acks[outcomes.index("dropped_new_connections")]
    assert always.gets(refused.build(payload=b"early"))[1] == "dropped_new_connections"


def test_neither_cookies_nor_their_acks_where_there_are_too_many(always: Door, family: str) -> None:
    engine = always.engine()
    load(always, COUNTED)
    look(engine)
    syn = always.syn(family, src_port=next(PORTS), **FULL)
    late = ack_of(syn, always.answers(syn))
    for _ in range(3):
        one = always.syn(family, src_port=next(PORTS), **FULL)
        ack = ack_of(one, always.answers(one))
        assert always.gets(ack.build())[1] == "redirected_cookie"
        engine.gets(ack.build())
    assert len(engine.accepted) == 3
    assert asks(always, family) == "dropped_connections"
    assert always.gets(late.build())[1] == "dropped_connections"


def test_a_dry_run_counts_what_it_lets_in(always: Door, family: str) -> None:
    shield = load(always, "dry-run = true\n" + NEW)
    for _ in range(20):
        syn = always.syn(family, src_port=next(PORTS), **FULL)
        assert always.gets(ack_of(syn, always.answers(syn)).build())[1] == "redirected_cookie"
    assert shield.stats()["would_drop"]["services"]["dropped_new_connections"].packets >= 13


def test_who_is_allowed_has_no_limit(door: Door) -> None:
    engine = door.engine()
    load(door, f'[lists.good]\naction = "allow"\nprefixes = ["{door.veth.peer.v4}"]\n' + COUNTED)
    look(engine)
    for _ in range(4):
        opened(door, engine, "v4")
    assert asks(door, "v4") in PASSED


def test_samples_are_kept_of_what_is_refused(always: Door) -> None:
    shield = load(always, "samples = true\n" + COUNTED.replace("connections = 3", "connections = 1"))
    engine = always.engine()
    syn = always.syn("v4", src_port=next(PORTS), **FULL)
    ack = ack_of(syn, always.answers(syn))
    engine.gets(ack.build())
    with shield.drops() as drops:
        assert asks(always, "v4") == "dropped_connections"
        assert [it.reason for it in drops.read()] == ["dropped_connections"]


def test_what_several_workers_have_adds_up(door: Door) -> None:
    """Each writes counts of its own."""
    first, second = door.engine(), Engine(door.veth, 1)
    second.now_ns = first.now_ns
    second.stack.show_flows(door.admission.table)
    pretend_worker(second.stack, 1)
    second.stack.set_gate(GateMemory(*door.admission.gate_fds, [1]), cookies=True, refuses=True)
    load(door, COUNTED)
    for engine in (first, second):
        look(engine)
    opened(door, first, "v4")
    for _ in range(2):
        opened(door, second, "v4")
    assert asks(door, "v4") == "dropped_connections"
    assert door.admission.table.forget(1) == 2
    assert asks(door, "v4") in PASSED
