"""Known flows before new ones: what each level refuses, and that the engine sets and takes back levels."""

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest
from tests.xdp.door import FULL, TICK_NS, Door, Engine, ack_of

from underpass.link.gate import GateMemory
from underpass.linux.admission import AdmissionPlan, buckets_for, flows_of
from underpass.shield import policy_file
from underpass.shield.shield import Shield
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment
from underpass.testing.probe_overload import pretend_backlog

KNOWN, STRANGER, SYN = "known", "stranger", "syn"
MS = 1_000_000


@pytest.fixture
def plain(veth: VethPair) -> Iterator[Door]:
    """Levels, and no cookies."""
    with Door(veth, AdmissionPlan(overload=True)) as door:
        yield door


def opened(door: Door, engine: Engine, family: str, port: int = 40000) -> TcpSegment:
    """A connection that the engine has; the ACK that opened it."""
    syn = door.syn(family, src_port=port, mss=1460)
    answers = [TcpSegment.parse(it) for it in engine.gets(syn.build())]
    ack = ack_of(syn, next(it for it in answers if it.dst_port == port))
    engine.gets(ack.build())
    return ack


def at_level(engine: Engine, share: int, looks: int = 60, ahead_ns: int = 10_000 * MS) -> int:
    """The level once the ring has been so full (of 256) for a while. It is told so far ahead of the program's
    clock that it does not end before the test does.
    """
    pretend_backlog(engine.stack, share)
    engine.now_ns += ahead_ns
    for _ in range(looks):
        engine.stack.step(engine.now_ns + 2 * TICK_NS)
        engine.now_ns += 2 * TICK_NS
    return engine.overload_level()


# What becomes of a segment of a known flow, one of none, and a SYN at each level, by how full the ring is.
PLAIN = [
    (0, 0, {KNOWN: "redirected_claimed", STRANGER: "redirected_claimed", SYN: "redirected_claimed"}),
    (140, 1, {KNOWN: "redirected_known", STRANGER: "redirected_claimed", SYN: "redirected_claimed"}),
    (200, 2, {KNOWN: "redirected_known", STRANGER: "redirected_claimed", SYN: "dropped_overload_syn"}),
    (256, 3, {KNOWN: "redirected_known", STRANGER: "dropped_overload_stranger", SYN: "dropped_overload_syn"}),
]
WITH_COOKIES = [
    (0, 0, {KNOWN: "redirected_claimed", STRANGER: "redirected_claimed", SYN: "redirected_claimed"}),
    (140, 1, {KNOWN: "redirected_known", STRANGER: "dropped_stranger", SYN: "answered_cookie"}),
    (200, 2, {KNOWN: "redirected_known", STRANGER: "dropped_stranger", SYN: "dropped_overload_syn"}),
    (256, 3, {KNOWN: "redirected_known", STRANGER: "dropped_overload_stranger", SYN: "dropped_overload_syn"}),
]


@pytest.mark.parametrize(("plan", "levels"), [(AdmissionPlan(overload=True), PLAIN),
                                              (AdmissionPlan("auto", overload=True), WITH_COOKIES)])
def test_what_each_level_refuses(veth: VethPair, family: str, plan: AdmissionPlan, levels: list) -> None:
    with Door(veth, plan) as door:
        engine = door.engine()
        known = opened(door, engine, family)
        segments = {KNOWN: known.build(), STRANGER: known.build(src_port=7),
                    SYN: door.syn(family, **FULL, src_port=9).build()}
        for share, level, reasons in levels:
            assert at_level(engine, share) == level
            assert {name: door.gets(it)[1] for name, it in segments.items()} == reasons
            assert door.admission.state()["levels"] == ({0: level} if level else {})


def test_who_holds_a_cookie_may_come_at_level_2(veth: VethPair, family: str) -> None:
    with Door(veth, AdmissionPlan("always", overload=True)) as door:
        engine = door.engine()
        syns = [door.syn(family, **FULL, src_port=port) for port in (1, 2)]
        acks = [ack_of(syn, door.answers(syn)) for syn in syns]
        assert at_level(engine, 200) == 2
        assert door.gets(acks[0].build())[1] == "redirected_cookie"
        assert at_level(engine, 256) == 3
        assert door.gets(acks[1].build())[1] == "dropped_overload_stranger"
        assert door.gets(acks[0].build())[1] == "redirected_known"


def test_a_level_that_is_not_confirmed_ends(plain: Door) -> None:
    """A worker that sleeps, hangs or is no more refuses nothing: 200 ms, by the clock that both read."""
    engine = plain.engine(behind_ns=1000 * MS)
    assert at_level(engine, 256, ahead_ns=0) == 3
    assert plain.gets(plain.syn("v4").build())[1] == "redirected_claimed"


def test_levels_fall_one_at_a_time_when_nothing_asks_for_them(plain: Door) -> None:
    engine = plain.engine()
    assert at_level(engine, 256) == 3
    pretend_backlog(engine.stack, 0)
    seen = [3]
    for _ in range(500):
        engine.now_ns += TICK_NS
        engine.stack.step(engine.now_ns)
        if engine.overload_level() != seen[-1]:
            seen.append(engine.overload_level())
    assert seen == [3, 2, 1, 0]
    assert engine.count("overload_backlog") == 3


def test_connections_that_are_all_in_use_ask_for_the_highest_level(plain: Door) -> None:
    engine = plain.engine(connections=32, time_waits=8)
    levels = []
    for number in range(32):
        opened(plain, engine, "v4", 1000 + number)
        engine.now_ns += 2 * TICK_NS
        engine.stack.step(engine.now_ns)
        levels.append(engine.overload_level())
    assert levels == [0] * 27 + [1] * 3 + [2, 3]
    assert engine.count("overload_connections") == 3


def test_frames_that_are_few_ask_for_a_level(plain: Door) -> None:
    """What a client does not read stays in frames."""
    engine = plain.engine()
    for port in range(1000, 1040):
        opened(plain, engine, "v4", port)
        with contextlib.suppress(BlockingIOError):
            while True:
                engine.accepted[-1].send(bytes(1400))
        engine.stack.step(engine.now_ns + 2 * TICK_NS)
        engine.now_ns += 2 * TICK_NS
    assert engine.overload_level() > 0
    assert engine.count("overload_frames") >= 1
    assert plain.admission.state()["levels"] == {0: engine.overload_level()}


@pytest.mark.parametrize(("in_a_look", "level"), [(19, 0), (20, 1), (200, 1)])
def test_strangers_ask_for_cookies(veth: VethPair, family: str, in_a_look: int, level: int) -> None:
    """Segments for no connection: the program keeps them away, and lets in who holds a cookie."""
    with Door(veth, AdmissionPlan("auto", overload=True)) as door:
        engine = door.engine()
        known = opened(door, engine, family)
        engine.now_ns += 10_000 * MS                    # told so far ahead that it does not end
        engine.stack.step(engine.now_ns)
        for _ in range(3):
            for port in range(1, in_a_look + 1):
                engine.gets(known.build(src_port=port), engine.now_ns + 1)
            engine.now_ns += TICK_NS
            engine.stack.step(engine.now_ns)
        assert engine.overload_level() == level
        assert engine.count("overload_strangers") == level
        stray = door.gets(known.build(src_port=7))[1]
        assert stray == ("dropped_stranger" if level else "redirected_claimed")
        assert door.gets(known.build())[1] == ("redirected_known" if level else "redirected_claimed")


def test_strangers_keep_cookies_on(veth: VethPair) -> None:
    """The worker hears no more of them, so its level falls; the program counts what it drops."""
    with Door(veth, AdmissionPlan("auto", overload=True, syn_rate=100)) as door:
        engine = door.engine()
        known = opened(door, engine, "v4")
        assert at_level(engine, 140) == 1
        assert {door.gets(known.build(src_port=port))[1] for port in range(1, 100)} == {"dropped_stranger"}
        door.gate.set_queues([0])                       # as a worker that asks for nothing
        state = door.admission.state()
        assert (state["levels"], state["on"], state["began"]) == ({}, True, 1)
        assert door.gets(known.build(src_port=7))[1] == "dropped_stranger"
        assert door.gets(known.build())[1] == "redirected_known"


def test_without_overload_nothing_is_told_but_half_open_connections(veth: VethPair) -> None:
    with Door(veth, AdmissionPlan("auto")) as door:
        engine = door.engine()
        assert at_level(engine, 256) == 0
        assert door.admission.state()["levels"] == {}


def test_the_table_has_room_for_the_stacks_limits() -> None:
    assert flows_of({"connections": 10, "time_waits": 6}) == 16
    assert [buckets_for(flows) for flows in (1, 4, 5, 16, 1 << 18)] == [8, 8, 8, 8, 1 << 16]
    assert AdmissionPlan("auto", flows=5).with_room(100).sizes == {"flows": 32 + 4 + 8}
    assert AdmissionPlan(flows=5).sizes == {}


@pytest.mark.parametrize(("wrong", "says"), [
    ({"hold_s": 0.1}, "cookies hold for 0.2 to 86400 s, not 0.1"),
    ({"flows": 0}, "looks up 1 to 67108864 flows, not 0")])
def test_plans_that_cannot_be_are_refused(wrong: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AdmissionPlan("auto", **wrong)


def test_maps_that_are_none_and_queues_beyond_are_refused(plain: Door) -> None:
    with pytest.raises(OSError, match="memory of the XDP program's maps: "):
        GateMemory(plain.program.maps()["claims"], plain.program.maps()["claims"], [0])
    with pytest.raises(ValueError, match="queues are 0 to 255"):
        GateMemory(*plain.admission.gate_fds, [256])
    with pytest.raises(KeyError, match="cellar"):
        plain.program.map("cellar")


def test_a_time_namespaces_clock_is_reckoned_with(veth: VethPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process's clock is ahead goes into the program's."""
    ahead_ns = 1000 * 10**9
    monkeypatch.setattr("underpass.linux.admission.clock_offset_ns", lambda: ahead_ns)
    with Door(veth, AdmissionPlan("always")) as door:
        stamp = door.answers(door.syn("v4", **FULL)).timestamps
    monkeypatch.undo()
    with Door(veth, AdmissionPlan("always")) as door:
        plain = door.answers(door.syn("v4", **FULL)).timestamps
    assert stamp is not None
    assert plain is not None
    behind = (plain[0] - stamp[0]) % 2**32 - 2**32
    assert abs(behind + ahead_ns // TICK_NS) < 10_000


RATED = """
[[services.rate]]
per = "service"
packets = 1
burst = 3
"""


OWN_PORT = 61000


def own_flow(door: Door, engine: Engine, family: str) -> tuple[TcpSegment, TcpSegment]:
    """A connection that the engine opens from a port of own flows: what the peer answers to its SYN, and the
    next segment.
    """
    door.program.set_local_addresses([door.veth.ours.v4, door.veth.ours.v6])
    door.program.set_flow_range(OWN_PORT, OWN_PORT + 99)
    ours, peer = getattr(door.veth.ours, family), getattr(door.veth.peer, family)
    engine.stack.connect((peer, 443), (ours, OWN_PORT))
    engine.stack.step(engine.now_ns)
    (octets,) = engine.wire.receive(engine.now_ns)
    syn = TcpSegment.parse(octets)
    answer = door.segment(family, src_port=443, dst_port=OWN_PORT, seq=7, ack=(syn.seq + 1) % 2**32,
                          flags=Flags.SYN | Flags.ACK, mss=1460)
    return answer, dataclasses.replace(answer, seq=8, flags=Flags.ACK, mss=None)


def test_flows_that_the_stack_opened_pass_where_a_service_gets_too_much(plain: Door, family: str) -> None:
    """From the first answer to their SYN on."""
    answer, after = own_flow(plain, plain.engine(), family)
    Shield(plain.program, plain.program.netdev.index).load(policy_file.parse(RATED))
    strangers = [after.build(src_port=port) for port in range(1, 60)]
    assert "dropped_service_rate" in [plain.gets(it)[1] for it in strangers]
    assert {plain.gets(it.build())[1] for it in (answer, after) for _ in range(50)} == {"redirected_flow"}


@pytest.mark.parametrize("plan", [AdmissionPlan(overload=True), AdmissionPlan("auto", overload=True)])
def test_at_level_3_no_stranger_comes_to_a_port_of_own_flows(
    veth: VethPair, family: str, plan: AdmissionPlan
) -> None:
    """Connections that the stack opens are known from their SYN on."""
    with Door(veth, plan) as door:
        engine = door.engine()
        answer, after = own_flow(door, engine, family)
        own = [answer.build(), after.build()]
        strange = [it.build(src_port=7) for it in (answer, after, door.syn(family, dst_port=OWN_PORT))]
        for share, level in ((0, 0), (140, 1), (200, 2), (256, 3)):
            assert at_level(engine, share) == level
            assert {door.gets(it)[1] for it in own} == {"redirected_flow"}
            assert {door.gets(it)[1] for it in strange} == {
                "dropped_overload_stranger" if level == 3 else "redirected_flow"}


def test_a_level_3_that_is_over_lets_all_come_to_ports_of_own_flows(plain: Door) -> None:
    engine = plain.engine(behind_ns=1000 * MS)
    _, after = own_flow(plain, engine, "v4")
    assert at_level(engine, 256, ahead_ns=0) == 3
    assert plain.gets(after.build(src_port=7))[1] == "redirected_flow"


def test_known_flows_pass_where_a_service_gets_too_much(plain: Door, family: str) -> None:
    """Strangers have used up what all may send together; who has a connection is not shut out."""
    engine = plain.engine()
    known = opened(plain, engine, family)
    Shield(plain.program, plain.program.netdev.index).load(policy_file.parse(RATED))
    strangers = [known.build(src_port=port) for port in range(1, 60)]
    assert "dropped_service_rate" in [plain.gets(it)[1] for it in strangers]
    assert {plain.gets(known.build())[1] for _ in range(50)} == {"redirected_claimed"}
