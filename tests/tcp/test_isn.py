"""Initial sequence numbers and timestamp offsets."""

from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_secrets import SecretsProbe, above

V4 = (bytes([10, 0, 0, 1]), 80, bytes([10, 0, 0, 2]), 40000)
V6 = (bytes([0xFD, *[0] * 14, 1]), 80, bytes([0xFD, *[0] * 14, 2]), 40000)


def variations(key: tuple[bytes, int, bytes, int]) -> list[tuple[bytes, int, bytes, int]]:
    """The key, and keys that differ from it in one part each."""
    other = key[0][:-1] + b"\x09"
    return [key, (other, *key[1:]), (key[0], 81, *key[2:]), (*key[:2], other, key[3]), (*key[:3], 40001)]


def test_each_part_of_the_four_tuple_and_the_secret_matter() -> None:
    """RFC 6528 3: F is a function of all four, and of a secret."""
    one, other = SecretsProbe(seed=1), SecretsProbe(seed=2)
    keys = variations(V4) + variations(V6)
    for number in (SecretsProbe.isn, SecretsProbe.timestamp_offset):
        assert len({number(one, key) for key in keys} | {number(other, key) for key in keys}) == 2 * len(keys)


@given(st.integers(0, 2**62), st.integers(0, 2**40))
def test_rises_by_one_each_four_microseconds(now: int, later: int) -> None:
    """RFC 9293 3.4.1: ISN = M + F, M the 4-microsecond timer."""
    probe = SecretsProbe()
    probe.now_ns = now
    first = probe.isn(V4)
    probe.now_ns = now + later
    assert (probe.isn(V4) - first) % 2**32 == ((now + later) // 4000 - now // 4000) % 2**32


def test_the_timestamp_offset_is_the_four_tuples_alone() -> None:
    """RFC 6191 2: a later connection of the same four-tuple goes on with larger timestamps."""
    probe = SecretsProbe()
    before = probe.timestamp_offset(V4)
    probe.now_ns = 10**15
    assert probe.timestamp_offset(V4) == before != probe.isn(V4)


def test_the_timestamp_clock_ticks_between_a_millisecond_and_a_second() -> None:
    """RFC 7323 5.4."""
    probe = SecretsProbe()
    before = probe.timestamp_clock()
    probe.now_ns = 10 * 10**9
    assert 10 <= probe.timestamp_clock() - before <= 10_000


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_reopened_connection_begins_above_the_old_one(iss: int, previous: int) -> None:
    """RFC 1122 4.2.2.13."""
    assert 0 < (above(iss, previous) - previous) % 2**32 < 2**31
    if 0 < (iss - previous) % 2**32 < 2**31:
        assert above(iss, previous) == iss
