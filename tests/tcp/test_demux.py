"""The demultiplexer against a dict."""

from hypothesis import given
from hypothesis import strategies as st

from underpass.testing.probe_demux import DemuxProbe

V4, V6 = bytes([10, 0, 0, 1]), bytes([0x20, 1, 0xD, 0xB8, *[0] * 11, 1])
KEYS = [
    (local, 80, local[:-1] + bytes([peer]), port)
    for local in (V4, V6) for peer in (2, 3) for port in range(1, 9)
]

# Few hashes, close to each other and to the end of the table: probe runs meet, and go round.
hashes = st.sampled_from([None, 0, 1, 2, 2**32 - 1, 2**32 - 2, 0xABCD0000])


@given(st.lists(st.tuples(st.integers(0, len(KEYS) - 1), hashes), max_size=120))
def test_agrees_with_a_dict(actions: list[tuple[int, int | None]]) -> None:
    """Each action enters a key that is not there or takes one out that is; all others stay found."""
    table, there = DemuxProbe(connections=len(KEYS)), {}
    for index, hash in actions:
        if index in there:
            table.remove(index)
            del there[index]
        else:
            table.insert(index, KEYS[index], hash)
            there[index] = hash
        assert table.used == len(there)
        for other, key in enumerate(KEYS):
            found = table.find(key, there.get(other))
            assert found == (("connection", other) if other in there else None)


def test_one_hash_for_all_still_tells_keys_apart() -> None:
    table = DemuxProbe(connections=len(KEYS))
    for index, key in enumerate(KEYS):
        table.insert(index, key, hash=7)
    assert [table.find(key, hash=7) for key in KEYS] == [("connection", index) for index in range(len(KEYS))]


def test_removing_what_is_not_there_changes_nothing() -> None:
    table = DemuxProbe(connections=4)
    table.insert(0, KEYS[0])
    table.insert(1, KEYS[1])
    table.remove(0)
    table.remove(0)
    assert table.used == 1
    assert table.find(KEYS[1]) == ("connection", 1)


def test_the_hash_depends_on_the_secret_and_on_each_part_of_the_key() -> None:
    """No one outside can foresee which keys collide."""
    for local in (V4, V6):
        key = (local, 80, local[:-1] + b"\x02", 40000)
        other = local[:-1] + b"\x63"
        changed = [(other, *key[1:]), (local, 81, *key[2:]), (*key[:2], other, 40000), (*key[:3], 40001)]
        swapped = (key[2], key[3], key[0], key[1])
        one = DemuxProbe(seed=1)
        assert len({one.hash(k) for k in [key, *changed, swapped]}) == 6
        assert one.hash(key) != DemuxProbe(seed=2).hash(key)


def test_an_ipv4_address_and_the_ipv6_address_that_holds_it_are_different_keys() -> None:
    table = DemuxProbe()
    table.insert(0, (V4, 80, V4, 9))
    assert table.find((bytes(12) + V4, 80, bytes(12) + V4, 9)) is None
