"""SYN cookies in the XDP program: the engine's own, octet by octet, and checked in both places."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.xdp.door import FULL, LAG_NS, SEED, TICK_NS, Door, Engine, ack_of

from underpass.linux.admission import AdmissionPlan
from underpass.stack.stack import admission_keys
from underpass.testing.namespaces import VethPair
from underpass.testing.packets import Flags, TcpSegment, extension_header
from underpass.xdp.admission_maps import AdmissionMaps

ECN_SETUP = Flags.SYN | Flags.ECE | Flags.CWR
ALWAYS = AdmissionPlan("always")
OFFERS: list[dict[str, Any]] = [
    {},
    {"mss": 1460},
    {"mss": 100},
    {"mss": 1459},
    {"mss": 9000, "timestamps": (7, 0)},
    {"mss": 1460, "window_scale": 7, "sack_permitted": True},
    {"mss": 1460, "timestamps": (2**32 - 1, 5)},
    {"mss": 1460, "timestamps": (1, 0), "sack_permitted": True},
    {"mss": 1460, "timestamps": (1, 0), "window_scale": 0},
    {"mss": 1460, "timestamps": (1, 0), "window_scale": 14, "sack_permitted": True},
    FULL,
    FULL | {"flags": ECN_SETUP},
    FULL | {"flags": Flags.SYN | Flags.ECE},
    FULL | {"vlan": (5,)},
    FULL | {"seq": 2**32 - 1},
    FULL | {"payload": b"early"},
    FULL | {"payload": bytes(range(256)) * 5 + b"x"},
    FULL | {"fast_open": b""},
]
HOP_BY_HOP, ROUTING, DESTINATION, TCP = 0, 43, 60, 6


@pytest.fixture(scope="module", params=[False, True], ids=["xdp", "xdp.frags"])
def always(netns_allowed: None, request: pytest.FixtureRequest) -> Iterator[Door]:
    """Cookies always; for all tests, as it takes half a second to make."""
    with VethPair("door") as veth, Door(veth, ALWAYS, multi_buffer=request.param) as door:
        yield door


@pytest.fixture
def door(always: Door) -> Door:
    """Ready for a test."""
    return always.begin()


def answer_of_engine(veth: VethPair, frame: bytes, wanted: bytes, since_ns: int) -> bytes:
    """What an engine without room answers, at the tick at which it is what is wanted; or at the last one."""
    engine = Engine(veth, since_ns - LAG_NS, half_open=0)
    now_ns, until_ns, answer = since_ns - LAG_NS, time.monotonic_ns(), b""
    while now_ns < until_ns + TICK_NS and answer != wanted:
        (answer,) = engine.gets(frame, now_ns)
        now_ns += TICK_NS
    return answer


# --------------------------------------------------------------------------- the SYN-ACK


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: "-".join(offer) or "nothing")
def test_the_answer_is_the_engines_octet_by_octet(door: Door, family: str, offer: dict[str, Any]) -> None:
    """RFC 4987 3.6, RFC 7323, RFC 2018, RFC 3168: whoever answers, it is the same."""
    frame = door.syn(family, **offer).build()
    since_ns = time.monotonic_ns()
    verdict, reason, answer = door.gets(frame)
    assert (verdict, reason) == ("TX", "answered_cookie")
    assert answer == answer_of_engine(door.veth, frame, answer, since_ns)
    parsed = TcpSegment.parse(answer)
    assert parsed.dst_mac == door.veth.peer.mac_text
    assert parsed.vlan == tuple(offer.get("vlan", ()))


@pytest.mark.parametrize("words", range(1, 11))
def test_ip_options_are_not_answered_with(door: Door, words: int) -> None:
    """RFC 9293 3.9.2.1: what is received need not be sent; the answer has a header of its own."""
    syn = door.syn("v4", **FULL)
    options = b"\1" * (4 * words)
    answer = door.answers(syn, ip_options=options)
    assert answer == door.answers(syn) or answer.timestamps != door.answers(syn).timestamps
    assert door.gets(syn.build(ip_options=options))[2][14] == 0x45


def test_extension_headers_are_not_answered_with(door: Door) -> None:
    syn = door.syn("v6", **FULL)
    chain = ((HOP_BY_HOP, extension_header(DESTINATION)), (DESTINATION, extension_header(TCP, bytes(30))))
    answer = door.answers(syn, extensions=chain)
    assert (answer.ack, answer.mss, answer.window_scale) == (syn.seq + 1, 1440, 7)


def test_padding_is_not_answered_with(door: Door, family: str) -> None:
    """RFC 894: a frame has 60 octets at least, and an answer those that it needs."""
    whole = door.gets(door.syn(family).build(padding=bytes(6)))[2]
    assert len(whole) == len(door.gets(door.syn(family).build())[2])


@pytest.mark.parametrize("mtu", [576, 1400])
def test_the_mss_is_that_of_the_interface(door: Door, mtu: int) -> None:
    """RFC 9293 3.7.1"""
    door.admission.set_mtu(mtu)
    assert door.answers(door.syn("v4", **FULL)).mss == mtu - 40
    assert door.answers(door.syn("v6", **FULL)).mss == mtu - 60


def test_limits_of_the_stack_are_kept_to(veth: VethPair) -> None:
    limits = {"rcv_initial_bytes": 20000, "rcv_bytes": 60000, "mss": 1000, "ecn": 0}
    with Door(veth, ALWAYS, **limits) as door:
        answer = door.answers(door.syn("v4", **FULL, flags=ECN_SETUP))
        assert (answer.window, answer.window_scale, answer.mss) == (20000, 0, 1000)
        assert answer.flags == Flags.SYN | Flags.ACK


# --------------------------------------------------------------------------- what is not answered


def refused(door: Door, family: str, **wrong: Any) -> None:
    assert door.gets(door.syn(family, **FULL).build(**wrong))[:2] == ("DROP", "dropped_syn_malformed")


@pytest.mark.parametrize("words", [0, 4, 12, 15])
def test_a_header_that_does_not_fit_is_refused(door: Door, family: str, words: int) -> None:
    """RFC 9293 3.1"""
    refused(door, family, data_offset=words, options=b"\1" * 20)


@pytest.mark.parametrize("checksum", [0, 0xFFFF, 0x1234])
def test_a_wrong_checksum_is_refused(door: Door, family: str, checksum: int) -> None:
    """RFC 9293 3.1, MUST-3"""
    refused(door, family, tcp_checksum=checksum)
    if family == "v4":
        refused(door, family, ip_checksum=checksum)


def test_every_bit_is_under_the_checksums(door: Door, family: str) -> None:
    """A changed SYN is not answered as if it were whole."""
    whole = door.syn(family, **FULL, payload=b"odd").build()
    start = 14 + (8 if family == "v6" else 0)           # IPv6 has no checksum; addresses are in TCP's
    for at in range(start, len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            verdict, _, _ = door.gets(bytes(changed))
            assert verdict != "TX", (at, bit)


def test_a_checksum_that_was_left_to_the_device_is_accepted(door: Door, family: str) -> None:
    """On veth, tun, virtio: CHECKSUM_PARTIAL"""
    door.answers(door.syn(family, **FULL), partial_checksum=True)


@pytest.mark.parametrize("length", [0, 19, 39, 59, 1700])
def test_lengths_that_contradict_are_refused(door: Door, family: str, length: int) -> None:
    refused(door, family, ip_total_length=length)


@pytest.mark.parametrize("src", ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1",
                                 "ff02::1"])
def test_addresses_that_nobody_has_are_not_answered(door: Door, src: str) -> None:
    """RFC 9293 3.9.2.3, MUST-63"""
    refused(door, "v6" if ":" in src else "v4", src=src)


def test_nobody_is_answered_who_claims_to_be_us(door: Door, family: str) -> None:
    refused(door, family, src=getattr(door.veth.ours, family))


def test_port_zero_and_two_tags_are_refused(door: Door, family: str) -> None:
    """The engine refuses them too."""
    refused(door, family, src_port=0)
    refused(door, family, vlan=(5, 6))


PIECES = [b"\0", b"\1", b"\2\4\5\xb4", b"\3\3\7", b"\4\2", b"\10\12" + bytes(8), b"\5\12" + bytes(8), b"\2\0",
          b"\3\1", b"\10\3", b"\x22\2", b"\xfe\5abc"]
MIXED = st.lists(st.sampled_from(PIECES), max_size=6).map(lambda pieces: b"".join(pieces)[:40])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(octets=st.binary(max_size=40) | MIXED)
def test_options_are_understood_as_the_engine_does(door: Door, family: str, octets: bytes) -> None:
    """RFC 9293 3.2, MUST-7: what has an illegal length is dropped by both, all else answered alike."""
    frame = door.syn(family).build(options=octets)
    since_ns = time.monotonic_ns()
    verdict, _, answer = door.gets(frame)
    if verdict == "TX":
        assert answer == answer_of_engine(door.veth, frame, answer, since_ns)
    else:
        assert Engine(door.veth, since_ns, half_open=0).gets(frame) == []


def test_every_truncation_has_a_verdict(door: Door, family: str) -> None:
    for whole in (door.syn(family, **FULL).build(), door.segment(family, **FULL, flags=Flags.ACK).build()):
        for length in range(14, len(whole)):
            assert door.gets(whole[:length])[0] in ("PASS", "DROP"), length
        assert door.gets(whole)[0] in ("TX", "DROP")


def test_arbitrary_octets_have_a_verdict_and_are_counted_once(door: Door) -> None:
    """Frames of all lengths, and sound ones with some octets changed: counted, and answered only if sound."""
    chance = random.Random(5)
    sound = [door.syn(family, **offer).build() for family in ("v4", "v6") for offer in OFFERS]
    sound += [ack_of(door.syn(family), door.answers(door.syn(family))).build() for family in ("v4", "v6")]
    for _ in range(4000):
        frame = bytearray(chance.choice([*sound, chance.randbytes(chance.randint(14, 3000))]))
        for _ in range(chance.choice((0, 1, 1, 2, 5))):
            frame[chance.randrange(12, len(frame))] = chance.randrange(256)
        verdict, reason, left = door.gets(bytes(frame[: chance.randint(14, len(frame))]))
        assert verdict in ("PASS", "DROP", "TX", "REDIRECT")
        if verdict == "TX":
            assert reason == "answered_cookie"
            assert TcpSegment.parse(left).flags & (Flags.SYN | Flags.ACK) == Flags.SYN | Flags.ACK


# --------------------------------------------------------------------------- the ACK


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: "-".join(offer) or "nothing")
def test_the_engine_opens_it_with_its_options(door: Door, family: str, offer: dict[str, Any]) -> None:
    """RFC 4987 3.6: it has seen nothing but the ACK."""
    engine = door.engine()
    syn = door.syn(family, **offer)
    answer = door.answers(syn)
    ack = ack_of(syn, answer, window=100).build()
    assert door.gets(ack)[:2] == ("REDIRECT", "redirected_cookie")
    engine.gets(ack)
    info = engine.accepted[0].info()
    stamped = "timestamps" in offer
    assert info["timestamps"] == stamped
    assert info["sack"] == (stamped and "sack_permitted" in offer)
    assert info["window_scaling"] == (stamped and "window_scale" in offer)
    assert info["snd_wnd_bytes"] == 100 << (offer.get("window_scale", 0) if stamped else 0)
    assert info["ecn"] == (stamped and offer.get("flags") == ECN_SETUP)
    assert engine.count("cookies_accepted") == 1


def test_what_brings_no_cookie_is_dropped(door: Door, family: str) -> None:
    """Each of the numbers, the timestamp and the addresses are under the hash."""
    syn = door.syn(family, **FULL)
    answer = door.answers(syn)
    good = ack_of(syn, answer)
    strangers = [{"ack": (answer.seq + 1 + step) % 2**32} for step in (-16, -8, -1, 1, 8, 16, 1 << 20)]
    strangers += [{"seq": syn.seq + 2}, {"src_port": 40001}, {"timestamps": None}, {"flags": Flags.RST},
                  {"timestamps": (2000, answer.timestamps[0] ^ 1)}, {"flags": Flags.SYN | Flags.ACK},
                  {"flags": Flags.FIN}, {"flags": Flags.ACK | Flags.RST}]  # fmt: skip
    for wrong in strangers:
        assert door.gets(good.build(**wrong))[:2] == ("DROP", "dropped_stranger"), wrong
    assert door.gets(good.build(options=b"\10\3\1"))[:2] == ("DROP", "dropped_stranger")
    assert door.gets(good.build(data_offset=4))[:2] == ("DROP", "dropped_stranger")
    assert door.gets(good.build())[1] == "redirected_cookie"


def test_all_segments_of_a_new_connection_pass_before_the_engine_knows_it(door: Door, family: str) -> None:
    """The client sends on right behind its ACK."""
    syn = door.syn(family, **FULL)
    ack = ack_of(syn, door.answers(syn))
    later = {"seq": ack.seq + 1460, "payload": b"more", "flags": Flags.ACK | Flags.PSH}
    assert door.gets(ack.build(**later))[1] == "dropped_stranger"
    assert door.gets(ack.build())[1] == "redirected_cookie"
    assert door.gets(ack.build(**later))[1] == "redirected_known"


def set_clock(door: Door, ahead_ns: int, syn_cookies: str) -> None:
    """Have the program read a clock that is so far ahead of the kernel's."""
    clock = AdmissionMaps(door.program)
    clock.set_keys(admission_keys(SEED), buckets=door.admission.table.buckets, clock_offset_ns=ahead_ns)
    clock.set_answer(mss_v4=1460, mss_v6=1440, window=1, window_scale=7, ecn=False, partial_checksums=False)
    clock.set_cookies(syn_cookies, hold_s=10)


def test_a_cookie_lives_for_its_count_and_the_next(veth: VethPair) -> None:
    """RFC 4987 3.6: 64 s each, by the clock that both read."""
    with Door(veth, ALWAYS) as door:
        period_ns = 64 * 10**9
        begin_ns = period_ns - time.monotonic_ns() % period_ns      # to the start of a count
        def at(later_ns: int) -> None:
            set_clock(door, begin_ns + later_ns, "always")

        for wait_ns, good in ((0, True), (period_ns, True), (2 * period_ns, False), (3 * period_ns, False)):
            syn = door.syn("v4", **FULL, src_port=40000 + wait_ns // period_ns)
            at(10**9)
            ack = ack_of(syn, door.answers(syn))
            at(10**9 + wait_ns)
            assert (door.gets(ack.build())[1] != "dropped_stranger") == good, wait_ns


def test_known_flows_pass_and_a_syn_of_theirs_is_the_engines(door: Door, family: str) -> None:
    """A connection in TIME-WAIT decides itself whether it is opened anew (RFC 6191)."""
    engine = door.engine()
    syn = door.syn(family, **FULL)
    ack = ack_of(syn, door.answers(syn))
    engine.gets(ack.build())
    for wrong in ({}, {"seq": 5, "ack": 6}, {"flags": Flags.RST}, {"flags": Flags.SYN}, {"timestamps": None}):
        assert door.gets(ack.build(**wrong))[1] == "redirected_known"
    engine.accepted[0].abort()
    engine.gets(door.segment(family, flags=Flags.ACK, src_port=9).build())
    assert door.gets(ack.build(flags=Flags.RST))[1] == "dropped_stranger"


def test_without_cookies_that_went_out_the_engine_believes_none(door: Door, family: str) -> None:
    """RFC 4987 3.6: guessing is not made easier than it need be."""
    engine = Engine(door.veth, time.monotonic_ns())
    syn = door.syn(family, **FULL)
    (reset,) = engine.gets(ack_of(syn, door.answers(syn)).build())
    assert TcpSegment.parse(reset).flags & Flags.RST
    assert engine.accepted == []


# --------------------------------------------------------------------------- modes


def test_switched_off_the_program_has_no_such_code(veth: VethPair) -> None:
    with Door(veth, AdmissionPlan("off", overload=True)) as door:
        assert door.program.features == {"flows"}
        assert door.gets(door.syn("v4", **FULL).build())[1] == "redirected_claimed"
    assert AdmissionPlan().features == frozenset()


def test_auto_begins_with_many_syns_and_ends_after_them(veth: VethPair) -> None:
    """From 20 in a window of 134 ms; the clock is moved on to see it end."""
    with Door(veth, AdmissionPlan("auto", syn_rate=150)) as door:
        syn = door.syn("v4", **FULL).build()
        assert not door.admission.state()["on"]
        reasons = [door.gets(syn)[1] for _ in range(200)]
        first = reasons.index("answered_cookie")
        assert first >= 19
        assert set(reasons[:first]) == {"redirected_claimed"}
        assert set(reasons[first:]) == {"answered_cookie"}
        assert door.admission.state()["on"]
        assert door.admission.state()["began"] == 1
        stranger = door.segment("v4", flags=Flags.ACK).build()
        assert door.gets(stranger)[1] == "dropped_stranger"


def test_auto_begins_when_half_the_room_is_taken(veth: VethPair) -> None:
    """RFC 4987 3.6: what the engine counts is told through memory."""
    with Door(veth, AdmissionPlan("auto")) as door:
        engine = door.engine(half_open=8)
        for port in range(3):
            engine.gets(door.syn("v4", src_port=1000 + port).build(), engine.now_ns + 2 * TICK_NS)
        assert door.gets(door.syn("v4", **FULL).build())[1] == "redirected_claimed"
        assert door.admission.state()["half_open"] == {0: 3 / 8}
        engine.gets(door.syn("v4", src_port=1003).build(), engine.now_ns + 2 * TICK_NS)
        assert door.gets(door.syn("v4", **FULL).build())[1] == "answered_cookie"
        assert door.admission.state() | {"half_open": 0} == {
            "syn_cookies": "auto", "on": True, "began": 1, "levels": {}, "half_open": 0}


def test_auto_ends_when_a_quarter_of_the_room_is_no_longer_taken(veth: VethPair, family: str) -> None:
    """Ten seconds after the last look at which it was; the program's clock is moved on."""
    with Door(veth, AdmissionPlan("auto")) as door:
        engine = door.engine(half_open=8)
        def have(wanted: int) -> None:
            """So many connections are half-open: RFC 9293 3.10.7.4, a reset takes one back."""
            for port in range(8):
                flags, seq = (Flags.SYN, 1000) if port < wanted else (Flags.RST, 1001)
                syn = door.syn(family, src_port=1000 + port, flags=flags, seq=seq)
                engine.gets(syn.build(), engine.now_ns + 2 * TICK_NS)
            engine.stack.step(engine.now_ns + 2 * TICK_NS)
            engine.now_ns += 2 * TICK_NS
            assert door.admission.state()["half_open"] == {0: wanted / 8}

        def answer_at(later_s: float) -> str:
            set_clock(door, int(later_s * 10**9), "auto")
            return door.gets(door.syn(family, **FULL).build())[1]

        have(2)
        assert answer_at(0) == "redirected_claimed"         # a quarter keeps them on, begins none
        have(4)
        assert answer_at(1) == "answered_cookie"
        have(2)
        assert answer_at(10) == "answered_cookie"
        assert answer_at(18) == "answered_cookie"
        have(1)
        assert answer_at(27) == "answered_cookie"           # not long enough ago
        assert answer_at(29) == "redirected_claimed"


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="SYN cookies are off, auto, always, not 'never'"):
        AdmissionPlan("never")
    with pytest.raises(ValueError, match="lies between 1 and 1000000000 a second, not 0"):
        AdmissionPlan("auto", syn_rate=0)
