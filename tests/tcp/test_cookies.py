"""SYN cookies: good for the same connection and a short time, and for nothing else (RFC 4987 3.6)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_secrets import SecretsProbe

PERIOD_NS = 64 * 10**9
MSS_OPTION = 1
V4 = {"src": bytes([10, 0, 0, 2]), "src_port": 40000, "dst": bytes([10, 0, 0, 1]), "dst_port": 80}
V6 = {**V4, "src": bytes([0xFD, *[0] * 14, 2]), "dst": bytes([0xFD, *[0] * 14, 1])}


def answer(irs: int, cookie: int, **of: Any) -> dict[str, Any]:
    """The ACK that ends a handshake."""
    return {**of, "seq": (irs + 1) % 2**32, "ack": (cookie + 1) % 2**32}


@given(st.sampled_from([V4, V6]), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**62))
def test_the_answer_gives_the_mss_back_rounded_down(of: dict[str, Any], irs: int, mss: int, now: int) -> None:
    """Never more than the peer offered, but for offers under 64 octets, and as much for a larger offer."""
    probe = SecretsProbe()
    probe.now_ns = now

    def carried(mss: int) -> int:
        cookie = probe.cookie(**of, seq=irs, options=MSS_OPTION, mss=mss)
        return probe.check(**answer(irs, cookie, **of))

    assert 64 <= carried(mss) <= max(mss, 64)
    assert carried(max(mss - 1, 0)) <= carried(mss)


@pytest.mark.parametrize("mss", [536, 1220, 1440, 1460])
def test_the_usual_offers_are_kept(mss: int) -> None:
    probe = SecretsProbe()
    assert probe.check(**answer(9, probe.cookie(**V4, seq=9, options=MSS_OPTION, mss=mss), **V4)) == mss


@pytest.mark.parametrize(("of", "mss"), [(V4, 536), (V6, 1220)])
def test_no_offer_is_the_default(of: dict[str, Any], mss: int) -> None:
    """RFC 9293 3.7.1."""
    probe = SecretsProbe()
    assert probe.check(**answer(9, probe.cookie(**of, seq=9), **of)) == mss


@given(st.integers(0, 2**20), st.integers(0, PERIOD_NS - 1), st.integers(0, 10 * PERIOD_NS))
def test_lives_for_the_count_it_was_made_in_and_the_next(count: int, within: int, later: int) -> None:
    probe = SecretsProbe()
    probe.now_ns = made = count * PERIOD_NS + within
    cookie = probe.cookie(**V4, seq=9)
    probe.now_ns = made + later
    good = (made + later) // PERIOD_NS - count <= 1
    assert (probe.check(**answer(9, cookie, **V4)) != 0) == good


@pytest.mark.parametrize("of", [V4, V6])
def test_is_worth_nothing_to_anyone_else(of: dict[str, Any]) -> None:
    probe = SecretsProbe()
    cookie = probe.cookie(**of, seq=9)
    assert probe.check(**answer(9, cookie, **of))
    strange = of["src"][:-1] + b"\x63"
    for other in ({"src": strange}, {"src_port": 40001}, {"dst": strange}, {"dst_port": 81}):
        assert probe.check(**answer(9, cookie, **{**of, **other})) == 0
    assert probe.check(**answer(10, cookie, **of)) == 0
    assert SecretsProbe(seed=2).check(**answer(9, cookie, **of)) == 0


def test_no_other_number_near_it_is_a_cookie() -> None:
    """The MSS and the count are under the hash too."""
    probe = SecretsProbe()
    cookie = probe.cookie(**V4, seq=9)
    good = [step for step in range(-500, 501) if probe.check(**answer(9, (cookie + step) % 2**32, **V4))]
    assert good == [0]


MSS, SCALE, SACK, TIMESTAMPS = 1, 2, 4, 8
ECN_SETUP = 0xC0


@given(
    st.integers(0, 2**32 - 1),
    st.none() | st.integers(0, 14),
    st.booleans(),
    st.booleans(),
)
def test_a_timestamp_carries_what_the_syn_offered(now: int, scale: int | None, sack: bool, ecn: bool) -> None:
    """RFC 7323 2.2, RFC 2018 2, RFC 3168 6.1.1: agreed on without being kept."""
    probe = SecretsProbe()
    options = MSS | TIMESTAMPS | (SCALE if scale is not None else 0) | (SACK if sack else 0)
    syn = {**V4, "seq": 9, "options": options, "mss": 1460, "window_scale": scale or 0,
           "flags": 2 | (ECN_SETUP if ecn else 0)}  # fmt: skip
    cookie, stamp = probe.cookie(**syn), probe.stamp(now, **syn)
    # RFC 7323 5.2: later segments, which carry our clock as it is, are not older.
    assert 0 <= (now - stamp) % 2**32 <= 63
    found = probe.syn_of(**answer(9, cookie, **V4), options=TIMESTAMPS, ts_ecr=stamp)
    kept = {name: syn[name] for name in ("seq", "flags", "options", "mss", "window_scale")}
    assert found == kept


def test_what_the_timestamp_carries_is_under_the_hash() -> None:
    """A peer, or who pretends to be it, cannot claim more than its SYN offered."""
    probe = SecretsProbe()
    syn = {**V4, "seq": 9, "options": MSS | TIMESTAMPS | SCALE | SACK, "mss": 1460, "window_scale": 7}
    cookie, stamp = probe.cookie(**syn), probe.stamp(77_777, **syn)
    ack = answer(9, cookie, **V4)
    echoes = [(stamp & ~63) | bits for bits in range(64)]
    assert [echo for echo in echoes if probe.syn_of(**ack, options=TIMESTAMPS, ts_ecr=echo)] == [stamp]
    assert probe.syn_of(**ack) == {}


def test_a_cookie_without_timestamps_carries_nothing_else() -> None:
    probe = SecretsProbe()
    syn = {**V4, "seq": 9, "options": MSS | SCALE | SACK, "mss": 1460, "window_scale": 7}
    found = probe.syn_of(**answer(9, probe.cookie(**syn), **V4))
    assert found["options"] == MSS
    assert probe.syn_of(**answer(9, probe.cookie(**syn), **V4), options=TIMESTAMPS, ts_ecr=7) == {}
